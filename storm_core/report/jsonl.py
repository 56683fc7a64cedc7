"""predictions.jsonl: one line per frame with everything that was published, and back."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.errors import DatasetError
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput, Transition


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What a run published. ids: (scene_id, im_id) of each frame."""

    ids: tuple[tuple[int, int], ...]
    outputs: tuple[StepOutput, ...]


def write_jsonl(file: Path, ids: Sequence[tuple[int, int]], outputs: Iterable[StepOutput]) -> None:
    """Lengths in m, angles in rad, poses as cam_from_obj 4x4 row by row; null = no pose, or not measured."""
    with file.open("w") as stream:
        for (scene_id, im_id), output in zip(ids, outputs, strict=True):
            stream.write(json.dumps({
                "scene_id": scene_id, "im_id": im_id, "stamp_ns": output.stamp_ns,
                "stage_ms": {k: round(v, 3) for k, v in output.stage_ms.items()},
                "transitions": [{"object": t.object_name, "before": t.before, "after": t.after,
                                 "reason": t.reason.value} for t in output.transitions],
                "objects": [_object(item) for item in output.objects]}) + "\n")


def read_jsonl(file: Path) -> Predictions:
    """The predictions of `write_jsonl`.

    Raises:
      DatasetError: missing file or a malformed line (names it).
    """
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read predictions {file}: {error}") from error
    ids, outputs = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            ids.append((int(row["scene_id"]), int(row["im_id"])))
            outputs.append(_step(row))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{file} line {number} is not a prediction of storm replay ({error})") from error
    if not outputs:
        raise DatasetError(f"{file} holds no predictions; was the run interrupted?")
    return Predictions(ids=tuple(ids), outputs=tuple(outputs))


def _object(item: ObjectOutput) -> dict[str, Any]:
    return {"object": item.object_name, "state": item.state, "reason": item.reason.value, "trusted": item.trusted,
            "coasting": item.coasting, "probability": round(float(item.probability), 6),
            "cam_from_obj": None if item.cam_from_obj is None else np.asarray(item.cam_from_obj).tolist(),
            "covariance": None if item.covariance is None else np.asarray(item.covariance).tolist(),
            "evidence": {k: None if np.isnan(v) else round(v, 6) for k, v in item.evidence.as_dict().items()}}


def _step(row: dict[str, Any]) -> StepOutput:
    stamp = int(row["stamp_ns"])
    objects = tuple(ObjectOutput(
        object_name=o["object"], stamp_ns=stamp, state=o["state"], reason=Reason(o["reason"]),
        cam_from_obj=_array(o["cam_from_obj"], (4, 4)), covariance=_array(o["covariance"], (6, 6)),
        probability=float(o["probability"]), trusted=bool(o["trusted"]), coasting=bool(o["coasting"]),
        evidence=Evidence(**{k: float("nan") if v is None else float(v) for k, v in o["evidence"].items()}),
    ) for o in row["objects"])
    transitions = tuple(Transition(object_name=t["object"], stamp_ns=stamp, before=t["before"], after=t["after"],
                                   reason=Reason(t["reason"])) for t in row["transitions"])
    return StepOutput(stamp_ns=stamp, objects=objects, transitions=transitions, stage_ms=dict(row["stage_ms"]))


def _array(value: Any, shape: tuple[int, int]) -> Any:
    return None if value is None else np.asarray(value, float).reshape(shape)
