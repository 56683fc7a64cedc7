"""The monitor's word: a verdict with a reason for every doubt."""

from dataclasses import replace

import numpy as np
import pytest

from storm_core.config import MonitorConfig
from storm_core.monitor.decision import DOUBTS
from storm_core.monitor.monitor import EvidenceMonitor
from storm_core.pipeline.warmup import staged_view
from storm_core.simulation.objects import make_object
from storm_core.types import Reason, Track, Verdict


@pytest.mark.parametrize("shift", [(0.5, 0.0, 0.0), (0.0, 0.0, 0.6), (0.0, 0.0, -0.6)])
def test_a_wrong_pose_is_lost_for_a_named_reason(shift: tuple[float, float, float]) -> None:
    model = make_object("cereal_box", 0)
    frame, pose = staged_view(model)
    monitor = EvidenceMonitor({model.name: model}, MonitorConfig())
    right = Track(object_name=model.name, stamp_ns=0, cam_from_obj=pose, covariance=np.eye(6) * 1e-6, innovation=0.0)
    assert monitor.judge(frame, right).verdict is Verdict.HEALTHY
    monitor.reset(model.name)
    wrong = pose.copy()
    wrong[:3, 3] += np.array(shift) * model.diameter
    judged = monitor.judge(frame, Track(object_name=model.name, stamp_ns=0, cam_from_obj=wrong,
                                        covariance=np.eye(6) * 1e-6, innovation=0.0))
    assert judged.verdict is not Verdict.HEALTHY
    assert judged.reason in (*DOUBTS, Reason.OUT_OF_VIEW)


def test_other_models_or_thresholds_keep_the_history_of_what_stays_the_same() -> None:
    model = make_object("cereal_box", 0)
    frame, pose = staged_view(model)
    track = Track(object_name=model.name, stamp_ns=0, cam_from_obj=pose, covariance=np.eye(6) * 1e-6, innovation=0.0)
    kept, fresh = (EvidenceMonitor({model.name: model}, MonitorConfig(freeze_frames=50)) for _ in range(2))
    beside = pose.copy()
    beside[0, 3] += 0.5 * model.diameter
    for monitor in (kept, fresh):
        monitor.judge(frame, replace(track, cam_from_obj=beside))
    kept.renew({model.name: model, "other": replace(model, name="other")}, MonitorConfig(freeze_frames=50))
    fresh.renew({model.name: replace(model, sha256="another mesh")}, MonitorConfig(freeze_frames=50))
    assert kept.judge(frame, track).probability < fresh.judge(frame, track).probability, "a doubt is remembered"
    kept.renew({model.name: model}, MonitorConfig(healthy=1.0, freeze_frames=50))
    assert kept.judge(frame, track).verdict is not Verdict.HEALTHY, "the new threshold counts"


def test_the_network_looks_at_every_third_frame_unless_something_is_suspicious() -> None:
    model = make_object("cereal_box", 0)
    frame, pose = staged_view(model)
    monitor = EvidenceMonitor({model.name: model}, MonitorConfig(freeze_frames=50))
    network, asked = monitor._network, []

    class Counting:
        def of_crop(self, crop: np.ndarray) -> float:
            asked.append(1)
            return network.of_crop(crop)

    monitor._network = Counting()
    track = Track(object_name=model.name, stamp_ns=0, cam_from_obj=pose, covariance=np.eye(6) * 1e-6, innovation=0.0)
    said = [monitor.judge(frame, track).evidence.learned for _ in range(9)]
    assert np.isfinite(said).all() and len(asked) <= 4
    before = len(asked)
    monitor.judge(frame, replace(track, innovation=0.5))
    assert len(asked) == before + 1, "an unforeseen jump"
    away = pose.copy()
    away[0, 3] += 0.5 * model.diameter
    before = len(asked)
    for _ in range(4):
        monitor.judge(frame, replace(track, cam_from_obj=away))
    assert len(asked) >= before + 3, "a doubtful pose is looked at in every frame"
