"""Long sequences for the terminal: one row per frame stride, then one per stratum of difficulty."""

from collections.abc import Mapping
from typing import Any

from storm_core.cli.columns import aligned, cell

COLUMNS = {"scenes": "scenes", "frames": "frames", "add_auc": "ADD AUC", "adds_auc": "ADD-S AUC",
           "add_01d": "ADD<0.1d", "published_01d": "published<0.1d", "coverage": "coverage",
           "confidently_wrong": "wrong", "inside_95": "in 95 %", "coasting_inside_95": "coasting in 95 %"}
"""Figure -> head of its column."""


def sequence_tables(sequences: Mapping[str, Any]) -> str:
    """Figures by stride over all scenes, and of the first stride by stratum.

    Args:
      sequences: stride -> figures, as in results.json.
    """
    heads = (*COLUMNS.values(), "flips", "turned")
    lines = [aligned([("stride", *heads), *((n, *_row(found["all"])) for n, found in sequences.items())])]
    lines += [f"95 % intervals, stride {n}: " + ", ".join(
        f"{head} {bounds[0]:.3f}-{bounds[1]:.3f}" for key, head in COLUMNS.items()
        if (bounds := found["all"]["ci95"].get(key))) for n, found in sequences.items() if found["all"]["ci95"]]
    stride, first = next(iter(sequences.items()))
    if "strata" in first:
        lines += ["", aligned([(f"stratum, stride {stride}", *heads),
                               *((name, *_row(figures)) for name, figures in first["strata"].items())])]
    return "\n".join(lines)


def _row(figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (*(str(figures[key]) if isinstance(figures[key], int) else cell(figures[key]) for key in COLUMNS),
            str(figures["flips"]["symmetric"]), str(figures["flips"]["turned"]))
