"""Real time on a virtual clock: the newest frame wins, and time that passes is accounted for."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.geometry.camera import PinholeCamera
from storm_core.pipeline.arrival import in_real_time
from storm_core.types import Evidence, Frame, ObjectOutput, Reason, StepOutput

CAMERA = PinholeCamera(8, 8, 8.0, 8.0, 3.5, 3.5)
START = 1_700_000_000_000_000_000


def frames(count: int, period_ms: int = 30) -> Iterator[Frame]:
    for k in range(count):
        yield Frame(rgb=np.zeros((8, 8, 3), np.uint8), depth=np.zeros((8, 8), np.float32), camera=CAMERA,
                    stamp_ns=START + k * period_ms * 1_000_000)


class Pipeline:
    """Takes the given times [ms], one after the other, and says which frames it saw."""

    def __init__(self, durations_ms: list[float]) -> None:
        self.durations, self.now, self.seen = list(durations_ms), 0.0, []

    def clock(self) -> float:
        return self.now

    def step(self, frame: Frame) -> StepOutput:
        self.now += self.durations[len(self.seen) % len(self.durations)] * 1e-3
        self.seen.append((frame.stamp_ns - START) // 1_000_000)
        item = ObjectOutput(object_name="a", stamp_ns=frame.stamp_ns, state="TRACKING", reason=Reason.VERIFIED,
                            cam_from_obj=None, covariance=None, probability=0.0, trusted=False, coasting=False,
                            evidence=Evidence())
        return StepOutput(stamp_ns=frame.stamp_ns, objects=(item,), transitions=(), stage_ms={"total": 1.0})


def played(durations_ms: list[float], count: int, **options: float) -> tuple[Pipeline, list[StepOutput]]:
    pipeline = Pipeline(durations_ms)
    return pipeline, list(in_real_time(frames(count), pipeline.step, clock=pipeline.clock, **options))


def test_a_fast_pipeline_sees_everything() -> None:
    pipeline, outputs = played([10], 5)
    assert pipeline.seen == [0, 30, 60, 90, 120]
    assert [o.stage_ms["end_to_end"] for o in outputs] == pytest.approx([10] * 5)
    assert all(o.stage_ms["total"] == 1.0 for o in outputs)


def test_the_newest_waiting_frame_wins() -> None:
    """The first takes 100 ms: of the frames at 30, 60 and 90 ms only the last is still there when it is done."""
    pipeline, outputs = played([100, 10, 10, 10], 6)
    assert pipeline.seen == [0, 90, 120, 150]
    assert [bool(o.objects) for o in outputs] == [True, False, False, True, True, True]
    assert [o.stage_ms.get("end_to_end") for o in outputs] == pytest.approx([100, None, None, 20, 10, 10])


def test_speed_is_the_rate_of_arrival() -> None:
    assert played([41], 12)[0].seen == [0, 30, 60, 120, 150, 180, 240, 270, 300, 330]
    assert len(played([40], 12, speed=0.5)[0].seen) == 12
    assert len(played([40], 12, speed=4.0)[0].seen) < 6


@given(st.lists(st.floats(0.1, 200.0), min_size=1, max_size=6), st.integers(1, 40))
def test_laws(durations_ms: list[float], count: int) -> None:
    """One output per frame; the first and the last frame are answered; no answer comes before its time."""
    pipeline, outputs = played(durations_ms, count)
    assert [o.stamp_ns - START for o in outputs] == [k * 30_000_000 for k in range(count)]
    answered = [o for o in outputs if o.objects]
    assert outputs[0].objects and outputs[-1].objects and len(answered) == len(pipeline.seen)
    done = [o.stamp_ns * 1e-6 + o.stage_ms["end_to_end"] for o in answered]
    took = [durations_ms[k % len(durations_ms)] for k in range(len(answered))]
    assert all(o.stage_ms["end_to_end"] >= t - 1e-3 for o, t in zip(answered, took, strict=True))
    assert all(b - a >= t - 1e-3 for a, b, t in zip(done, done[1:], took[1:], strict=False))


def test_nothing_to_play() -> None:
    assert played([10], 0)[1] == []
