"""errors.csv: one row per frame and object, so that every figure can be checked with a spreadsheet or pandas."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storm_core.errors import DatasetError
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.latency import frame_latencies
from storm_core.report.evaluate import Assessment
from storm_core.report.main_figures import FrameRows
from storm_core.report.series import object_items
from storm_core.types import StepOutput

COLUMNS = ("frame", "scene_id", "im_id", "stamp_ns", "object", "state", "trusted", "coasting", "visible", "accurate",
           "judged", "visible_share", "add_m", "adds_m", "mssd_m", "published_mssd_m", "probability", "latency_ms",
           "diameter_m")
"""Lengths in m; 1 = yes, 0 = no; empty = not known; inf = no trusted pose (add_m, adds_m, mssd_m: of trusted poses)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameTable:
    """errors.csv read back. ids: (scene_id, im_id) of each frame. rows: object name -> its rows, one per frame."""

    ids: tuple[tuple[int, int], ...]
    rows: Mapping[str, FrameRows]


def write_frame_table(file: Path, ids: Sequence[tuple[int, int]], outputs: Sequence[StepOutput],
                      assessed: Mapping[str, Assessment], models: Mapping[str, ObjectModel]) -> None:
    """Write errors.csv; numbers with the digits that reproduce them."""
    _, latency_ms = frame_latencies([o.stage_ms for o in outputs])
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, a in assessed.items():
            states = [i.state for i in object_items(outputs, name)]
            e = a.errors
            for k, (scene_id, im_id) in enumerate(ids):
                known = ("",) * 8 if e is None or a.match is None else (
                    int(e.visible[k]), int(e.accurate[k]), int(e.judged[k]), _number(e.visible_share[k]),
                    _number(e.add_m[k]), _number(e.adds_m[k]), _number(e.mssd_m[k]), _number(a.match.mssd_m[k]))
                writer.writerow((k, scene_id, im_id, int(a.series.stamps_ns[k]), name, states[k],
                                 int(a.series.trusted[k]), int(a.series.coasting[k]), *known,
                                 _number(a.series.probability[k]), _number(latency_ms[k]),
                                 _number(models[name].diameter)))


def read_frame_table(file: Path) -> FrameTable:
    """The table of `write_frame_table`.

    Raises:
      DatasetError: missing or malformed (names the line), without ground truth, or frames that differ by object.
    """
    found: dict[str, list[dict[str, str]]] = {}
    try:
        with file.open(newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(f"{file} has no column {missing[0]}; it was not written by storm replay or evaluate")
            for row in reader:
                if None in row.values():
                    raise DatasetError(f"{file} line {reader.line_num} is cut off; make the run again")
                found.setdefault(row["object"], []).append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot read per-frame errors {file}: {error}; make the run again with this version of "
                           "storm replay or storm evaluate tracking --out") from error
    if not found:
        raise DatasetError(f"{file} has no rows; was the run empty?")
    measured = {name: rows for name, rows in found.items() if rows[0]["visible"]}
    if not measured:
        raise DatasetError(f"{file} holds no errors: the run had no ground truth, so there is nothing to compare")
    try:
        ids = {name: tuple((int(r["scene_id"]), int(r["im_id"])) for r in rows) for name, rows in measured.items()}
        table = FrameTable(ids=next(iter(ids.values())), rows={name: _rows(rows) for name, rows in measured.items()})
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{file} has a damaged row: {error}") from error
    for name, frames in ids.items():
        if frames != table.ids:
            raise DatasetError(f"{file}: {name} and {next(iter(ids))} have different frames")
    return table


def _rows(rows: Sequence[Mapping[str, str]]) -> FrameRows:
    def flags(key: str) -> np.ndarray:
        return np.array([bool(int(r[key])) for r in rows], bool)

    def numbers(key: str) -> np.ndarray:
        return np.array([float(r[key]) if r[key] else np.nan for r in rows], float)

    return FrameRows(trusted=flags("trusted"), visible=flags("visible"), accurate=flags("accurate"),
                     judged=flags("judged"), add_m=numbers("add_m"), adds_m=numbers("adds_m"),
                     mssd_m=numbers("mssd_m"), latency_ms=numbers("latency_ms"),
                     diameter_m=float(rows[0]["diameter_m"]))


def _number(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))
