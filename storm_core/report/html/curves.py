"""Small charts of one object or of the run: accuracy over threshold, trust, calibration, covariance, time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from scipy.stats import chi2

from storm_core.metrics.scores import AUC_LIMIT_M
from storm_core.report.html.catalogue import value_at
from storm_core.report.html.chart import chart, color, drawing, plain_log
from storm_core.report.results import STAGES

_SIZE = (5.6, 3.3)
_STEPS = 200
_SHORTEST_MS = 0.1
"""Less than that is drawn as that: a logarithmic axis has no place for a stage that did nothing."""


def accuracy_chart(name: str, add_m: NDArray[np.float64], adds_m: NDArray[np.float64]) -> str:
    """Share of judged frames or targets with an error not above the threshold; "" without any."""
    if not len(add_m):
        return ""
    limits = np.linspace(0, AUC_LIMIT_M, _STEPS + 1)
    with drawing(*_SIZE) as (figure, (axis,)):
        for errors, label, shade in ((adds_m, "ADD-S", "teal"), (add_m, "ADD", "purple")):
            share = np.searchsorted(np.sort(errors), limits, side="right") / len(errors)
            axis.plot(1e3 * limits, share, color=color(shade), lw=1.6, label=label)
        axis.set(xlabel="threshold [mm]", ylabel="accuracy", xlim=(0, 1e3 * AUC_LIMIT_M))
        _percent(axis)
        axis.legend(loc="lower right")
        return chart(figure, f"{name} accuracy over threshold", f"Accuracy over threshold of {len(add_m)} judged poses "
                     "that were due; a missing one never counts. AUC is the area below.")


def trust_charts(name: str, figures: Mapping[str, Any]) -> list[str]:
    """Precision-recall, reliability and NEES of one object, as far as it has them."""
    made = [_precision_recall(name, figures.get("precision_recall")), _reliability(name, figures.get("calibration")),
            _nees(name, figures.get("nees"))]
    return [m for m in made if m]


def latency_chart(stage_ms: Sequence[Mapping[str, float]], period_ms: float | None) -> str:
    """Histogram of each stage over the frames in which it ran, with the frame period; "" when nothing was measured."""
    names = sorted({s for frame in stage_ms for s in frame},
                   key=lambda s: (STAGES.index(s) if s in STAGES else len(STAGES), s))
    values = {s: np.array([f[s] for f in stage_ms if np.isfinite(f.get(s, np.nan))]) for s in names}
    values = {s: np.maximum(v, _SHORTEST_MS) for s, v in values.items() if len(v)}
    if not values:
        return ""
    low, high = min(v.min() for v in values.values()), max(v.max() for v in values.values())
    if period_ms:
        low, high = min(low, period_ms), max(high, period_ms)
    edges = np.geomspace(0.9 * low, 1.1 * high, 61)
    with drawing(10.4, 0.75 + 0.55 * len(values), len(values), sharex=True) as (figure, axes):
        for axis, (stage, ms) in zip(axes, values.items(), strict=True):
            counts, _ = np.histogram(ms, edges)
            axis.stairs(counts / counts.max(), edges, fill=True, color=color("blue"), alpha=0.75)
            axis.set(yticks=[], ylim=(0, 1.12), xlim=(edges[0], edges[-1]))
            plain_log(axis, "x")
            axis.set_ylabel(stage.replace("_", " "), rotation=0, ha="right", va="center", color=color("ink"))
            axis.spines["left"].set_visible(False)
            if period_ms:
                axis.axvline(period_ms, color=color("red"), lw=1.2, ls=(0, (4, 2)))
        if period_ms:
            axes[0].annotate(f"frame period {period_ms:.0f} ms", (period_ms, 1.0), (4, -2), textcoords="offset points",
                             va="top", fontsize=8.5, color=color("red"), xycoords=("data", "axes fraction"))
        axes[-1].set_xlabel("time [ms]")
        return chart(figure, "time per stage", "How long each stage took in the frames in which it ran; heights are "
                     "scaled to each stage's fullest bar.", wide=True)


def _precision_recall(name: str, curve: Any) -> str:
    if not isinstance(curve, Mapping) or not curve.get("recall"):
        return ""
    recall, precision, p = (np.asarray(curve[k], float) for k in ("recall", "precision", "probability"))
    with drawing(*_SIZE) as (figure, (axis,)):
        axis.plot(np.r_[0.0, recall], np.r_[precision[0], precision], drawstyle="steps-pre", lw=1.6,
                  color=color("blue"))
        # Thresholds that accept the same poses share one mark.
        marks = {int((p >= limit).sum()) - 1: limit for limit in (0.9, 0.5)}
        for row, (at, limit) in enumerate(marks.items()):
            if at >= 0:
                axis.plot(recall[at], precision[at], "o", ms=5, color=color("orange"))
                axis.annotate(f"p ≥ {limit:g}", (recall[at], precision[at]), (-6, -14 - 12 * row), ha="right",
                              textcoords="offset points", fontsize=8.5, color=color("orange"))
        axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.03))
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        _percent(axis)
        ap = value_at(curve, "ap")
        area = f" Area {ap:.3f}." if isinstance(ap, float) and np.isfinite(ap) else ""
        return chart(figure, f"{name} precision over recall", "If only poses of at least a probability were accepted: "
                     f"how many are right, and how many of the frames due are answered.{area}")


def _reliability(name: str, calibration: Any) -> str:
    bins = calibration.get("bins") if isinstance(calibration, Mapping) else None
    if not bins:
        return ""
    p, right, n = (np.array([b[k] for b in bins], float) for k in ("p", "right", "n"))
    with drawing(_SIZE[0], _SIZE[1] + 0.3, 2, sharex=True, height_ratios=[3, 1]) as (figure, (axis, below)):
        axis.plot([0, 1], [0, 1], color=color("muted"), lw=1, ls=(0, (4, 3)), label="honest")
        axis.plot(p, right, "o-", ms=5, lw=1.4, color=color("blue"), label="observed")
        axis.set_ylabel("right poses")
        _percent(axis)
        axis.legend(loc="lower right")
        below.bar(p, n, width=0.06, color=color("blue"), alpha=0.6)
        for x, count in zip(p, n, strict=True):
            below.annotate(f"{count:.0f}", (x, count), (0, 1), textcoords="offset points", ha="center", va="bottom",
                           fontsize=8)
        below.set(xlabel="stated probability", ylabel="poses", yscale="log", xlim=(-0.04, 1.06),
                  ylim=(0.5, 6 * n.max()), yticks=[])
        below.minorticks_off()
        return chart(figure, f"{name} reliability", "Does the stated probability hold? Points below the dashed line "
                     "promise too much. Bars: poses in each bin.")


def _nees(name: str, nees: Any) -> str:
    histogram = nees.get("histogram") if isinstance(nees, Mapping) else None
    if not isinstance(histogram, Mapping) or not sum(histogram["n"]):
        return ""
    edges, n = np.asarray(histogram["edges"], float), np.asarray(histogram["n"], float)
    beyond = n.sum() - n[:len(edges) - 1].sum()
    width = np.diff(edges)
    with drawing(*_SIZE) as (figure, (axis,)):
        axis.stairs(n[:len(width)] / n.sum() / width, edges, fill=True, color=color("blue"), alpha=0.55,
                    label="observed")
        x = np.linspace(edges[0], edges[-1], _STEPS)
        axis.plot(x, chi2.pdf(x, 6), color=color("orange"), lw=1.6, label="honest: chi-square(6)")
        axis.set(xlabel="squared error in units of the stated covariance", ylabel="density", yticks=[],
                 xlim=(edges[0], edges[-1]))
        axis.legend(loc="upper right")
        return chart(figure, f"{name} NEES", f"Does the stated covariance hold? {round(beyond)} of {round(n.sum())} "
                     f"poses lie beyond {edges[-1]:g}. Mass on the right: overconfident; on the left: too careful.")


def _percent(axis: Axes) -> None:
    axis.set_ylim(-0.03, 1.05)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
