"""BOP result files: CSV of the BOP challenge and scene_pred.json. m -> mm and back here."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.cameras import MM, read_json
from storm_core.bop.dataset import parse_pose
from storm_core.errors import DatasetError

HEADER = ("scene_id", "im_id", "obj_id", "score", "R", "t", "time")


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseEstimate:
    """One estimated pose in one image.

    Attributes:
      cam_from_obj: (4, 4) [m]. score: confidence, higher is better.
      time_s: time spent on the whole image [s], -1 when unknown.
    """

    scene_id: int
    im_id: int
    obj_id: int
    score: float
    cam_from_obj: NDArray[np.float64]
    time_s: float = -1.0


def write_csv(file: Path, estimates: Iterable[PoseEstimate]) -> None:
    """The BOP challenge CSV. Its readers expect one time per image: the largest of the image's estimates."""
    estimates = list(estimates)
    times: dict[tuple[int, int], float] = {}
    for e in estimates:
        times[e.scene_id, e.im_id] = max(times.get((e.scene_id, e.im_id), -1.0), e.time_s)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for e in estimates:
            writer.writerow([e.scene_id, e.im_id, e.obj_id, f"{e.score:.6f}", _text(e.cam_from_obj[:3, :3]),
                             _text(e.cam_from_obj[:3, 3] / MM), f"{times[e.scene_id, e.im_id]:.6f}"])


def write_scene_pred(file: Path, estimates: Iterable[PoseEstimate]) -> None:
    """scene_pred.json of one scene: {im_id: [{obj_id, cam_R_m2c, cam_t_m2c [mm], score}]}."""
    out: dict[str, list[dict[str, object]]] = {}
    for e in estimates:
        out.setdefault(str(e.im_id), []).append({
            "obj_id": e.obj_id, "cam_R_m2c": e.cam_from_obj[:3, :3].reshape(9).tolist(),
            "cam_t_m2c": (e.cam_from_obj[:3, 3] / MM).tolist(), "score": e.score})
    file.write_text(json.dumps(out, indent=1))


def read_predictions(file: Path, scene_id: int = 0) -> list[PoseEstimate]:
    """Poses from a BOP CSV, a scene_pred.json, or a folder of them (see `prediction_files`).

    Args:
      scene_id: scene of a scene_pred.json, which does not say it.

    Raises:
      DatasetError: the file is missing or a row is malformed (names the line).
    """
    if file.is_dir():
        return [e for path, scene in prediction_files(file) for e in read_predictions(path, scene)]
    if file.suffix == ".json":
        content = read_json(file, "predicted poses")
        try:
            return [PoseEstimate(scene_id=scene_id, im_id=int(im_id), obj_id=int(entry["obj_id"]),
                                 score=_score(entry.get("score", 1.0)),
                                 cam_from_obj=parse_pose(entry, f"{file} image {im_id}"))
                    for im_id, entries in content.items() for entry in entries]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{file} is not a scene_pred.json ({error}); expected {{im_id: [{{obj_id, cam_R_m2c, "
                               "cam_t_m2c, score}]}") from error
    return _read_csv(file)


def prediction_files(folder: Path) -> list[tuple[Path, int]]:
    """Files of predictions in a folder and the scene of each (0 for CSV files, which name their scenes).

    One file per scene: SCENE/scene_pred.json, scene_pred_SCENE.json or SCENE.json; or any number of CSV files.

    Raises:
      DatasetError: there are none, JSON and CSV files are mixed, or two are for one scene.
    """
    tables = [(path, 0) for path in sorted(folder.glob("*.csv"))]
    scenes: dict[int, Path] = {}
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/scene_pred.json")]):
        number = path.parent.name if path.name == "scene_pred.json" else path.stem.removeprefix("scene_pred_")
        if not number.isdigit():
            continue
        if int(number) in scenes:
            raise DatasetError(f"{scenes[int(number)]} and {path} are both for scene {int(number)}; keep one")
        scenes[int(number)] = path
    if tables and scenes:
        raise DatasetError(f"{folder} holds both {tables[0][0].name} and {min(scenes.values()).relative_to(folder)}; "
                           "they may be the same poses twice: pass one of them, or a folder with files of one kind")
    if not tables and not scenes:
        raise DatasetError(f"{folder} holds no predictions; expected SCENE/scene_pred.json, scene_pred_SCENE.json or "
                           "BOP CSV files")
    return tables or [(path, scene_id) for scene_id, path in sorted(scenes.items())]


def time_per_image_s(estimates: Iterable[PoseEstimate]) -> float:
    """Mean time of the images that have estimates [s]; nan when that of any is unknown."""
    times: dict[tuple[int, int], float] = {}
    for e in estimates:
        key = (e.scene_id, e.im_id)
        known = e.time_s if e.time_s >= 0 else float("nan")
        times[key] = float(np.maximum(times.get(key, known), known))
    return float(np.mean(list(times.values()))) if times else float("nan")


def _read_csv(file: Path) -> list[PoseEstimate]:
    out = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.reader(stream), 1):
                if not row or (number == 1 and row[0] == HEADER[0]):
                    continue
                try:
                    scene_id, im_id, obj_id, score, r, t, time_s = row
                    pose = parse_pose({"cam_R_m2c": [float(v) for v in r.split()], "obj_id": obj_id,
                                       "cam_t_m2c": [float(v) for v in t.split()]}, f"{file} line {number}")
                    out.append(PoseEstimate(scene_id=int(scene_id), im_id=int(im_id), obj_id=int(obj_id),
                                            score=_score(score), cam_from_obj=pose, time_s=float(time_s)))
                except ValueError as error:
                    raise DatasetError(f"{file} line {number} is not a BOP result ({error}); expected "
                                       f"{','.join(HEADER)}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot read predictions {file}: {error}; expected a BOP CSV in UTF-8") from error
    return out


def _score(value: str | float) -> float:
    score = float(value)
    if score != score:
        raise ValueError("the score is not a number, so estimates cannot be ranked")
    return score


def _text(values: NDArray[np.float64]) -> str:
    return " ".join(f"{v:.9g}" for v in values.reshape(-1))
