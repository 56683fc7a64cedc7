"""The short table of a run for the terminal."""

from collections.abc import Mapping
from typing import Any

from storm_core.cli.columns import aligned, cell

_KNOWN = {"trusted_share": "trusted", "add_auc": "ADD AUC", "adds_auc": "ADD-S AUC", "add_01d": "ADD<0.1d",
          "coverage": "coverage", "confidently_wrong": "wrong", "first_pose_s": "first [s]", "recoveries": "recovered"}
_UNKNOWN = {"trusted_share": "trusted", "self_consistency.interruptions": "interrupted",
            "self_consistency.longest_gap_s": "longest gap [s]", "self_consistency.jump_p95_mm": "jump p95 [mm]",
            "self_consistency.rotation_jump_p95_deg": "turn p95 [deg]",
            "self_consistency.static.position_p95_mm": "spread p95 [mm]", "first_pose_s": "first [s]",
            "recoveries": "recovered"}
"""Dotted key of a figure of an object -> head of its column, with and without ground truth."""


def table(results: Mapping[str, Any]) -> str:
    """Figures of each object, times, and what looks suspicious."""
    known = any("add_auc" in figures for figures in results["objects"].values())
    lines = _columns(_KNOWN if known else _UNKNOWN, results["objects"])
    if not known:
        lines.append("no ground truth: these figures only say whether the poses agree with each other, not whether "
                     "they are right")
    return "\n".join([*lines, *_times(results), *_suspicions(results)])


def _columns(keys: Mapping[str, str], objects: Mapping[str, Any]) -> list[str]:
    rows = [[name, *(cell(_find(figures, key)) for key in keys)] for name, figures in objects.items()]
    columns = list(zip(["object", *keys.values()], *rows, strict=True))
    # Nobody asks for the spread in a world unless one was named.
    columns = [c for c in columns if not (c[0].startswith("spread") and set(c[1:]) == {"-"})]
    return [aligned(list(zip(*columns, strict=True)))]


def _times(results: Mapping[str, Any]) -> list[str]:
    lines = []
    total = results["stages_ms"].get("total")
    if total:
        lines.append(f"{total['n']} frames, per frame p50 {total['p50']:.1f} ms, p95 {total['p95']:.1f} ms")
    if "end_to_end" in results["stages_ms"]:
        e = results["stages_ms"]["end_to_end"]
        drops = results.get("latency", {}).get("drops")
        lines.append(f"image stamp to pose: p50 {e['p50']:.1f} ms, p99 {e['p99']:.1f} ms"
                     + (f"; {drops} frames dropped" if drops else ""))
    return lines


def _suspicions(results: Mapping[str, Any]) -> list[str]:
    return [f"{f['level']}: {f['finding']}{' ' + f['object'] if f['object'] else ''}, {f['frames']} frames: "
            f"{f['detail']}" for f in results.get("suspicion", ())]


def _find(figures: Mapping[str, Any], key: str) -> Any:
    value: Any = figures
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
