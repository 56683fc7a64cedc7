"""predictions.jsonl: one line per frame with everything that was published, and back.

How long it took is in timing.jsonl beside it: times differ from run to run, what is published in lock-step does not.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.errors import DatasetError
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput, Transition

PREDICTIONS = "predictions.jsonl"
TIMING = "timing.jsonl"


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What a run published. ids: (scene_id, im_id) of each frame."""

    ids: tuple[tuple[int, int], ...]
    outputs: tuple[StepOutput, ...]


def write_jsonl(file: Path, ids: Sequence[tuple[int, int]], outputs: Iterable[StepOutput], *,
                times: bool = True) -> None:
    """Lengths in m, angles in rad, poses as cam_from_obj 4x4 row by row; null = no pose, or not measured.

    times: with the durations of the stages, which `write_timing` writes into a file of their own.
    """
    with file.open("w") as stream:
        for (scene_id, im_id), output in zip(ids, outputs, strict=True):
            stream.write(json.dumps({
                "scene_id": scene_id, "im_id": im_id, "stamp_ns": output.stamp_ns,
                **({"stage_ms": _stage_ms(output)} if times else {}),
                "transitions": [{"object": t.object_name, "before": t.before, "after": t.after,
                                 "reason": t.reason.value} for t in output.transitions],
                "objects": [_object(item) for item in output.objects]}) + "\n")


def write_timing(file: Path, ids: Sequence[tuple[int, int]], outputs: Iterable[StepOutput]) -> None:
    """Duration of each stage of each frame [ms]."""
    with file.open("w") as stream:
        for (scene_id, im_id), output in zip(ids, outputs, strict=True):
            stream.write(json.dumps({"scene_id": scene_id, "im_id": im_id, "stage_ms": _stage_ms(output)}) + "\n")


def read_jsonl(file: Path) -> Predictions:
    """The predictions of `write_jsonl`, with the times of a timing.jsonl beside a predictions.jsonl.

    Raises:
      DatasetError: missing file or a malformed line (names it), or the timing is of another run.
    """
    ids, outputs = [], []
    for number, row in _rows(file):
        try:
            ids.append((int(row["scene_id"]), int(row["im_id"])))
            outputs.append(_step(row))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{file} line {number} is not a prediction of storm replay ({error})") from error
    if not outputs:
        raise DatasetError(f"{file} holds no predictions; was the run interrupted?")
    timing = file.with_name(TIMING)
    if file.name == PREDICTIONS and timing.exists():
        times = [((row.get("scene_id"), row.get("im_id")), row.get("stage_ms")) for _, row in _rows(timing)]
        if [key for key, _ in times] != ids:
            raise DatasetError(f"{timing} is not of the same run as {file}; remove it, or copy both from one run")
        outputs = [replace(o, stage_ms=dict(ms)) for o, (_, ms) in zip(outputs, times, strict=True)]
    return Predictions(ids=tuple(ids), outputs=tuple(outputs))


def object_names(outputs: Iterable[StepOutput]) -> tuple[str, ...]:
    """All objects that something is said about, in the order in which they first appear."""
    return tuple(dict.fromkeys(item.object_name for output in outputs for item in output.objects))


def _stage_ms(output: StepOutput) -> dict[str, float]:
    return {k: round(v, 3) for k, v in output.stage_ms.items()}


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, content) of each line."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {file}: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{file} line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DatasetError(f"{file} line {number} is not a prediction of storm replay: {line[:40]}")
        yield number, row


def _object(item: ObjectOutput) -> dict[str, Any]:
    return {"object": item.object_name, "state": item.state, "reason": item.reason.value, "trusted": item.trusted,
            "coasting": item.coasting, "probability": _number(item.probability),
            "cam_from_obj": None if item.cam_from_obj is None else np.asarray(item.cam_from_obj).tolist(),
            "covariance": None if item.covariance is None else np.asarray(item.covariance).tolist(),
            "evidence": {k: _number(v) for k, v in item.evidence.as_dict().items()}}


def _step(row: dict[str, Any]) -> StepOutput:
    stamp = int(row["stamp_ns"])
    objects = tuple(ObjectOutput(
        object_name=o["object"], stamp_ns=stamp, state=o["state"], reason=Reason(o["reason"]),
        cam_from_obj=_array(o["cam_from_obj"], (4, 4)), covariance=_array(o["covariance"], (6, 6)),
        probability=_read_number(o["probability"]), trusted=bool(o["trusted"]), coasting=bool(o["coasting"]),
        evidence=Evidence(**{k: _read_number(v) for k, v in o["evidence"].items()}),
    ) for o in row["objects"])
    transitions = tuple(Transition(object_name=t["object"], stamp_ns=stamp, before=t["before"], after=t["after"],
                                   reason=Reason(t["reason"])) for t in row["transitions"])
    return StepOutput(stamp_ns=stamp, objects=objects, transitions=transitions, stage_ms=dict(row.get("stage_ms", {})))


def _number(value: float) -> float | None:
    """JSON has no nan: null."""
    return None if np.isnan(value) else round(float(value), 6)


def _read_number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _array(value: Any, shape: tuple[int, int]) -> Any:
    return None if value is None else np.asarray(value, float).reshape(shape)
