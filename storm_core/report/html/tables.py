"""Figures as tables: grouped by meaning, with units and confidence intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from storm_core.recovery.machine import State
from storm_core.report.html import markup
from storm_core.report.html.catalogue import GROUPS, Entry, further, has, interval, value_at
from storm_core.types import StepOutput

WIDEST = 4
"""With more objects than this, they become the rows."""
SHOWN_CHANGES = 40
_BAD = {"confidently_wrong", "recovery.missed", "recovery.wrong_object", "recovery.trusted_while_hidden"}
_MASKS = ("ap_bop", "ap_storm", "iou_mean")


def figure_tables(results: Mapping[str, Any]) -> str:
    """One table per group of figures that the results hold."""
    columns = {name: figures for name, figures in results.get("objects", {}).items() if figures}
    masks = results.get("masks") or {}
    whole = {**(results.get("mean") or {}), **{key: masks[key] for key in _MASKS if key in masks},
             **{key: results[key] for key in ("bop19", "bop24") if results.get(key) is not None}}
    if whole and (len(columns) != 1 or any(key not in figures for figures in columns.values() for key in whole)):
        columns["all objects"] = whole
    groups = {title: entries for title, entries in GROUPS.items() if title != "Time"}
    unknown = {entry.key: entry for figures in columns.values() for entry in further(figures)}
    groups["Further figures"] = tuple(unknown.values())
    parts = []
    for title, entries in groups.items():
        present = [e for e in entries if any(has(figures, e.key) for figures in columns.values())]
        if present:
            build = _by_figure if len(columns) <= WIDEST else _by_object
            parts.append(f"<div><h3>{title}</h3>{build(present, columns)}</div>")
    if not parts:
        return "<p>There are no figures for any object.</p>"
    note = ""
    if any(figures.get("ci95") for figures in columns.values()):
        note = '<p class="small">Small numbers below a figure: its 95 % confidence interval.</p>'
    kind = "groups" if len(columns) <= 2 else ""
    return f'{note}<div class="{kind}">{"".join(parts)}</div>'


def stratum_table(results: Mapping[str, Any]) -> str:
    """Figures by stratum of difficulty; empty for datasets that declare none."""
    strata = results.get("strata")
    if not strata:
        return ""
    rows = [[markup.escape(stratum), markup.number(f["right"]["scenes"], "count"),
             *(markup.number(f[key]["mean"], "share") for key in ("right", "wrong", "found"))]
            for stratum, f in strata.items()]
    meaning = ("Right: a mask of at least 0.75 IoU where the object is, none where it is not. Wrong: any other mask. "
               "Found: any mask." if "presence" in results else
               "Right: MSSD below 0.1 diameter. Wrong: a pose with more than 0.2. Found: any pose.")
    note = f'<p class="small">Means over scenes. {meaning}</p>'
    return note + markup.table(("stratum", "scenes", "right", "wrong", "found"), rows, "figures")


_SEQUENCES = {"add_auc": "ADD AUC", "adds_auc": "ADD-S AUC", "add_01d": "right, trusted",
              "published_01d": "right, published", "coverage": "coverage", "confidently_wrong": "confidently wrong",
              "inside_95": "in 95 % ellipsoid", "coasting_inside_95": "coasting in 95 %"}


def sequence_table(results: Mapping[str, Any]) -> str:
    """Figures over all frames of all scenes, by frame stride and by stratum; empty for other runs."""
    found = results.get("sequences")
    if not found:
        return ""
    tables = {"stride": {n: of_one["all"] for n, of_one in found.items()}}
    tables |= {f"{what}, stride {n}": of_one[key] for n, of_one in found.items()
               for key, what in (("strata", "stratum"), ("objects", "object")) if key in of_one}
    note = ('<p class="small">Every frame in which a target is visible counts once; one without a trusted pose is '
            "wrong. Right: ADD below 0.1 diameter, against the nearest equivalent pose of objects with declared "
            "symmetries. Published: coasting poses too. Small numbers: 95 % interval from drawing scenes.</p>")
    return note + "".join(f"<h3>By {markup.escape(head)}</h3>{_sequences(head, rows)}" for head, rows in tables.items())


def _sequences(head: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    cells = [[markup.escape(name), markup.number(f["scenes"], "count"), markup.number(f["frames"], "count"),
              *(markup.number(f[key], "ratio" if key.endswith("auc") else "share")
                + _bounds(f["ci95"].get(key), key) for key in _SEQUENCES),
              markup.number(f["flips"]["symmetric"], "count"), markup.number(f["flips"]["turned"], "count")]
             for name, f in rows.items()]
    return markup.table((head, "scenes", "frames", *_SEQUENCES.values(), "flips", "turns over 90°"), cells, "figures")


def _bounds(bounds: Sequence[float] | None, key: str) -> str:
    kind = "ratio" if key.endswith("auc") else "share"
    return "" if bounds is None else (f'<br><span class="small">{markup.number(bounds[0], kind)} to '
                                      f'{markup.number(bounds[1], kind)}</span>')


def time_table(results: Mapping[str, Any]) -> str:
    """Latency of the run and the time of each stage."""
    run = {key: results[key] for key in ("latency",) if isinstance(results.get(key), Mapping)}
    entries = [*(e for e in GROUPS["Time"] if has(run, e.key)), *further(run)]
    out = f"<div><h3>Latency</h3>{_by_figure(entries, {'whole run': run})}</div>" if entries else ""
    stages = results.get("stages_ms") or {}
    if stages:
        quantiles = ("p50", "p95", "p99")
        rows = [[markup.escape(stage), *(markup.number(q.get(c)) for c in quantiles),
                 markup.number(q.get("n"), "count")] for stage, q in stages.items()]
        head = ("stage", "median", "95 % below", "99 % below", "times run")
        out += f"<div><h3>Time per stage [ms]</h3>{markup.table(head, rows, 'figures')}</div>"
    return f'<div class="groups">{out}</div>' if out else ""


def recovery_events(objects: Mapping[str, Any]) -> str:
    """Each return of an object into view; empty when there was none."""
    rows = []
    for name, figures in objects.items():
        for event in value_at(figures, "recovery.events") or ():
            outcome = '<b class="bad">not found again</b>'
            if event["trusted_at"] is not None:
                outcome = f"trusted in frame {event['trusted_at']}, after {markup.number(event['time_s'])} s"
            rows.append([markup.escape(name), str(event["lost_at"]), str(event["due_at"]), outcome])
    head = ("object", "out of sight from frame", "in view again at frame", "outcome")
    return f"<h3>Returns into view</h3>{markup.table(head, rows, 'words')}" if rows else ""


def changes_table(outputs: Sequence[StepOutput]) -> str:
    """Every change of a state with its reason."""
    start = outputs[0].stamp_ns
    rows = []
    for k, output in enumerate(outputs):
        for t in output.transitions:
            change = f"{markup.escape(t.before)} → {markup.escape(t.after)}"
            rows.append([markup.escape(t.object_name), str(k), f"{(t.stamp_ns - start) * 1e-9:.2f}",
                         f'<b class="bad">{change}</b>' if t.after == State.LOST.value else change,
                         markup.escape(t.reason.value.replace("_", " "))])
    if not rows:
        return "<p>No state changed.</p>"
    content = markup.table(("object", "frame", "time [s]", "change", "reason"), rows, "words")
    return markup.folded(f"{len(rows)} changes", content, unfolded=len(rows) <= SHOWN_CHANGES)


def _by_figure(entries: Sequence[Entry], columns: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for e in entries:
        unit = f" [{e.unit}]" if e.unit else ""
        label = f"{markup.escape(e.label)}{unit}<small>{markup.escape(e.meaning)}</small>"
        rows.append([label, *(_cell(figures, e) for figures in columns.values())])
    return markup.table(("", *(markup.escape(name) for name in columns)), rows, "figures")


def _by_object(entries: Sequence[Entry], columns: Mapping[str, Mapping[str, Any]]) -> str:
    head = ["object", *(f'<span title="{markup.escape(e.meaning)}">{markup.escape(e.label)}'
                        f"{f' [{e.unit}]' if e.unit else ''}</span>" for e in entries)]
    rows = [[markup.escape(name), *(_cell(figures, e) for e in entries)] for name, figures in columns.items()]
    legend = "".join(f"<dt>{markup.escape(e.label)}</dt><dd>{markup.escape(e.meaning)}</dd>" for e in entries)
    return markup.table(head, rows) + markup.folded("What these figures mean", f"<dl>{legend}</dl>")


def _cell(figures: Mapping[str, Any], entry: Entry) -> str:
    if not has(figures, entry.key):
        return ""
    value = value_at(figures, entry.key)
    text = markup.number(value, entry.kind)
    if entry.key in _BAD and value:
        text = f'<b class="bad">{text}</b>'
    span = interval(figures, entry.key)
    if span is not None:
        low, high = (markup.number(v, entry.kind).removesuffix(" %") for v in span)
        text += f'<small title="95 % confidence interval">{low} to {high}</small>'
    return text
