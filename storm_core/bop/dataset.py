"""BOP ground truth and model lists: scene_gt, scene_gt_info, gt_quality, models_info. mm -> m here."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.cameras import MM, read_json
from storm_core.errors import DatasetError
from storm_core.geometry.pose import from_rotation_translation, require_pose


@dataclass(frozen=True, eq=False, kw_only=True)
class Annotation:
    """One annotated object instance in one image.

    Attributes:
      cam_from_obj: (4, 4) [m].
      visible: share of the silhouette that is visible, nan when not recorded.
      good: the pose may be used for accuracy figures (gt_quality.json says so or does not exist).
      box: (x, y, w, h) of the visible part [px], None when not recorded.
    """

    obj_id: int
    cam_from_obj: NDArray[np.float64]
    visible: float = float("nan")
    good: bool = True
    box: tuple[float, float, float, float] | None = None


def read_annotations(scene: Path) -> dict[int, tuple[Annotation, ...]]:
    """{im_id: annotations} of a scene folder.

    Raises:
      DatasetError: scene_gt.json is missing or damaged.
    """
    truth = read_json(scene / "scene_gt.json", "the ground-truth poses")
    info_file, quality_file = scene / "scene_gt_info.json", scene / "gt_quality.json"
    infos = read_json(info_file, "visibility") if info_file.exists() else {}
    qualities = read_json(quality_file, "how far each pose can be trusted") if quality_file.exists() else {}
    out: dict[int, tuple[Annotation, ...]] = {}
    for key, entries in truth.items():
        info = infos.get(key, [{}] * len(entries))
        quality = qualities.get(key, {}).get("gt_quality", "good")
        try:
            out[int(key)] = tuple(
                Annotation(obj_id=int(entry["obj_id"]), cam_from_obj=parse_pose(entry, f"{scene} image {key}"),
                           visible=_visible(extra), good=quality == "good", box=_box(extra))
                for entry, extra in zip(entries, info, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{scene / 'scene_gt.json'}: image {key} is not in BOP format ({error})") from error
    return out


def parse_pose(entry: dict[str, Any], source: str) -> NDArray[np.float64]:
    """cam_R_m2c, cam_t_m2c [mm] -> cam_from_obj (4, 4) [m], with the rotation made exactly orthonormal.

    Files carry rotations rounded to four digits or so.
    """
    r, t = np.asarray(entry["cam_R_m2c"], float).reshape(3, 3), np.asarray(entry["cam_t_m2c"], float).reshape(3)
    u, s, vt = np.linalg.svd(r)
    if np.abs(s - 1).max() > 1e-2 or np.linalg.det(r) < 0:
        raise DatasetError(f"{source}: cam_R_m2c of object {entry.get('obj_id')} is no rotation (singular values {s})")
    return require_pose(from_rotation_translation(u @ vt, t * MM), source)


def read_models_info(models: Path) -> dict[int, dict[str, Any]]:
    """{obj_id: entry} of models_info.json (mm, as in the file); {} for a folder without one."""
    file = models / "models_info.json"
    if not file.exists():
        return {}
    return {int(key): value for key, value in read_json(file, "sizes and symmetries of the models").items()
            if key.isdigit()}


def object_ids(models: Path, names: Iterable[str]) -> dict[str, int]:
    """BOP id of each object name: a number, `obj_000001`, or the `name` in models_info.json.

    Names without an id are left out.
    """
    infos = read_models_info(models)
    by_name = {str(info["name"]): obj_id for obj_id, info in infos.items() if "name" in info}
    out: dict[str, int] = {}
    for name in names:
        digits = name.removeprefix("obj_")
        if digits.isdigit():
            out[name] = int(digits)
        elif name in by_name:
            out[name] = by_name[name]
    return out


def read_targets(dataset: Path) -> list[tuple[int, int, int]]:
    """(scene_id, im_id, obj_id), one per instance, of test_targets_bop19.json (or the newest test_targets_*.json).

    [] without such a file, and for one that lists images without objects (BOP 2024): see `read_target_images`.
    """
    return [(int(t["scene_id"]), int(t["im_id"]), int(t["obj_id"]))
            for t in _targets(dataset, "test_targets_bop19.json") if "obj_id" in t
            for _ in range(int(t.get("inst_count", 1)))]


def read_target_images(dataset: Path) -> list[tuple[int, int]]:
    """(scene_id, im_id) of test_targets_bop24.json (or as `read_targets`), each once; [] without such a file."""
    return list(dict.fromkeys((int(t["scene_id"]), int(t["im_id"]))
                              for t in _targets(dataset, "test_targets_bop24.json")))


def _targets(dataset: Path, preferred: str) -> list[dict[str, Any]]:
    files = sorted(dataset.glob("test_targets_*.json"))
    if not files:
        return []
    chosen = next((f for f in files if f.name == preferred), None)
    chosen = chosen or next((f for f in files if f.name == "test_targets_bop19.json"), files[-1])
    entries = read_json(chosen, "the evaluated targets")
    if not isinstance(entries, list) or not all(isinstance(t, dict) and {"scene_id", "im_id"} <= set(t)
                                                for t in entries):
        raise DatasetError(f"{chosen} is not in BOP format; expected a list of {{scene_id, im_id, obj_id, inst_count}}")
    return entries


def _visible(info: dict[str, Any]) -> float:
    if "visib_fract" in info:
        return float(info["visib_fract"])
    if info.get("px_count_all", 0) > 0 and "px_count_visib" in info:
        return float(info["px_count_visib"]) / float(info["px_count_all"])
    return float("nan")


def _box(info: dict[str, Any]) -> tuple[float, float, float, float] | None:
    box = info.get("bbox_visib")
    return None if box is None or len(box) != 4 else tuple(float(v) for v in box)  # type: ignore[return-value]
