"""Fit the verifier's logistic weights on simulated scenes (`storm train verifier`).

Signs are fixed by what a feature means, and the weights are drawn towards the current ones (a Gaussian prior), so that
a small simulated set sharpens physical reasoning instead of replacing it. Validation scenes use other objects.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from tqdm import tqdm

from storm_core.evidence.verifier import FEATURES, Verifier, feature_vector
from storm_core.metrics.ranking import auroc
from storm_core.training.verifier_data import Row, rows_of_scene

PHYSICAL = Verifier(
    center=(0.95, 0.02, 0.85, 0.8, 0.65, 1.6, 0.65, -0.08, 0.2, 0.5),
    weight=(10.0, -12.0, 12.0, 14.0, 5.0, -1.5, 6.0, 10.0, -4.0, 12.0),
    bias=0.0,
)
"""What the features mean, before anything is fitted: the prior of the fit."""

RIGHT, WRONG = 0.1, 0.2
"""ADD / diameter: below is right, above is wrong, between is left out."""

PRIOR_SHARE = 0.35
"""Simulated evidence is cleaner than real evidence: the prior's log-odds are trusted only in part."""


@dataclass(frozen=True, eq=False)
class Table:
    """Features x (N, F), labels right (N,) and whether the search itself gave the pose (N,)."""

    x: NDArray[np.float64]
    right: NDArray[np.bool_]
    found: NDArray[np.bool_]


def table_of(rows: list[Row]) -> Table:
    """Rows that are clearly right or clearly wrong."""
    rows = [r for r in rows if r.error < RIGHT or r.error > WRONG]
    return Table(
        np.array([feature_vector(r.evidence) for r in rows]),
        np.array([r.error < RIGHT for r in rows]),
        np.array([r.found for r in rows]),
    )


def fit(table: Table, prior: Verifier = PHYSICAL, strength: float = 100.0, without: str = "") -> Verifier:
    """MAP estimate of the weights; balanced classes; unknown features are neutral at the middle of both classes.

    without: a feature whose weight is held at zero, "" = none.
    """
    x, y = table.x, table.right
    center = (np.nanmean(x[y], 0) + np.nanmean(x[~y], 0)) / 2
    spread = np.maximum(np.nanstd(x, 0), 1e-6)
    z = np.clip(np.nan_to_num((x - center) / spread, nan=0.0), -4, 4)
    weight = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    used = np.array([name != without for name in FEATURES])
    start = PRIOR_SHARE * np.asarray(prior.weight) * spread * used
    sign = np.where(y, 1.0, -1.0)

    def loss(p: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = sign * (z @ p[:-1] + p[-1])
        slope = -sign * weight / (1 + np.exp(odds))
        away = p[:-1] - start
        value = (np.logaddexp(0, -odds) * weight).mean() + strength / len(y) * (away**2).sum()
        return value, np.r_[z.T @ slope / len(y) + 2 * strength / len(y) * away, slope.mean()]

    bounds = [(0, None) if w > 0 else (None, 0) if w < 0 else (0, 0) for w in prior.weight * used] + [(None, None)]
    p = minimize(loss, np.r_[start, 0.0], jac=True, bounds=bounds, method="L-BFGS-B").x
    return Verifier(tuple(center.round(4).tolist()), tuple((p[:-1] / spread).round(3).tolist()), round(float(p[-1]), 3))


def report(name: str, verifier: Verifier, table: Table) -> dict[str, float]:
    """AUROC over all rows and over the searches' own answers, and their error rates at probability 0.5."""
    odds = np.array([verifier.log_odds_of(x) for x in table.x])
    f = table.found
    return {
        f"{name}_auroc": auroc(odds, table.right),
        f"{name}_auroc_found": auroc(odds[f], table.right[f]),
        f"{name}_missed": float((odds[f & table.right] < 0).mean()),
        f"{name}_false": float((odds[f & ~table.right] >= 0).mean()),
        f"{name}_n": float(f.sum()),
    }


def ablation(train: Table, held_out: Table) -> dict[str, dict[str, float]]:
    """`nothing` and every feature -> figures on held-out poses of a verifier fitted without it.

    auroc: over all poses. auroc_found, missed: of the searches' own answers, see `report`. log_loss: mean, classes
    balanced.
    """
    out = {}
    for name in ("", *FEATURES):
        fitted = fit(train, without=name)
        odds = fitted.log_odds_of(held_out.x)
        loss = np.logaddexp(0, np.where(held_out.right, -odds, odds))
        figures = report("of", fitted, held_out)
        out[name or "nothing"] = {
            "auroc": figures["of_auroc"], "auroc_found": figures["of_auroc_found"], "missed": figures["of_missed"],
            "log_loss": float((loss[held_out.right].mean() + loss[~held_out.right].mean()) / 2)}
    return out


def _rows(seed: int, validation: bool) -> list[Row]:
    return list(rows_of_scene(seed, validation))


def collect(scenes: int, validation: bool, first: int = 0, workers: int = 2) -> list[Row]:
    """Rows of many scenes, in parallel over scenes."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = pool.map(partial(_rows, validation=validation), range(first, first + scenes))
        return [
            row for rows in tqdm(jobs, total=scenes, desc="validation" if validation else "training") for row in rows
        ]
