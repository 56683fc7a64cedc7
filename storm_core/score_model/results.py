"""What a refinement returns, and the .npy results dictionary of many."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import DatasetError
from storm_core.geometry.pose import so3_log
from storm_core.score_model.selection import possible, select
from storm_core.types import Frame, Registration

if TYPE_CHECKING:
    import pandas

VERSION = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreResult:
    """A pose distribution of one object in one frame.

    Attributes:
      cam_from_objs: (N, 4, 4) particles. weights: (N,), sum 1. fitness: (N,), higher is better.
      registration: the refined pose with the particles' covariance.
      accepted: False when no particle fitted better and the given pose was kept.
      pose_history: (S + 1, N, 4, 4) particles before and after every step.
      score_history: (S, N, 6) score of every step, (shift [1/m], turn [1/rad]).
      extras: what only some refiners know, see `NetworkRefiner`: (N,) or latents, by name.
    """

    cam_from_objs: NDArray[np.float64]
    weights: NDArray[np.float64]
    fitness: NDArray[np.float64]
    registration: Registration
    accepted: bool
    pose_history: NDArray[np.float64]
    score_history: NDArray[np.float64]
    extras: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class MaskSampler(Protocol):
    """What samples poses of one object from its mask (H, W) alone; None when it holds hardly any measured depth."""

    def sample(self, frame: Frame, object_name: str, mask: NDArray[np.bool_]) -> ScoreResult | None: ...


def to_record(image: str, result: ScoreResult, seconds: float) -> dict[str, Any]:
    """One entry of the results dictionary: plain arrays and numbers."""
    r = result.registration
    return {
        "image": image,
        "object": r.object_name,
        "stamp_ns": r.stamp_ns,
        "cam_from_obj": r.cam_from_obj,
        "covariance": r.covariance,
        "probability": r.probability,
        "accepted": result.accepted,
        "sampled_poses": result.cam_from_objs,
        "weights": result.weights,
        "fitness": result.fitness,
        "pose_history": result.pose_history,
        "score_history": result.score_history,
        "seconds": seconds,
        **result.extras,
    }


def save_results(path: Path | str, records: Sequence[Mapping[str, Any]]) -> None:
    """Write {'version', 'records'} as one .npy file."""
    with Path(path).open("wb") as file:
        np.save(file, np.array({"version": VERSION, "records": [dict(r) for r in records]}, dtype=object))


def load_results(path: Path | str) -> list[dict[str, Any]]:
    """The records of a file written by `save_results`. The file is a pickle: load only files you trust."""
    try:
        loaded = np.load(path, allow_pickle=True)
        content = loaded.item() if isinstance(loaded, np.ndarray) else None
    except (OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise DatasetError(f"cannot read results from {path}: {error}") from error
    if not isinstance(content, dict) or content.get("version") != VERSION or "records" not in content:
        raise DatasetError(f"{path} holds no score-model results of version {VERSION}; write it with `storm refine`")
    return content["records"]


def results_table(records: Sequence[Mapping[str, Any]]) -> "pandas.DataFrame":
    """One row per image and object: position [mm], spread [mm, deg], best fitness, time [ms]."""
    import pandas

    rows = []
    for r in records:
        # The left covariance turns about the camera; the spread people read is that of the object's own origin.
        t = r["cam_from_obj"][:3, 3]
        lever = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
        jacobian = np.concatenate([np.eye(3), -lever], 1)
        position = jacobian @ r["covariance"] @ jacobian.T
        x, y, z = t * 1e3
        rows.append(
            {
                "image": r["image"],
                "object": r["object"],
                "x_mm": x,
                "y_mm": y,
                "z_mm": z,
                "sd_mm": 1e3 * np.sqrt(max(np.trace(position), 0.0)),
                "sd_deg": np.degrees(np.sqrt(max(np.trace(r["covariance"][3:, 3:]), 0.0))),
                "fitness": float(np.max(r["fitness"])),
                "improved": bool(r["accepted"]),
                "ms": 1e3 * r["seconds"],
            }
        )
    return pandas.DataFrame(rows)


def results_as_df(results: "Path | str | Sequence[Mapping[str, Any]]", rules: Sequence[str] = ()) -> "pandas.DataFrame":
    """The final pose of every record by every selection rule: one row per record and rule.

    Columns: image, object, selection, particle (its number), x_mm, y_mm, z_mm, and the rotation vector rx_deg, ry_deg,
    rz_deg of cam_from_obj; fitness; with ground truth error_mm and right (error below 0.1 diameters).

    Args:
      results: a results file, the dictionary in it, or its records. rules: of `selection.RULES`; empty = all that a
        record holds the numbers for.

    Raises:
      InputError: a record does not hold what a named rule needs.
    """
    import pandas

    records = load_results(results) if isinstance(results, (str, Path)) else results
    if isinstance(records, Mapping):
        records = records["records"]
    rows = []
    for r in records:
        for rule in rules or possible(r):
            k = select(r, rule)
            pose = np.asarray(r["sampled_poses"])[k]
            x, y, z = pose[:3, 3] * 1e3
            rx, ry, rz = np.degrees(so3_log(pose[:3, :3]))
            row = {"image": r["image"], "object": r["object"], "selection": rule, "particle": k, "x_mm": x, "y_mm": y,
                   "z_mm": z, "rx_deg": rx, "ry_deg": ry, "rz_deg": rz, "fitness": float(r["fitness"][k])}
            if r.get("true_errors") is not None:
                row |= {"error_mm": 1e3 * r["true_errors"][k], "right": bool(r["true_errors"][k] < 0.1 * r["diameter"])}
            rows.append(row)
    return pandas.DataFrame(rows)
