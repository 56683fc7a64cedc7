"""`storm bench ros`: its options, and what it makes of what was heard from the nodes."""

import argparse
import types

import numpy as np
import pytest

from storm_core.cli.bench import ros
from storm_core.errors import ConfigError
from storm_core.simulation.loss_script import Loss, LossScript, Shown
from test.synthetic import textured_box

STEP = 33_333_333


def arguments(*words):
    parser = argparse.ArgumentParser()
    ros.add_parser(parser.add_subparsers())
    return parser.parse_args(["ros", *words])


@pytest.mark.parametrize("words", [("--objects", "0"), ("--objects", "7"), ("--seconds", "0"), ("--losses", "-1"),
                                   ("--clip", "0.1")])
def test_impossible_options_are_named(words):
    with pytest.raises(ConfigError, match=f"got .*{words[1].lstrip('-')}"):
        ros.run(arguments(*words))


def heard(**changes):
    return types.SimpleNamespace(**({"pose_at_ns": {}, "trusted": {}, "status": {}, "diagnostics": {}} | changes))


def measured(stamps, listened):
    return types.SimpleNamespace(heard=listened, stamps_ns=stamps, wall_s=2.0, startup_s=4.5, late_ms=1.0,
                                 cpu_s={"pose_node": 0.5, "som_node": 0.1}, memory_mb={"pose_node": 300.0})


def test_latency_lost_frames_and_processor_time():
    stamps = [10**9 + k * STEP for k in range(4)]
    listened = heard(pose_at_ns={s: s + 10_000_000 * (k + 1) for k, s in enumerate(stamps[:3])},
                     trusted={(s, "box"): np.eye(4) for s in stamps[:3]},
                     diagnostics={"pose_node": {"track_ms_p50": "3.5", "frames_hz": "30"}})
    found = ros.figures(measured(stamps, listened), ["box"])
    assert found["objects"]["box"] == {"rate_hz": 1.5, "lost_frames": 1, "coverage": 0.75}
    assert found["stages_ms"]["end_to_end"] == {"p50": 20.0, "p95": 30.0, "p99": 30.0, "max": 30.0, "n": 3}
    assert found["stages_ms"]["track"] == {"p50": 3.5}
    assert found["graph"]["cpu_cores"] == pytest.approx(0.3) and found["graph"]["startup_s"] == 4.5


def entry(state, before, epoch, since, reason="found"):
    return {"state": state, "previous_state": before, "epoch": str(epoch), "since_ns": str(since), "reason": reason}


@pytest.mark.parametrize("stale", [False, True])
def test_recoveries_and_what_comes_after_a_reset(stale):
    model = textured_box("box")
    frames = (*[Shown("shown", 0)] * 4, *[Shown("gone", 0)] * 3, *[Shown("shown", 0)] * 9)
    script = LossScript(frames, (Loss("exit", 4, 7, 16),), (12,))
    stamps = [10**9 + k * STEP for k in range(len(frames))]
    near = np.eye(4)
    near[2, 3] = 0.5
    seen = types.SimpleNamespace(truth={"box": types.SimpleNamespace(cam_from_obj=near)})
    tracked = [0, 1, 2, 3, 9, 10, 11, 12, 15, *([14] if stale else [])]
    history = [(stamps[0], entry("TRACKING", "VERIFYING", 1, 1)), (stamps[5], entry("LOST", "TRACKING", 2, 5)),
               (stamps[9], entry("TRACKING", "LOST", 2, 9)),
               (stamps[12], entry("SEARCHING", "TRACKING", 3, 12, "user_reset")),
               (stamps[12], entry("SEARCHING", "TRACKING", 3, 12, "user_reset")),
               (stamps[15], entry("TRACKING", "SEARCHING", 3, 15))]
    listened = heard(trusted={(stamps[k], "box"): near for k in tracked}, status={"box": history})
    found = ros.recovery(measured(stamps, listened), script, model, {("shown", 0): seen, ("gone", 0): seen})
    assert (found["events"], found["recovered"], found["wrong_object"]) == (1, 1, 0)
    assert found["time_s_p50"] == pytest.approx(2 / 30.0)
    assert (found["resets_asked"], found["resets_seen"], found["stale_after_reset"]) == (1, 1, int(stale))
    assert found["status_problems"] == 0
