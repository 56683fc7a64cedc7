"""Scenes as sequences, and what the system is without its monitor and without re-registration."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.cli.main import main
from storm_core.config import MonitorConfig, RecoveryConfig, StormConfig, build
from storm_core.evaluation import system
from storm_core.evaluation.dataset import open_dataset
from storm_core.evaluation.system import VARIANTS, SceneSequence, outputs_of, plan, variant_config
from storm_core.geometry.pose import se3_exp
from storm_core.monitor.trusting import TrustingMonitor
from storm_core.pipeline.build import build_models, build_monitor
from storm_core.pipeline.system import Pipeline
from storm_core.recovery.machine import (
    Action,
    Command,
    FrameArrived,
    Judged,
    ObjectState,
    RegisterDone,
    SearchDone,
    State,
    TrackLost,
    step,
)
from storm_core.types import (
    Evidence,
    Frame,
    Hint,
    Judgement,
    Localization,
    ObjectOutput,
    Reason,
    Registration,
    StepOutput,
    Track,
    TrackFailure,
    Verdict,
)
from test.synthetic import pose
from test.unit.evaluation_runs.tiny_dataset import CAMERA, placed, write_dataset

IMAGES = 4
FRAME_NS = 33_000_000
FINAL = RecoveryConfig(reregister=False)
POSE = pose((0.4, 0.3, 0.1), (0.0, 0.02, 0.6))


def tell(state: ObjectState, config: RecoveryConfig, *events: tuple) -> tuple[ObjectState, list[Action]]:
    actions: list[Action] = []
    for kind, fields in events:
        stamp = state.stamp_ns + FRAME_NS
        if kind not in (FrameArrived, Command):
            fields = {"epoch": state.epoch} | fields
        state, new = step(state, kind(stamp_ns=stamp, **fields), config)
        actions += new
    return state, actions


TO_TRACKING = ((FrameArrived, {}), (SearchDone, {"found": True, "reason": Reason.FOUND}),
               (RegisterDone, {"registered": True, "reason": Reason.REGISTERED}),
               (Judged, {"verdict": Verdict.HEALTHY, "reason": Reason.CONFIRMED}))


def test_without_reregistration_a_loss_is_final_until_a_user_says_otherwise() -> None:
    state, _ = tell(ObjectState(), FINAL, *TO_TRACKING)
    assert state.state is State.TRACKING
    state, actions = tell(state, FINAL, (TrackLost, {"reason": Reason.OUT_OF_VIEW}))
    assert state.state is State.LOST and actions == [Action.STOP_TRACKING]
    state, actions = tell(state, FINAL, *[(FrameArrived, {})] * 200)
    assert state.state is State.LOST and state.reason is Reason.OUT_OF_VIEW and not actions
    state, actions = tell(state, FINAL, (Command, {"reason": Reason.USER_REREGISTER}))
    assert state.state is State.SEARCHING and Action.SEARCH in actions


def test_without_reregistration_the_first_search_is_repeated_and_doubt_can_pass() -> None:
    state, actions = tell(ObjectState(), FINAL, (FrameArrived, {}),
                          *[(SearchDone, {"found": False, "reason": Reason.NO_CANDIDATE})] * 2)
    assert state.state is State.SEARCHING and actions.count(Action.SEARCH) == 3
    state, _ = tell(state, FINAL, *TO_TRACKING[1:], (Judged, {"verdict": Verdict.LOST, "reason": Reason.UNCERTAIN}),
                    (Judged, {"verdict": Verdict.HEALTHY, "reason": Reason.CONFIRMED}))
    assert state.state is State.TRACKING


@given(st.lists(st.sampled_from([*TO_TRACKING, (Judged, {"verdict": Verdict.LOST, "reason": Reason.UNCERTAIN}),
                                 (TrackLost, {"reason": Reason.OUT_OF_VIEW})]), max_size=60))
def test_the_switch_changes_nothing_before_the_first_loss(events: list[tuple]) -> None:
    final, normal = ObjectState(), ObjectState()
    for event in events:
        was_lost = final.state is State.LOST
        final, _ = tell(final, FINAL, event)
        if was_lost:
            assert final.state is State.LOST
        else:
            normal, _ = tell(normal, RecoveryConfig(), event)
            assert final == normal


class Follower:
    """Localizer, registrar and tracker in one: the pose drifts away after `drift` frames, and ends after `end`."""

    def __init__(self, drift: int, end: int = 10**6) -> None:
        self.frames, self.drift, self.end, self.searches, self.on = 0, drift, end, 0, False

    def localize(self, frame: Frame, object_name: str, hint: Hint) -> Localization:
        self.searches += 1
        return Localization(object_name=object_name, stamp_ns=frame.stamp_ns, mask=frame.depth > -1,
                            cam_from_objs=POSE[None], probability=0.9)

    def register(self, frame: Frame, localization: Localization) -> Registration:
        return Registration(object_name="1", stamp_ns=frame.stamp_ns, cam_from_obj=POSE, covariance=np.eye(6),
                            probability=0.9, evidence=Evidence())

    def start(self, frame: Frame, registration: Registration) -> Registration:
        self.on = True
        return registration

    def stop(self, object_name: str) -> None:
        self.on = False

    def reset(self, object_name: str) -> None: ...

    def nudge(self, object_name: str, stamp_ns: int, correction: np.ndarray) -> bool:
        return False

    def track(self, frame: Frame) -> dict[str, Track | TrackFailure]:
        self.frames += 1
        if not self.on:
            return {}
        if self.frames >= self.end:
            return {"1": TrackFailure(object_name="1", stamp_ns=frame.stamp_ns, reason=Reason.OUT_OF_VIEW)}
        moved = se3_exp([0.02 * max(0, self.frames - self.drift), 0, 0, 0, 0, 0]) @ POSE
        return {"1": Track(object_name="1", stamp_ns=frame.stamp_ns, cam_from_obj=moved, covariance=np.eye(6),
                           innovation=0.0)}


class Watchful:
    """Calls a pose lost once it is a centimetre off."""

    def reset(self, object_name: str) -> None:
        pass

    def judge(self, frame: Frame, track: Track) -> Judgement:
        off = np.abs(track.cam_from_obj - POSE).max() > 0.01
        return Judgement(object_name="1", stamp_ns=frame.stamp_ns, probability=0.0 if off else 1.0,
                         verdict=Verdict.LOST if off else Verdict.HEALTHY, reason=Reason.DEPTH_DISAGREES,
                         evidence=Evidence())


@pytest.mark.parametrize(("variant", "trusted", "searches"),
                         [("full", "some", "many"), ("no_monitor", "all", "one"), ("no_reregistration", "few", "one"),
                          ("neither", "all", "one")])
def test_what_each_variant_does_with_a_drifting_tracker(variant: str, trusted: str, searches: str) -> None:
    config = variant_config(StormConfig(), variant)
    monitor = Watchful() if config.monitor.enable else build_monitor(config, {})
    parts = Follower(drift=5)
    pipeline = Pipeline(("1",), parts, parts, parts, monitor, None, config.recovery)
    depth = np.ones((CAMERA.height, CAMERA.width), np.float32)
    rgb = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    outputs = [pipeline.step(Frame(rgb=rgb, depth=depth, camera=CAMERA, stamp_ns=k * FRAME_NS)) for k in range(60)]
    share = np.mean([o.objects[0].trusted for o in outputs])
    assert {"all": share == 1.0, "few": 0.05 < share < 0.2, "some": 0.05 < share < 0.9}[trusted], share
    assert (parts.searches == 1) == (searches == "one")


def test_without_a_monitor_the_trackers_own_failure_still_ends_a_track() -> None:
    for variant, back in (("no_monitor", True), ("neither", False)):
        parts = Follower(drift=10**6, end=10)
        pipeline = Pipeline(("1",), parts, parts, parts, TrustingMonitor(), None,
                            variant_config(StormConfig(), variant).recovery)
        frame = Frame(rgb=np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), camera=CAMERA, stamp_ns=0,
                      depth=np.ones((CAMERA.height, CAMERA.width), np.float32))
        outputs = [pipeline.step(replace(frame, stamp_ns=k * FRAME_NS)) for k in range(14)]
        assert all(o.objects[0].trusted for o in outputs[:9]) and not outputs[9].objects[0].trusted
        assert (parts.searches > 1) == back and any(o.objects[0].trusted for o in outputs[10:]) == back


def test_the_configuration_chooses_the_monitor() -> None:
    models = {}
    assert isinstance(build_monitor(build({"monitor.enable": False}), models), TrustingMonitor)
    assert not isinstance(build_monitor(StormConfig(), models), TrustingMonitor)
    assert MonitorConfig().enable and RecoveryConfig().reregister, "nothing changes by itself"
    said = TrustingMonitor().judge(None, Track(object_name="1", stamp_ns=7, cam_from_obj=POSE, covariance=np.eye(6),
                                               innovation=9.0))
    assert said.verdict is Verdict.HEALTHY and np.isnan(list(said.evidence.as_dict().values())).all()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_dataset(tmp_path_factory.mktemp("system") / "data", scenes=2, images=IMAGES)
    (root / "test/000002/depth/000002.png").write_text("damaged")
    return root


class TruePipeline:
    """Publishes the true poses; without re-registration it publishes nothing from the third frame on."""

    scene = 0

    def __init__(self, config: StormConfig) -> None:
        TruePipeline.scene += 1
        self.config, self.count, self.of = config, 0, 2 - TruePipeline.scene % 2

    def step(self, frame: Frame) -> StepOutput:
        im_id = round(frame.stamp_ns * 30e-9) % 1000
        # Stamps of the second scene go on after those of the first.
        im_id = (im_id - 30) if self.of == 1 else im_id - 30 - (30 + IMAGES - 1 + 300)
        self.count += 1
        lost = not self.config.recovery.reregister and self.count > 2
        items = tuple(ObjectOutput(
            object_name=n, stamp_ns=frame.stamp_ns, state="LOST" if lost else "TRACKING", reason=Reason.VERIFIED,
            cam_from_obj=None if lost else placed(self.of, im_id)[int(n)],
            covariance=None if lost else np.eye(6) * 1e-6, probability=0.9, trusted=not lost,
            coasting=False, evidence=Evidence()) for n in self.config.objects)
        return StepOutput(stamp_ns=frame.stamp_ns, objects=items, transitions=(), stage_ms={"total": 5.0})


@pytest.fixture
def true_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    TruePipeline.scene = 0
    monkeypatch.setattr(system, "sequence_models", build_models)
    monkeypatch.setattr(system, "build_pipeline", lambda config, models: TruePipeline(config))


def test_all_variants_over_two_scenes(data: Path, true_pipeline: None, tmp_path: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", "system", "--bop-dir", str(data), "--out", str(out), "--workers", "1",
                 "--all-variants"]) == 0
    results = json.loads((out / "results.json").read_text())
    frames = 2 * IMAGES
    for name in ("1", "2"):
        assert results["objects"][name]["add_auc"] == pytest.approx((frames - 1) / frames, abs=1e-3)
        assert results["objects"][name]["coverage"] == pytest.approx((frames - 1) / frames)
        assert results["at_targets"][name]["predicted"] == frames - 1
        assert results["variants"]["neither"]["objects"][name]["coverage"] == pytest.approx(4 / frames)
        assert results["differences"]["no_reregistration"][name]["coverage"]["difference"] == pytest.approx(-3 / frames)
        assert results["differences"]["no_monitor"][name]["coverage"]["difference"] == 0
    skip, = results["skipped"]
    assert (skip["scene_id"], skip["im_id"]) == (2, 2) and "000002.png cannot be decoded" in skip["reason"]
    assert (results["workers"]["parts"], results["workers"]["parts_reused"]) == (2 * len(VARIANTS), 0)
    assert results["variant"] == "full" and list(results["variants"]) == list(VARIANTS)
    for name in VARIANTS:
        folder = out if name == "full" else out / name
        assert {"results.json", "report.html", "predictions.jsonl", "poses.csv"} <= {p.name for p in folder.iterdir()}
    text = capsys.readouterr()
    assert "re-registration" in text.out and "1 skipped, counted as failures" in text.err


def test_one_variant_with_limits(data: Path, true_pipeline: None, tmp_path: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "system", "--bop-dir", str(data), "--workers", "1", "--scene", "1", "--objects", "2"]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--no-reregistration", "--fail-under", "coverage=0.9"]) == 1
    assert "objects.2.coverage is 0.5, below 0.9" in capsys.readouterr().err
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert results["variant"] == "no_reregistration" and list(results["objects"]) == ["2"] and not results["skipped"]
    assert main([*arguments, "--all-variants", "--no-monitor"]) == 1
    assert "remove --no-monitor" in capsys.readouterr().err


def test_jobs_and_sequences(data: Path, true_pipeline: None) -> None:
    dataset = open_dataset(data)
    config = replace(StormConfig(), models=str(dataset.models), objects=dataset.names)
    models = build_models(config)
    jobs = plan(dataset, config, models)
    assert [len(job.images) for job in jobs] == [IMAGES, IMAGES]
    stamps = [image.stamp_ns for job in jobs for image in job.images]
    assert stamps == sorted(set(stamps)), "stamps increase from scene to scene"
    short = plan(open_dataset(data, max_images=IMAGES + 2), config, models)
    assert [len(job.images) for job in short] == [IMAGES, 2]
    keys = {job.key() for name in VARIANTS for job in plan(dataset, variant_config(config, name), models)}
    assert len(keys) == 2 * len(VARIANTS), "each variant is a job of its own"
    outcome = json.loads(json.dumps(system.perform(jobs[0])))
    outputs = outputs_of(outcome, ("1", "2", "9"))
    assert [i.state for i in outputs[0].objects] == ["TRACKING", "TRACKING", "DISABLED"]
    assert len(outputs) == IMAGES and outputs[0].stage_ms == {"total": 5.0}
    assert np.allclose(outputs[1].objects[0].cam_from_obj, placed(1, 1)[1])
    damaged = system.perform(jobs[1])
    assert [bool(o.objects) for o in outputs_of(damaged, ("1", "2"))] == [True, True, False, True]
    assert len(damaged["skipped"]) == 1
    sequence = SceneSequence(path=data, name="x", sha256="", images=[i for job in jobs for i in job.images])
    frames = list(sequence.frames())
    assert len(frames) == len(sequence) == len(sequence.ids) == len(sequence.stamps_ns) == 2 * IMAGES
    assert [not f.rgb.any() for f in frames].index(True) == IMAGES + 2, "only the damaged one is black"
    assert [f.stamp_ns for f in frames] == list(sequence.stamps_ns)


def test_the_real_system_tracks_a_rendered_scene(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", "system", "--bop-dir", str(data), "--scene", "1", "--objects", "2", "--workers", "1",
                 "--set", "som.max_candidates=8", "--out", str(out)]) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["stages_ms"]["total"]["n"] == IMAGES and results["objects"]["2"]["frames_visible"] == IMAGES
    assert results["objects"]["2"]["coverage"] >= 0.5 and results["input"]["frames"] == IMAGES
