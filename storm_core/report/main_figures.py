"""The few figures that a run is judged by, from per-frame rows: values, confidence intervals, and what is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.bootstrap import Resamples, block_resamples, interval, quantile_samples, ratio_samples
from storm_core.metrics.bootstrap import share_interval as bounded
from storm_core.metrics.scores import AUC_LIMIT_M, quantile
from storm_core.metrics.tracking import WRONG_SHARE

Array = NDArray[np.float64]
Interval = tuple[float, float]

RECALL_SHARE = 0.1
"""Share of the diameter below which a pose counts as right."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameRows:
    """What is known about one object in each frame; arrays (N,). See `ObjectErrors`; latency_ms is nan if unknown."""

    trusted: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    accurate: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    add_m: Array
    adds_m: Array
    mssd_m: Array
    latency_ms: Array
    diameter_m: float


@dataclass(frozen=True, kw_only=True)
class MainFigure:
    """Attributes:
      share: every frame says yes or no. higher: larger values are better. median: of rows, instead of a mean.
    """

    name: str
    share: bool = False
    higher: bool = True
    median: bool = False


MAIN_FIGURES = (
    MainFigure(name="add_auc"), MainFigure(name="adds_auc"), MainFigure(name="add_01d", share=True),
    MainFigure(name="adds_01d", share=True), MainFigure(name="coverage", share=True),
    MainFigure(name="confidently_wrong", share=True, higher=False),
    MainFigure(name="mssd_mm_p50", higher=False, median=True), MainFigure(name="ms_p50", higher=False, median=True))


def figure_value(figure: MainFigure, rows: Sequence[FrameRows]) -> float:
    """The figure over all rows of one or several objects; nan where nothing can be measured."""
    if figure.median:
        values = _medians(figure, rows)
        return quantile(values[~np.isnan(values)], 0.5)
    values, counted = _means(figure, rows)
    return float(values.sum() / counted.sum()) if counted.sum() > 0 else float("nan")


def figure_samples(figure: MainFigure, rows: Sequence[FrameRows], resamples: Resamples) -> Array:
    """The figure over each resample of frames (B,)."""
    if figure.median:
        return quantile_samples(resamples, _medians(figure, rows), 0.5)
    return ratio_samples(resamples, *_means(figure, rows))


def figure_interval(figure: MainFigure, samples: Array, resamples: Resamples) -> Interval | None:
    """95 % confidence interval from the figure's samples, None where it cannot be told."""
    return bounded(samples, len(resamples.lengths)) if figure.share else interval(samples)


def confidence(rows: FrameRows, seed: int) -> Mapping[str, Interval]:
    """{figure: 95 % interval} of one object, as far as it can be told."""
    if not len(rows.trusted):
        return {}
    resamples = block_resamples(len(rows.trusted), seed=seed)
    found = {f.name: figure_interval(f, figure_samples(f, [rows], resamples), resamples) for f in MAIN_FIGURES
             if np.isfinite(figure_value(f, [rows]))}
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def _means(figure: MainFigure, rows: Sequence[FrameRows]) -> tuple[Array, Array]:
    """(values, weights) per frame (N,), summed over objects."""
    parts = [_mean(figure, r) for r in rows]
    return sum(p[0] for p in parts), sum(p[1] for p in parts)  # type: ignore[return-value]


def _mean(figure: MainFigure, r: FrameRows) -> tuple[Array, Array]:
    match figure.name:
        case "add_auc" | "adds_auc":
            error = r.add_m if figure.name == "add_auc" else r.adds_m
            values, counted = np.clip(1.0 - error / AUC_LIMIT_M, 0.0, None), r.accurate
        case "add_01d" | "adds_01d":
            error = r.add_m if figure.name == "add_01d" else r.adds_m
            values, counted = error < RECALL_SHARE * r.diameter_m, r.accurate
        case "coverage":
            values, counted = r.trusted, r.visible
        case _:
            values, counted = r.mssd_m > WRONG_SHARE * r.diameter_m, r.trusted & r.judged
    return np.where(counted, values, 0.0).astype(float), counted.astype(float)


def _medians(figure: MainFigure, rows: Sequence[FrameRows]) -> Array:
    """Values (N, K) whose median is the figure, nan where a frame does not count."""
    if figure.name == "ms_p50":
        return np.stack([r.latency_ms for r in rows], 1)
    return np.stack([np.where(r.accurate, 1e3 * r.mssd_m, np.nan) for r in rows], 1)
