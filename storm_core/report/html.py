"""A report of one run as a single HTML file: figures, plots, key frames, and every state change with its reason."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as PillowImage

from storm_core.recovery.machine import State
from storm_core.report.evaluate import ObjectErrors, object_items
from storm_core.types import StepOutput

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1080px;padding:0 1rem;color:#1d2430}
h1{font-size:1.5rem} h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #d8dde5}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #eceff3}
th{font-weight:600} td:first-child,th:first-child{text-align:left} img{max-width:100%;border-radius:4px}
.bad{color:#b3261e} code{background:#f2f4f7;padding:.1rem .3rem;border-radius:3px}
"""
_STATE_COLORS = {"TRACKING": "#2e9e5b", "SUSPECT": "#e6a020", "VERIFYING": "#6aa5e8", "REGISTERING": "#4f7fc4",
                 "SEARCHING": "#9aa7b8", "LOST": "#c7362c", "ABSENT": "#d9dee5", "DISABLED": "#555"}


def html_report(results: Mapping[str, Any], outputs: Sequence[StepOutput], errors: Mapping[str, ObjectErrors],
                key_frames: Sequence[tuple[str, NDArray[np.uint8]]]) -> str:
    """The page.

    Args:
      errors: per object, {} without ground truth.
      key_frames: (caption, RGB image), shown in this order.
    """
    names = [o.object_name for o in outputs[0].objects] if outputs else []
    parts = [f"<h1>STORM {html.escape(str(results['command']))}: {html.escape(str(results['input']['path']))}</h1>",
             _facts(results), "<h2>Figures</h2>", _figures_table(results.get("objects", {})),
             "<h2>Time per stage [ms]</h2>", _stage_table(results.get("stages_ms", {}))]
    for name in names:
        parts.append(f"<h2>Object {html.escape(name)}</h2>")
        parts.append(_picture(_plot(name, outputs, errors.get(name)), f"time course of {name}"))
    if key_frames:
        parts.append("<h2>Key frames</h2>")
        parts += [f"<figure>{_jpeg(image, caption)}<figcaption>{html.escape(caption)}</figcaption></figure>"
                  for caption, image in key_frames]
    parts += ["<h2>State changes</h2>", _transitions_table(outputs)]
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>STORM report</title><style>{_STYLE}</style>"
            f"<body>{''.join(parts)}</body></html>\n")


def _facts(results: Mapping[str, Any]) -> str:
    source, machine = results["input"], results["machine"]
    return (f"<p>{source['frames']} frames, input <code>{html.escape(source['sha256'][:12])}</code>, STORM "
            f"{html.escape(results['version'])}, seed {results['seed']}; {html.escape(str(machine['cpu']))}, "
            f"{machine['cores']} cores, GPU {html.escape(str(machine['gpu'] or 'none'))}.</p>")


def _figures_table(objects: Mapping[str, Mapping[str, Any]]) -> str:
    rows: dict[str, list[str]] = {}
    for figures in objects.values():
        rows |= {key: [] for key, _ in _flat(figures)}
    for key in rows:
        rows[key] = [_number(dict(_flat(figures)).get(key)) for figures in objects.values()]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in objects)
    body = "".join(f"<tr><td>{key}</td>{''.join(f'<td>{v}</td>' for v in values)}</tr>" for key, values in rows.items())
    return f"<table><tr><th></th>{head}</tr>{body}</table>"


def _stage_table(stages: Mapping[str, Mapping[str, float]]) -> str:
    columns = ("p50", "p95", "p99", "n")
    body = "".join(f"<tr><td>{stage}</td>{''.join(f'<td>{_number(q.get(c))}</td>' for c in columns)}</tr>"
                   for stage, q in stages.items())
    return f"<table><tr><th></th><th>p50</th><th>p95</th><th>p99</th><th>n</th></tr>{body}</table>"


def _transitions_table(outputs: Sequence[StepOutput]) -> str:
    start = outputs[0].stamp_ns if outputs else 0
    body = "".join(
        f"<tr class={'bad' if t.after == State.LOST.value else 'ok'}><td>{html.escape(t.object_name)}</td><td>{k}</td>"
        f"<td>{(t.stamp_ns - start) * 1e-9:.2f}</td><td>{t.before} → {t.after}</td><td>{t.reason.value}</td></tr>"
        for k, output in enumerate(outputs) for t in output.transitions)
    return ("<table><tr><th>object</th><th>frame</th><th>time [s]</th><th>change</th><th>reason</th></tr>"
            f"{body or '<tr><td>none</td></tr>'}</table>")


def _plot(name: str, outputs: Sequence[StepOutput], errors: ObjectErrors | None) -> Figure:
    """State timeline, error, probability and latency of one object over time."""
    items = object_items(outputs, name)
    stamps = np.array([o.stamp_ns for o in outputs], np.int64)
    time_s = (stamps - stamps[0]) * 1e-9
    heights = ([2.2] if errors is not None else []) + [1.6, 1.6]
    figure = Figure(figsize=(10.5, 1.0 + sum(heights) * 1.15), layout="constrained", dpi=100)
    axes = list(figure.subplots(1 + len(heights), 1, sharex=True, height_ratios=[0.7, *heights]))
    _timeline(axes[0], time_s, [i.state for i in items])
    row = 1
    if errors is not None:
        _error_plot(axes[row], time_s, errors)
        row += 1
    axes[row].plot(time_s, [i.probability for i in items], ".-", ms=3, lw=0.8, color="#355c9a")
    axes[row].set(ylim=(-0.03, 1.03), ylabel="probability")
    stage = "end_to_end" if any("end_to_end" in o.stage_ms for o in outputs) else "total"
    axes[row + 1].plot(time_s, [o.stage_ms.get(stage, np.nan) for o in outputs], ".-", ms=3, lw=0.8, color="#5b6577")
    axes[row + 1].set(yscale="log", ylabel=f"{stage} [ms]", xlabel="time [s]")
    for axis in axes[1:]:
        axis.grid(True, lw=0.3)
    return figure


def _timeline(axis: Axes, time_s: NDArray[np.float64], states: Sequence[str]) -> None:
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0
    for state in dict.fromkeys(states):
        at = [(float(t), step) for t, s in zip(time_s, states, strict=True) if s == state]
        axis.broken_barh(at, (0, 1), color=_STATE_COLORS.get(state, "#000"), label=state)
    axis.set(yticks=[], ylabel="state")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=8, fontsize=8, frameon=False)


def _error_plot(axis: Axes, time_s: NDArray[np.float64], errors: ObjectErrors) -> None:
    for values, label, color in ((errors.mssd_m, "MSSD", "#c2571a"), (errors.add_m, "ADD", "#7a4fb5"),
                                 (errors.adds_m, "ADD-S", "#2a7f86")):
        shown = np.where(np.isfinite(values), 1e3 * values, np.nan)
        axis.plot(time_s, shown, ".-", ms=3, lw=0.8, label=label, color=color)
    unclear = ~errors.accurate
    if unclear.any():
        axis.fill_between(time_s, 0, 1, where=unclear, step="mid", transform=axis.get_xaxis_transform(), color="#888",
                          alpha=0.15, lw=0, label="not visible or truth too coarse")
    axis.set(yscale="log", ylabel="error [mm]")
    axis.legend(fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 1.0), frameon=False)


def _picture(figure: Figure, alt: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _jpeg(image: NDArray[np.uint8], alt: str) -> str:
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "JPEG", quality=85)
    return f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _flat(figures: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in figures.items():
        if isinstance(value, Mapping):
            out += _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, (list, tuple)):
            out.append((prefix + key, value))
    return out


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if np.isfinite(value) else "–"
    return html.escape(str(value))
