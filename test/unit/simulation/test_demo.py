"""`storm demo` with the nodes replaced by known answers: caching, judgement, exit status."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from storm_core.cli import demo, replay
from storm_core.cli.main import main
from storm_core.simulation import scenarios
from storm_core.simulation.truth import load_simulated_truth
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput


def results_of(**changes):
    recovery = {"events": [{"lost_at": 10, "due_at": 20, "trusted_at": 25, "time_s": 0.17}], "trusted_while_hidden": 0}
    recovery |= {k: v for k, v in changes.items() if k in recovery}
    figures = {"first_pose_frame": 0, "confidently_wrong": 0.0, "recovery": recovery}
    return {"objects": {"cereal_box": figures | {k: v for k, v in changes.items() if k in figures}}}


def test_a_sound_run_has_no_failures():
    assert demo.failures(results_of()) == []
    assert "recovered after 0.17 s" in demo.events_table(results_of())


@pytest.mark.parametrize(("change", "says"), [
    ({"first_pose_frame": None}, "never tracked"),
    ({"events": [{"lost_at": 10, "due_at": 20, "trusted_at": None, "time_s": float("nan")}]},
     "not recovered .* frame 20"),
    ({"trusted_while_hidden": 3}, "3 frames in which it is not visible"),
    ({"confidently_wrong": 0.25}, "25.0% .* more than 0.2 diameter"),
])
def test_each_failure_is_named(change, says):
    (problem,) = demo.failures(results_of(**change))
    assert re.search(says, problem)


def test_late_recovery_is_said_but_no_failure():
    late = results_of(events=[{"lost_at": 10, "due_at": 20, "trusted_at": 80, "time_s": 2.0}])
    assert demo.failures(late) == [] and "later than 1 s" in demo.events_table(late)


@pytest.fixture
def short_demo(monkeypatch):
    """The demo's scenario replaced by the first frames of the short one, with one target."""
    monkeypatch.setitem(scenarios.SCENARIOS, "demo", lambda seed: replace(
        scenarios.make_scenario("still", seed), duration=0.2, targets=("cereal_box",)))


def answers(home, offset_m):
    """A stand-in for the nodes: the true poses, moved by an offset."""
    def through_nodes(config, recording, models, *, count, rate_hz):
        truth = load_simulated_truth(home(recording), tuple(models))
        outputs = []
        for k, stamp in enumerate(recording.stamps_ns[:count]):
            items = []
            for name in models:
                pose = truth.frames[name][k][0].cam_from_obj.copy()
                pose[0, 3] += offset_m
                items.append(ObjectOutput(
                    object_name=name, stamp_ns=stamp, state="TRACKING", reason=Reason.VERIFIED, cam_from_obj=pose,
                    covariance=np.eye(6) * 1e-6, probability=0.9, trusted=True, coasting=False, evidence=Evidence()))
            outputs.append(StepOutput(stamp_ns=stamp, objects=tuple(items), transitions=(), stage_ms={}))
        return outputs, {"ros": {"preroll_s": 0.0}}
    return through_nodes


def test_demo_renders_once_and_judges(short_demo, monkeypatch, tmp_path, capsys):
    out = tmp_path / "demo"
    monkeypatch.setattr(replay, "through_nodes", answers(lambda recording: recording.path.parent, 0.0))
    assert main(["demo", "--out", str(out), "--fast", "--json", str(tmp_path / "numbers.json")]) == 0
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["command"] == "demo" and numbers["objects"]["cereal_box"]["add_auc"] > 0.999
    assert (out / "report.html").exists() and (out / "results.json").exists()
    (rendered,) = (out / demo.RECORDINGS).iterdir()
    before = (rendered / "bag" / "metadata.yaml").stat().st_mtime_ns
    # A second run, now with wrong answers: same recording, exit status 1, one line that says why.
    monkeypatch.setattr(replay, "through_nodes", answers(lambda recording: recording.path.parent, 0.1))
    monkeypatch.setenv("HOME", str(tmp_path))
    capsys.readouterr()
    assert main(["demo", "--out", "~/demo", "--fast"]) == 1
    assert "off by more than 0.2 diameter" in capsys.readouterr().err
    assert (rendered / "bag" / "metadata.yaml").stat().st_mtime_ns == before


def test_demo_names_a_wrong_parameter_before_it_renders(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--set", "tracking.iteration=3"]) == 1
    assert "tracking.iteration" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_truth_of_hidden_objects_has_zero_visibility(tmp_path):
    (tmp_path / "test" / "000001").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "models_info.json").write_text(json.dumps({"1": {"name": "thing"}}))
    pose = {"obj_id": 1, "cam_R_m2c": np.eye(3).ravel().tolist(), "cam_t_m2c": [0, 0, 500]}
    scene = tmp_path / "test" / "000001"
    (scene / "scene_gt.json").write_text(json.dumps({str(k): [pose] for k in range(12)}))
    (scene / "scene_gt_info.json").write_text(json.dumps({str(k): [{"visib_fract": k / 11}] for k in range(12)}))
    truth = load_simulated_truth(tmp_path, ("thing",))
    assert [t.visible for (t,) in truth.frames["thing"]] == [k / 11 for k in range(12)]
    assert truth.frames["thing"][0][0].cam_from_obj[2, 3] == 0.5
    assert not truth.frames["thing"][0][0].is_visible
