"""Scripted losses and what is counted about them, on cases worked out by hand."""

import numpy as np
import pytest

from storm_core.metrics.loss_recovery import history_problems, loss_figures
from storm_core.simulation.loss_script import CALM_S, KINDS, Loss, loss_script
from storm_core.simulation.scenarios import ARC_LAYERS

NAN = float("nan")


def figures(error, visible, *losses):
    return loss_figures([Loss(*loss) for loss in losses], np.array(error, float), np.array(visible, bool), 10.0)


def test_recovered_late_missed_and_wrong_are_told_apart():
    visible = [1] * 4 + [0] * 3 + [1] * 13
    loss = ("exit", 4, 7, 20)
    soon = [0.0] * 4 + [NAN] * 3 + [NAN] * 2 + [0.1] * 11
    assert {k: figures(soon, visible, loss)[k] for k in ("events", "recovered", "late", "missed", "time_s_p50")} == {
        "events": 1, "recovered": 1, "late": 0, "missed": 0, "time_s_p50": pytest.approx(0.2)}
    late = soon[:7] + [NAN] * 11 + [0.1] * 2
    assert (figures(late, visible, loss)["late"], figures(late, visible, loss)["recovered"]) == (1, 0)
    never = soon[:7] + [NAN] * 13
    assert figures(never, visible, loss)["missed"] == 1 and figures(never, visible, loss)["time_s_p50"] == float("inf")
    elsewhere = soon[:7] + [0.9] + soon[8:]
    assert figures(elsewhere, visible, loss)["wrong_object"] == 1 and figures(elsewhere, visible, loss)["wrong"] == 1
    kept = soon[:4] + [0.0, 0.0, NAN] + soon[7:]
    assert figures(kept, visible, loss)["wrong_object"] == 1
    assert figures(kept, visible, loss)["trusted_while_hidden"] == 2
    grace = soon[:4] + [0.0, NAN, NAN] + soon[7:]
    assert figures(grace, visible, loss)["wrong_object"] == 0


def test_an_object_that_was_never_lost_is_recovered_at_once():
    assert figures([0.0] * 20, [1] * 20, ("fast", 5, 9, 20))["by_kind"]["fast"]["time_s_p50"] == 0.0


def entry(state, previous, epoch=1, since=0):
    return {"state": state, "previous_state": previous, "epoch": str(epoch), "since_ns": str(since)}


def test_a_history_with_a_gap_or_out_of_order_is_named():
    whole = [entry("SEARCHING", "SEARCHING"), entry("REGISTERING", "SEARCHING", 1, 5),
             entry("REGISTERING", "SEARCHING", 1, 5), entry("VERIFYING", "REGISTERING", 2, 6)]
    assert history_problems(whole) == []
    assert "REGISTERING came before it, SEARCHING did" in history_problems([whole[0], whole[3]])[0]
    assert "epoch 1 after 2" in history_problems([whole[3], entry("VERIFYING", "REGISTERING", 1, 6)])[0]
    assert "began before" in history_problems([whole[1], entry("REGISTERING", "SEARCHING", 1, 4)])[0]


def test_a_script_has_every_kind_equally_often_and_says_what_is_shown():
    script = loss_script(20, 24, 30.0, seed=3)
    assert script.frames == loss_script(20, 24, 30.0, seed=3).frames != loss_script(20, 24, 30.0, seed=4).frames
    assert {kind: sum(loss.kind == kind for loss in script.losses) for kind in KINDS} == dict.fromkeys(KINDS, 5)
    assert {shown.layer for shown in script.frames} == set(ARC_LAYERS) and len(script.resets) == 4
    assert all(0 <= shown.index < 24 for shown in script.frames)
    for loss in script.losses:
        gone = [not script.frames[k].visible for k in range(loss.start, loss.due)]
        assert all(gone) == (loss.kind in ("occlusion", "exit") or not gone), loss
        assert all(script.frames[k].visible for k in range(loss.due, loss.end))
        assert loss.end - loss.due >= round(CALM_S[0] * 30.0), "too short to recover in"
    steps = [abs(b.index - a.index) for a, b in zip(script.frames, script.frames[1:], strict=False)]
    assert max(steps) <= 6
    jump = next(loss for loss in script.losses if loss.kind == "jump")
    assert script.frames[jump.due].layer != script.frames[jump.due - 1].layer
