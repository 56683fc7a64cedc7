"""Figures of a validation: how far the refiner brings hypotheses, and how often the scorer prefers the better one."""

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import angle_between, so3_exp

Array = NDArray[np.floating]

BINS_DEG = (0, 15, 45, 90)
"""Turns of the hypotheses that figures are reported for."""


def refiner_figures(shift: Array, turn: Array, wanted_shift: Array, wanted_turn: Array) -> dict[str, float]:
    """Medians after one step, by the turn of the hypothesis: what is left of shift [radii] and turn [deg], and the
    share of turns that were at least halved. Arrays (N, 3); turns are axis-angle [rad]."""
    before = np.degrees(np.linalg.norm(wanted_turn, axis=1))
    after = np.degrees(angle_between(so3_exp(turn), so3_exp(wanted_turn)))
    left = np.linalg.norm(shift - wanted_shift, axis=1)
    figures = {"shift_before": float(np.median(np.linalg.norm(wanted_shift, axis=1))),
               "shift_after": float(np.median(left))}
    for low, high in zip(BINS_DEG[:-1], BINS_DEG[1:], strict=True):
        at = (before >= low) & (before < high)
        if at.any():
            figures[f"turn_{low}_{high}_before"] = float(np.median(before[at]))
            figures[f"turn_{low}_{high}_after"] = float(np.median(after[at]))
            figures[f"halved_{low}_{high}"] = float((after[at] < before[at] / 2).mean())
    return figures


def scorer_figures(score: Array, error: Array) -> dict[str, float]:
    """Scores and errors (views, K): how often the better of two is preferred (errors that differ by more than 3 % of
    the diameter), the mean error of the first choice [diameters], of the best and of a random one."""
    lead = score[:, :, None] - score[:, None, :]
    better = (error[:, None, :] - error[:, :, None]) > 0.03
    rows = np.arange(len(score))
    return {"ordered": float((lead[better] > 0).mean()), "chosen": float(error[rows, score.argmax(1)].mean()),
            "best": float(error.min(1).mean()), "random": float(error.mean())}
