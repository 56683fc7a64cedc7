"""Two runs side by side: is the difference of their figures more than chance? Paired block bootstrap over frames."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.errors import DatasetError, InputError
from storm_core.metrics.bootstrap import LEVEL, RESAMPLES, Resamples, block_resamples, interval
from storm_core.report.frame_table import FrameTable, read_frame_table
from storm_core.report.main_figures import MAIN_FIGURES, FrameRows, MainFigure, figure_samples, figure_value

ALL = "all objects"
ROUNDING = 1e-5
"""Files of poses are rounded; a smaller difference of any figure is that of the files."""
BETTER, WORSE, SAME, UNKNOWN = "better", "worse", "not distinguishable", "not measured"


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """One run read back from its folder. sha256: of its input."""

    path: Path
    sha256: str
    command: str
    version: str
    table: FrameTable


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure of one object in two runs.

    Attributes:
      a, b: the figure in each run, nan where it cannot be measured. low, high: 95 % interval of b - a, nan if unknown.
      verdict: on b, seen from a: better, worse, not distinguishable, not measured.
    """

    object_name: str
    figure: str
    a: float
    b: float
    low: float
    high: float
    verdict: str


def read_run(folder: Path) -> Run:
    """A results folder of `storm replay`, `storm demo` or `storm evaluate tracking --out`.

    Raises:
      DatasetError: results.json or errors.csv is missing or damaged.
    """
    file = folder / "results.json"
    try:
        results = json.loads(file.read_text())
        sha256, command, version = results["input"]["sha256"], results["command"], results["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder} is no results folder of storm replay: cannot read {file.name} "
                           f"({error})") from error
    return Run(path=folder, sha256=str(sha256), command=str(command), version=str(version),
               table=read_frame_table(folder / "errors.csv"))


def compare_runs(a: Run, b: Run, *, seed: int, resamples: int = RESAMPLES,
                 different_inputs: bool = False) -> list[Difference]:
    """Differences of the main figures, per object and over all objects where there are several.

    Runs of one input are paired: both figures are taken over the same drawn frames, so that what is hard for both
    cancels out. Runs of different inputs are drawn independently.

    Raises:
      InputError: different inputs that were not asked for, different frames, or no object in common.
    """
    if a.sha256 != b.sha256 and not different_inputs:
        raise InputError(f"{a.path} and {b.path} were made from different inputs ({a.sha256[:12]} and "
                         f"{b.sha256[:12]}); pass --different-inputs to compare them all the same, without pairing")
    names = [name for name in a.table.rows if name in b.table.rows]
    if not names:
        raise InputError(f"{a.path} has {', '.join(a.table.rows)} and {b.path} has {', '.join(b.table.rows)}: "
                         "no object in common")
    paired = a.sha256 == b.sha256
    if paired and a.table.ids != b.table.ids:
        raise InputError(f"{a.path} has {len(a.table.ids)} frames and {b.path} {len(b.table.ids)}, or others, of the "
                         "same input; run both with the same --max-frames and --scene")
    drawn_a = block_resamples(len(a.table.ids), seed=seed, resamples=resamples)
    drawn_b = drawn_a if paired else block_resamples(len(b.table.ids), seed=seed + 1, resamples=resamples)
    groups = [(name, [name]) for name in names] + ([(ALL, names)] if len(names) > 1 else [])
    return [_difference(label, figure, [a.table.rows[n] for n in group], [b.table.rows[n] for n in group],
                        drawn_a, drawn_b) for label, group in groups for figure in MAIN_FIGURES]


def comparison(runs: Sequence[Run], *, seed: int, resamples: int = RESAMPLES,
               different_inputs: bool = False) -> dict[str, Any]:
    """`comparison` of the JSON output: every run against the first."""
    base = runs[0]
    return {"baseline": str(base.path), "seed": seed, "resamples": resamples, "level": LEVEL,
            "method": "circular block bootstrap over frames, blocks as long as the square root of their number",
            "runs": [{"path": str(run.path), "sha256": run.sha256, "paired": run.sha256 == base.sha256,
                      "differences": [{"object": d.object_name, "figure": d.figure, "a": d.a, "b": d.b,
                                       "difference": d.b - d.a, "ci95": None if np.isnan(d.low) else [d.low, d.high],
                                       "verdict": d.verdict}
                                      for d in compare_runs(base, run, seed=seed, resamples=resamples,
                                                            different_inputs=different_inputs)]}
                     for run in runs[1:]]}


def _difference(label: str, figure: MainFigure, a: Sequence[FrameRows], b: Sequence[FrameRows], drawn_a: Resamples,
                drawn_b: Resamples) -> Difference:
    value_a, value_b = figure_value(figure, a), figure_value(figure, b)
    bounds = None
    if np.isfinite(value_a) and np.isfinite(value_b):
        with np.errstate(invalid="ignore"):  # inf - inf: a median in a resample without poses
            bounds = interval(figure_samples(figure, b, drawn_b) - figure_samples(figure, a, drawn_a))
    low, high = bounds or (float("nan"), float("nan"))
    return Difference(object_name=label, figure=figure.name, a=value_a, b=value_b, low=low, high=high,
                      verdict=_verdict(figure, value_a, value_b, low, high))


def _verdict(figure: MainFigure, a: float, b: float, low: float, high: float) -> str:
    if np.isnan(a) or np.isnan(b):
        return UNKNOWN
    if np.isnan(low):  # a median without poses in most frames: inf loses against any number, and equals itself
        return SAME if a == b or np.isfinite(a) == np.isfinite(b) else (BETTER if (b > a) == figure.higher else WORSE)
    if low <= 0 <= high or abs(b - a) < ROUNDING:
        return SAME
    return BETTER if (low > 0) == figure.higher else WORSE
