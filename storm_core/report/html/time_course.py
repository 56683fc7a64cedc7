"""One object over time: states, errors, visibility, probability, latency."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from storm_core.report.frame_errors import ObjectErrors
from storm_core.report.html.chart import chart, color, drawing, extremes, plain_log, runs
from storm_core.report.html.theme import STATES
from storm_core.report.series import ObjectSeries

_MARKED = 400
"""Up to so many drawn points each gets a dot."""


def time_course(name: str, series: ObjectSeries, states: Sequence[str], latency_ms: NDArray[np.float64],
                errors: ObjectErrors | None) -> str:
    """The chart of one object with its legend.

    Args:
      states, latency_ms: one per frame; nan latency where nothing was measured.
    """
    time_s = (series.stamps_ns - series.stamps_ns[0]) * 1e-9
    labels = [s.lower() if s.lower() in STATES else "unknown" for s in states]
    heights = [0.32, *([2.3] if errors is not None else []), 1.35, 1.0]
    with drawing(10.4, 0.7 + 1.1 * sum(heights), len(heights), sharex=True, height_ratios=heights) as (figure, axes):
        for axis in axes[1:]:
            _background(axis, time_s, labels, 0.16)
        _answers(axes[0], time_s, series)
        if errors is not None:
            _errors(axes[1], time_s, errors, series)
        _shares(axes[-2], time_s, series, errors)
        _latency(axes[-1], time_s, latency_ms)
        axes[-1].set(xlabel="time [s]", xlim=(time_s[0], time_s[-1] + _period(time_s)))
        figure.align_ylabels(axes)
        caption = "Background: state. Bar on top: what was published. " + (
            "Errors are those of trusted poses; a gap is a frame without one or without truth." if errors is not None
            else "There is no ground truth to measure errors against.")
        return _legend([s for s in STATES if s in labels]) + chart(figure, f"{name} over time", caption, wide=True)


def _legend(states: Sequence[str]) -> str:
    marks = [(f"var(--{s})", s.upper()) for s in states]
    marks += [("var(--good)", "bar: trusted pose"), ("var(--suspect)", "bar: coasting pose (a prediction)")]
    return '<div class="legend">' + "".join(
        f'<span><i style="background:{shade}"></i>{text}</span>' for shade, text in marks) + "</div>"


def _period(time_s: NDArray[np.float64]) -> float:
    return float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0


def _spans(time_s: NDArray[np.float64], labels: list[str], wanted: str) -> list[tuple[float, float]]:
    """(start, length) of the stretches with one label [s]; each frame lasts until the next."""
    ends = np.append(time_s, time_s[-1] + _period(time_s))
    return [(float(time_s[a]), float(ends[b] - time_s[a])) for a, b, label in runs(labels) if label == wanted]


def _background(axis: Axes, time_s: NDArray[np.float64], labels: list[str], alpha: float) -> None:
    for state in dict.fromkeys(labels):
        axis.broken_barh(_spans(time_s, labels, state), (0, 1), transform=axis.get_xaxis_transform(), lw=0,
                         color=color(state), alpha=alpha, zorder=0)


def _answers(axis: Axes, time_s: NDArray[np.float64], series: ObjectSeries) -> None:
    labels = np.where(series.trusted, "good", np.where(series.coasting, "suspect", "")).tolist()
    for shade in ("good", "suspect"):
        axis.broken_barh(_spans(time_s, labels, shade), (0.1, 0.8), color=color(shade), lw=0)
    axis.set(yticks=[], ylim=(0, 1))
    axis.set_ylabel("pose", rotation=0, ha="right", va="center")
    axis.grid(False)
    axis.spines[:].set_visible(False)


def _errors(axis: Axes, time_s: NDArray[np.float64], errors: ObjectErrors, series: ObjectSeries) -> None:
    for values, label, shade in ((errors.mssd_m, "MSSD", "orange"), (errors.add_m, "ADD", "purple"),
                                 (errors.adds_m, "ADD-S", "teal")):
        _line(axis, time_s, np.where(np.isfinite(values), np.maximum(1e3 * values, 1e-3), np.nan), shade, label)
    if np.isfinite(errors.mssd_m).any():
        plain_log(axis, "y")
    unclear = ~errors.accurate
    if unclear.any():
        axis.fill_between(time_s, 0, 1, where=unclear, step="post", transform=axis.get_xaxis_transform(), lw=0,
                          facecolor="none", edgecolor=color("absent"), hatch="////",
                          label="not judged: hidden, or truth too coarse")
    if series.coasting.any():
        at = time_s[series.coasting]
        axis.plot(at, np.full(len(at), 0.02), "|", ms=5, mew=1, color=color("warn"), label="coasting",
                  transform=axis.get_xaxis_transform())
    axis.set_ylabel("error [mm]")
    axis.legend(fontsize=8.5, ncols=5, loc="lower right", bbox_to_anchor=(1, 0.98), borderpad=0.1)


def _shares(axis: Axes, time_s: NDArray[np.float64], series: ObjectSeries, errors: ObjectErrors | None) -> None:
    if errors is not None:
        axis.fill_between(time_s, 0, np.nan_to_num(errors.visible_share), step="post", color=color("muted"), alpha=0.28,
                          lw=0, label="visible share")
    _line(axis, time_s, np.where(series.answered, series.probability, np.nan), "blue", "probability")
    axis.set(ylim=(-0.04, 1.06), yticks=[0, 0.5, 1], ylabel="share")
    axis.legend(fontsize=8.5, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.96), borderpad=0.1)


def _latency(axis: Axes, time_s: NDArray[np.float64], latency_ms: NDArray[np.float64]) -> None:
    _line(axis, time_s, latency_ms, "blue", "")
    axis.set(ylabel="latency [ms]")
    if np.isfinite(latency_ms).any():
        plain_log(axis, "y")


def _line(axis: Axes, time_s: NDArray[np.float64], values: NDArray[np.float64], shade: str, label: str) -> None:
    kept = extremes(values)
    dotted = len(kept) <= _MARKED
    axis.plot(time_s[kept], values[kept], marker="o" if dotted else "", ms=2.2, lw=1.1, color=color(shade),
              label=label or None)
    if not dotted:
        # A line needs two neighbours; single values would vanish without a dot.
        alone = np.isfinite(values) & np.isnan(np.r_[np.nan, values[:-1]]) & np.isnan(np.r_[values[1:], np.nan])
        axis.plot(time_s[alone], values[alone], "o", ms=2.2, color=color(shade))
