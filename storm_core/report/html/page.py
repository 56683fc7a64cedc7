"""A report as a single HTML file: what came out, how sure it is, where it went wrong, and where it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.latency import frame_latencies
from storm_core.recovery.machine import State
from storm_core.report.frame_errors import ObjectErrors
from storm_core.report.html import markup
from storm_core.report.html.curves import accuracy_chart, latency_chart, trust_charts
from storm_core.report.html.film import VIEWER, film
from storm_core.report.html.origin import origin
from storm_core.report.html.presence import presence
from storm_core.report.html.tables import (
    changes_table,
    figure_tables,
    recovery_events,
    sequence_table,
    stratum_table,
    time_table,
)
from storm_core.report.html.theme import POLICY, SCRIPT, STYLE
from storm_core.report.html.time_course import time_course
from storm_core.report.html.verdict import findings, tiles, verdict_lines
from storm_core.report.pictures import Picture
from storm_core.report.pose_table import JudgedTargets
from storm_core.report.results import to_json
from storm_core.report.series import object_items, object_series
from storm_core.types import StepOutput

Errors = Mapping[str, ObjectErrors | JudgedTargets]
SHOWN_TARGETS = 30
SKIPPED = 10
_SPLITS = ("/", "test", "val", "train")


class _Section(NamedTuple):
    """title: also its entry in the table of contents; "" = not in it."""

    title: str
    content: str
    kind: str = ""


def html_report(results: Mapping[str, Any], outputs: Sequence[StepOutput] = (), errors: Errors | None = None,
                pictures: Sequence[Picture | tuple[str, NDArray[np.uint8]]] = (), config_text: str = "") -> str:
    """The page: a single file that loads nothing from anywhere.

    Args:
      results: content of results.json; every figure in it is shown.
      outputs: what a run published, in order; () for evaluations of single pictures.
      errors: per object, of the run's frames or of single targets; missing without ground truth.
      pictures: shown in this order.
      config_text: the configuration as YAML, as far as there is one.
    """
    errors = errors or {}
    sections = [*_warnings(results), _summary(results, errors)]
    sections += _objects(results, outputs, errors) if outputs else _targets(errors)
    if pictures:
        sections.append(_Section("Worst frames" if outputs else "Pictures",
                                 film([Picture(*p) for p in pictures], colors=bool(outputs))))
    figures = figure_tables(results) + recovery_events(results.get("objects", {}))
    sections += [_Section("Presence", presence(results)), _Section("Sequences", sequence_table(results)),
                 _Section("Figures", figures),
                 _Section("Strata", stratum_table(results)), _time(results, outputs)]
    if outputs:
        sections.append(_Section("State changes", changes_table(outputs)))
    sections.append(_Section("Provenance", origin(results, config_text)))
    dump = markup.escape(to_json(markup.plain_json(results)))
    sections.append(_Section("All values", markup.folded("results.json", f"<pre>{dump}</pre>")))
    return _document(results, [s for s in sections if s.content], viewer=bool(pictures))


def _document(results: Mapping[str, Any], sections: Sequence[_Section], *, viewer: bool) -> str:
    parts = [p for p in PurePath(str(results["input"]["path"])).parts if p not in _SPLITS]
    name = " / ".join(parts[-2:]) or "run"
    title = f"STORM {results['command']}: {name}"
    contents = "".join(f'<a href="#{markup.anchor(s.title)}">{markup.escape(s.title)}</a>' for s in sections if s.title)
    body = "".join(
        f'<section class="{s.kind}"' + (f' id="{markup.anchor(s.title)}"><h2>{markup.escape(s.title)}</h2>'
                                        if s.title else ">") + f"{s.content}</section>" for s in sections)
    return ("<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            '<meta name=viewport content="width=device-width,initial-scale=1"><link rel=icon href="data:,">'
            f"<title>{markup.escape(title)}</title><style>{STYLE}</style></head><body>"
            f"<header><div>{_head(results, name)}</div></header><nav aria-label=contents><div>{contents}</div></nav>"
            f"<main>{body}</main><footer>Made by STORM {markup.escape(results['version'])}. One file, nothing is "
            f"loaded from elsewhere.</footer>{VIEWER if viewer else ''}<script>{SCRIPT}</script></body></html>\n")


def _head(results: Mapping[str, Any], name: str) -> str:
    source = results["input"]
    objects = len(results.get("objects", {}))
    facts = [f"{markup.number(source['frames'], 'count')} frames", f"{objects} object{'s' if objects != 1 else ''}",
             f"input <code>{markup.escape(str(source['sha256'])[:12])}</code>", f"seed {results['seed']}"]
    truth = results.get("truth")
    if truth:
        facts.append(f"ground truth: {markup.escape(truth)}")
    date = results.get("provenance", {}).get("date")
    if date:
        facts.append(markup.escape(str(date).replace("T", " ").replace("+00:00", " UTC")))
    return (f'<p class="kicker">STORM {markup.escape(results["command"])}</p><h1>{markup.escape(name)}</h1>'
            f'<p class="facts">{markup.escape(source["path"])}</p><p class="facts">{" · ".join(facts)}</p>')


def _warnings(results: Mapping[str, Any]) -> list[_Section]:
    out = []
    suspicious, notes = findings(results, "warning"), findings(results, "note")
    if suspicious:
        content = "<p>These figures may not be measurements:</p>" + _list(suspicious)
        out.append(_Section("Suspicious", content, "banner"))
    if "truth" in results and results["truth"] is None:
        notes.append("There is no ground truth: this report says how the run went, not whether its poses are right.")
    skipped = results.get("skipped") or ()
    if skipped:
        shown = [f"scene {s['scene_id']}, image {s['im_id']}: {s['reason']}" for s in skipped[:SKIPPED]]
        more = f", the first {SKIPPED} of them" if len(skipped) > SKIPPED else ""
        notes.append(f"{len(skipped)} pictures could not be used and count as failures{more}: " + "; ".join(shown))
    if notes:
        out.append(_Section("", _list(notes), "note"))
    return out


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{markup.escape(line)}</li>" for line in lines) + "</ul>"


def _summary(results: Mapping[str, Any], errors: Errors) -> _Section:
    lines = "".join(f'<div class="verdict {tone}">{markup.escape(text)}</div>'
                    for tone, text in verdict_lines(results, errors))
    return _Section("Summary", lines + tiles(results))


def _objects(results: Mapping[str, Any], outputs: Sequence[StepOutput], errors: Errors) -> list[_Section]:
    """One section for each object of a run; of long sequences only the scenes that were searched for it."""
    _, latency_ms = frame_latencies([o.stage_ms for o in outputs])
    out = []
    for name, figures in results.get("objects", {}).items():
        known = errors.get(name)
        course = known if isinstance(known, ObjectErrors) else None
        states = np.array([i.state for i in object_items(outputs, name)])
        shown = np.flatnonzero((states != State.DISABLED.value) | ("sequences" not in results))
        here = None if course is None else replace(course, **{
            field.name: getattr(course, field.name)[shown] for field in fields(course)})
        content = time_course(name, object_series([outputs[k] for k in shown], name), states[shown].tolist(),
                              latency_ms[shown], here) if len(shown) else "<p>No scene was searched for it.</p>"
        charts = trust_charts(name, figures)
        if course is not None:
            due = course.accurate
            charts = [accuracy_chart(name, course.add_m[due], course.adds_m[due]), *charts]
        out.append(_Section(f"Object {name}", content + f'<div class="charts">{"".join(charts)}</div>'))
    return out


def _targets(errors: Errors) -> list[_Section]:
    """Accuracy and worst targets of all objects, where there is no time series."""
    cells = [f"<div><h3>Object {markup.escape(name)}</h3>{accuracy_chart(name, known.add_m, known.adds_m)}"
             f"{_worst_targets(known)}</div>" for name, known in errors.items()
             if isinstance(known, JudgedTargets) and known.places]
    return [_Section("Targets", f'<div class="charts">{"".join(cells)}</div>')] if cells else []


def _worst_targets(errors: JudgedTargets) -> str:
    order = np.argsort(-errors.mssd_m, kind="stable")[:SHOWN_TARGETS]
    columns = (1e3 * errors.mssd_m, 1e3 * errors.add_m, 1e3 * errors.adds_m, errors.score)
    rows = [["{}/{}".format(*errors.places[k]), *(markup.number(float(c[k])) for c in columns)] for k in order]
    content = markup.table(("scene/image", "MSSD [mm]", "ADD [mm]", "ADD-S [mm]", "score"), rows)
    return markup.folded(f"The {len(rows)} worst of {len(errors.places)} targets (∞: no estimate)", content)


def _time(results: Mapping[str, Any], outputs: Sequence[StepOutput]) -> _Section:
    period = results.get("latency", {}).get("period_ms") if isinstance(results.get("latency"), Mapping) else None
    if not isinstance(period, float) or not np.isfinite(period):
        period = None
    refused = results.get("refusals") or {}
    content = latency_chart([o.stage_ms for o in outputs], period) + time_table(results)
    if refused:
        rows = [[markup.escape(str(reason).replace("_", " ")), markup.number(n, "count")]
                for reason, n in refused.items()]
        content += "<h3>Why targets got no pose</h3>" + markup.table(("reason", "targets"), rows)
    return _Section("Time", content)
