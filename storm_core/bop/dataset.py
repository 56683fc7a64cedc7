"""BOP ground truth and model lists: scene_gt, scene_gt_info, gt_quality, models_info. mm -> m here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.cameras import MM, by_number, read_json
from storm_core.errors import DatasetError, MeshError
from storm_core.geometry.pose import from_rotation_translation, require_pose

_T = TypeVar("_T")


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
      DatasetError: scene_gt.json is missing, or one of the files is damaged (names it and the image).
    """
    file, info_file, quality_file = scene / "scene_gt.json", scene / "scene_gt_info.json", scene / "gt_quality.json"
    infos = _by_image(info_file, "visibility") if info_file.exists() else {}
    qualities = _by_image(quality_file, "how far each pose can be trusted") if quality_file.exists() else {}
    out: dict[int, tuple[Annotation, ...]] = {}
    for im_id, listed in _by_image(file, "the ground-truth poses").items():
        poses = _each(file, im_id, listed, lambda entry, i=im_id: (
            int(entry["obj_id"]), parse_pose(entry, f"{scene} image {i}")))
        seen = _each(info_file, im_id, infos.get(im_id, [{}] * len(poses)), lambda info: (_visible(info), _box(info)))
        if len(seen) != len(poses):
            raise DatasetError(f"{info_file}: image {im_id} has {len(seen)} entries, scene_gt.json has {len(poses)}")
        good = _quality(quality_file, im_id, qualities.get(im_id, {})) == "good"
        out[im_id] = tuple(Annotation(obj_id=obj_id, cam_from_obj=pose, visible=visible, good=good, box=box)
                           for (obj_id, pose), (visible, box) in zip(poses, seen, strict=True))
    return out


def _by_image(file: Path, what: str) -> dict[int, Any]:
    content = read_json(file, what)
    if not isinstance(content, dict):
        raise DatasetError(f"{file} must hold a JSON object {{im_id: ...}}, got {_shown(content)}")
    odd = next((key for key in content if not key.isdigit()), None)
    if odd is not None:
        raise DatasetError(f"{file} is not in BOP format: its key {odd!r} is no image number")
    return by_number(content, file)


def _each(file: Path, im_id: int, entries: Any, read: Callable[[dict[str, Any]], _T]) -> list[_T]:
    """What is read of each object in the list of an image; DatasetError names the file and the image."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DatasetError(f"{file}: image {im_id} is not in BOP format: expected a list with an object {{...}} for "
                           f"each instance, got {_shown(entries)}")
    try:
        return [read(entry) for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{file}: image {im_id} is not in BOP format ({error})") from error


def _quality(file: Path, im_id: int, entry: Any) -> str:
    if not isinstance(entry, dict):
        raise DatasetError(f"{file}: image {im_id} is not in BOP format: expected {{gt_quality: ...}}, got "
                           f"{_shown(entry)}")
    return str(entry.get("gt_quality", "good"))


def _shown(value: Any) -> str:
    """A value as a short text for messages."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


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
    """{obj_id: entry} of models_info.json (mm, as in the file); {} for a folder without one.

    Raises:
      MeshError: it does not map ids to properties. DatasetError: it cannot be read.
    """
    file = models / "models_info.json"
    if not file.exists():
        return {}
    infos = read_json(file, "sizes and symmetries of the models")
    if not isinstance(infos, dict) or not all(isinstance(info, dict) for info in infos.values()):
        raise MeshError(f"{file} must map object ids to their properties, as BOP datasets do")
    return by_number(infos, file)


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
    return [(scene_id, im_id, obj_id)
            for scene_id, im_id, obj_id, count in _targets(dataset, "test_targets_bop19.json") if obj_id is not None
            for _ in range(count)]


def read_target_images(dataset: Path) -> list[tuple[int, int]]:
    """(scene_id, im_id) of test_targets_bop24.json (or as `read_targets`), each once; [] without such a file."""
    return list(dict.fromkeys(target[:2] for target in _targets(dataset, "test_targets_bop24.json")))


def _targets(dataset: Path, preferred: str) -> list[tuple[int, int, int | None, int]]:
    """(scene_id, im_id, obj_id, instances); obj_id None where only images are listed."""
    files = sorted(dataset.glob("test_targets_*.json"))
    if not files:
        return []
    chosen = next((f for f in files if f.name == preferred), None)
    chosen = chosen or next((f for f in files if f.name == "test_targets_bop19.json"), files[-1])
    entries = read_json(chosen, "the evaluated targets")
    try:
        if not isinstance(entries, list):
            raise TypeError(f"got {_shown(entries)}")
        return [(int(t["scene_id"]), int(t["im_id"]), int(t["obj_id"]) if "obj_id" in t else None,
                 int(t.get("inst_count", 1))) for t in entries]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{chosen} is not in BOP format ({error}); expected a list of {{scene_id, im_id, obj_id, "
                           "inst_count}") from error


def _visible(info: dict[str, Any]) -> float:
    if "visib_fract" in info:
        return float(info["visib_fract"])
    if info.get("px_count_all", 0) > 0 and "px_count_visib" in info:
        return float(info["px_count_visib"]) / float(info["px_count_all"])
    return float("nan")


def _box(info: dict[str, Any]) -> tuple[float, float, float, float] | None:
    box = info.get("bbox_visib")
    return None if box is None or len(box) != 4 else tuple(float(v) for v in box)  # type: ignore[return-value]
