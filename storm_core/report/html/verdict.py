"""The run in one sentence per object, and what makes it suspicious."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from storm_core.report.frame_errors import ObjectErrors
from storm_core.report.html import markup
from storm_core.report.html.catalogue import value_at

LITTLE_COVERAGE = 0.9
"""A verdict below this coverage, recall or accuracy is marked as a warning."""
_TILES = (("coverage", "share", "", "of visible frames tracked"),
          ("confidently_wrong", "share", "", "of trusted poses wrong"),
          ("add_auc", "ratio", "", "ADD AUC"), ("adds_auc", "ratio", "", "ADD-S AUC"),
          ("first_pose_s", "number", " s", "to the first pose"))
"""(key, kind, unit, text) of one object's figures."""


def verdict_lines(results: Mapping[str, Any], errors: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(tone, sentence) of each object and of the whole; tone: good, warn, bad, none (nothing to judge by)."""
    lines = []
    for name, figures in results.get("objects", {}).items():
        if not figures:
            lines.append(("none", f"{name}: nothing to judge it by."))
        elif "trusted_share" in figures:
            lines.append(_tracked(name, figures, errors.get(name)))
        elif "mssd_01d" in figures:
            lines.append(_single(name, figures))
    masks = results.get("masks")
    if isinstance(masks, Mapping) and masks.get("iou_mean") is not None:
        over = f" over {masks['n']} annotated objects" if "n" in masks else ""
        lines.append((_tone(masks["iou_mean"], 0.5), f"Masks: mean IoU {masks['iou_mean']:.2f}{over}."))
    for key, title in (("bop19", "BOP19 AR"), ("bop24", "BOP24 AP")):
        value = value_at(results, f"{key}.{'ar' if key == 'bop19' else 'ap'}")
        if value is not None:
            lines.append((_tone(value, 0.5), f"{title} over all objects: {value:.3f}."))
    return lines


def findings(results: Mapping[str, Any], level: str) -> list[str]:
    """What `suspicion` holds of one level (`warning` or `note`), in words."""
    out = []
    for found in results.get("suspicion") or ():
        if found.get("level", "warning") == level:
            who = f"{found['object']}: " if found.get("object") else ""
            count = f" ({found['frames']} frames)" if found.get("frames") else ""
            out.append(f"{str(found['finding']).replace('_', ' ')}: {who}{found.get('detail', '')}{count}")
    return out


def tiles(results: Mapping[str, Any]) -> str:
    """The few figures a reader looks for first, large; of a single object, as several make a crowd."""
    objects = results.get("objects", {})
    figures = next(iter(objects.values())) if len(objects) == 1 else {}
    shown = [(markup.number(figures[key], kind) + unit, text) for key, kind, unit, text in _TILES if key in figures]
    for key, text in (("latency.p95", "latency, 95 % below"), ("stages_ms.total.p95", "per picture, 95 % below")):
        latency = value_at(results, key)
        if latency is not None:
            shown.append((f"{markup.number(latency)} ms", text))
            break
    cells = "".join(f'<div class="tile"><b>{value}</b><span>{text}</span></div>' for value, text in shown)
    return f'<div class="tiles">{cells}</div>' if cells else ""


def _tracked(name: str, figures: Mapping[str, Any], errors: ObjectErrors | None) -> tuple[str, str]:
    first = figures.get("first_pose_s")
    if first is None:
        return "bad", f"{name}: never tracked; the state changes below say why."
    found = f"first pose after {markup.number(float(first))} s"
    if "coverage" not in figures:
        share = markup.number(figures["trusted_share"], "share")
        return "none", f"{name}: trusted pose in {share} of all frames, {found}; no ground truth, so nothing is said " \
                       "about accuracy."
    covered, wrong_share = figures["coverage"], figures["confidently_wrong"]
    parts = ["never in view" if np.isnan(covered) else
             f"tracked in {markup.number(covered, 'share')} of visible frames", _wrong(wrong_share, errors), found]
    recovery = figures.get("recovery", {})
    returns = recovery.get("recovered", 0) + recovery.get("missed", 0) + recovery.get("wrong_object", 0)
    if returns:
        parts.append(f"found again {recovery['recovered']} of {returns} times")
    hidden = recovery.get("trusted_while_hidden", 0)
    if hidden:
        parts.append(f"trusted in {hidden} frames in which it cannot be seen")
    bad = (wrong_share or 0) > 0 or hidden or recovery.get("missed") or recovery.get("wrong_object")
    return "bad" if bad else _tone(covered, LITTLE_COVERAGE), f"{name}: {', '.join(parts)}."


def _wrong(share: float | None, errors: ObjectErrors | None) -> str:
    if errors is None:
        return f"{markup.number(share, 'share')} of trusted poses wrong"
    judged = int((errors.trusted & errors.judged).sum())
    return f"{round((share or 0.0) * judged)} of {judged} trusted poses wrong" if judged else "no trusted pose judged"


def _single(name: str, figures: Mapping[str, Any]) -> tuple[str, str]:
    right = figures["mssd_01d"]
    of = figures.get("targets", figures.get("images"))
    count = f" of {of} targets" if of is not None else ""
    parts = [f"{markup.number(right, 'share')}{count} right (MSSD below 0.1 diameter)"]
    if of is not None and figures.get("predicted", of) < of:
        parts.append(f"{of - figures['predicted']} without an estimate")
    parts.append(f"ADD AUC {figures['add_auc']:.3f}, ADD-S AUC {figures['adds_auc']:.3f}")
    return _tone(right, LITTLE_COVERAGE), f"{name}: {', '.join(parts)}."


def _tone(value: float, enough: float) -> str:
    return "good" if value >= enough else "warn"
