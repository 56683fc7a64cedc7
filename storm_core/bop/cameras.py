"""scene_camera.json and camera.json: intrinsics, depth unit and where the depth camera is. mm -> m here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import DatasetError, InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import inverse, require_pose

SCENE_CAMERA = "scene_camera.json"
MM = 1e-3
"""BOP stores lengths in mm; one of them in metres."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CameraEntry:
    """What is known about the cameras of one image.

    Attributes:
      k: (3, 3) intrinsics of the colour camera [px].
      depth_unit: metres per count of the depth image.
      depth_k: (3, 3) intrinsics of a separate depth camera [px], None when depth is aligned with colour.
      color_from_depth: (4, 4) depth optical frame -> colour optical frame [m], None when aligned.
      source: file and key, for messages.
    """

    k: NDArray[np.float64]
    depth_unit: float
    depth_k: NDArray[np.float64] | None
    color_from_depth: NDArray[np.float64] | None
    source: str

    def color_camera(self, width: int, height: int) -> PinholeCamera:
        return _camera(self.k, width, height, f"{self.source}: cam_K")

    def depth_camera(self, width: int, height: int) -> PinholeCamera:
        return _camera(self.k if self.depth_k is None else self.depth_k, width, height, f"{self.source}: depth_K")


def parse_camera(entry: Any, source: str) -> CameraEntry:
    """An entry of scene_camera.json (cam_K, depth_scale) or a camera.json (fx, fy, cx, cy or cam_K, depth_scale).

    `depth_scale` times the depth image gives mm. A depth camera of its own is described by `depth_K` and
    `depth_from_color` (4x4, mm: X_depth = depth_from_color X_color).
    """
    try:
        k = np.asarray(entry["cam_K"], float) if "cam_K" in entry else np.array(
            [[entry["fx"], 0, entry["cx"]], [0, entry["fy"], entry["cy"]], [0, 0, 1]], float)
        depth_unit = float(entry.get("depth_scale", 1.0)) * MM
        depth_k = np.asarray(entry["depth_K"], float).reshape(3, 3) if "depth_K" in entry else None
        color_from_depth = None
        if "depth_from_color" in entry:
            depth_from_color = np.asarray(entry["depth_from_color"], float).reshape(4, 4)
            depth_from_color[:3, 3] *= MM
            color_from_depth = inverse(require_pose(depth_from_color, f"{source}: depth_from_color"))
        if k.size != 9 or not np.isfinite(depth_unit) or depth_unit <= 0:
            raise ValueError(f"cam_K needs 9 numbers (has {k.size}), depth_scale must be positive (is "
                             f"{entry.get('depth_scale')})")
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{source}: no usable intrinsics ({error}); it needs cam_K (9 numbers, px) or fx, fy, cx, "
                           "cy, and depth_scale (mm per count)") from error
    if (depth_k is None) != (color_from_depth is None):
        raise DatasetError(f"{source}: depth_K and depth_from_color belong together; give both or neither")
    return CameraEntry(k=k.reshape(3, 3), depth_unit=depth_unit, depth_k=depth_k, color_from_depth=color_from_depth,
                       source=source)


def scene_cameras(scene: Path) -> dict[int, Any]:
    """{image number: entry} of scene_camera.json; keys may be padded with zeros.

    Raises:
      DatasetError: the file is missing or damaged, or two entries are for one image.
    """
    file = scene / SCENE_CAMERA
    content = read_json(file, "the intrinsics of every image")
    if not isinstance(content, dict):
        raise DatasetError(f"{file} must hold a JSON object {{im_id: camera}}, got {type(content).__name__}")
    return by_number(content, file)


def by_number(content: Mapping[str, Any], file: Path) -> dict[int, Any]:
    """{number: entry} of a JSON object with numbers as keys, which may be padded with zeros; other keys are left out.

    Raises:
      DatasetError: two keys are one number.
    """
    out = {}
    for key, entry in content.items():
        if key.isdigit():
            if int(key) in out:
                raise DatasetError(f"{file} has two entries for {int(key)}; remove one")
            out[int(key)] = entry
    return out


def read_json(file: Path, what: str) -> Any:
    """The content of a JSON file, or a DatasetError that says what the file is needed for."""
    try:
        return json.loads(file.read_bytes())  # bytes, so that a byte order mark is understood
    except FileNotFoundError as error:
        raise DatasetError(f"{file} is missing; it holds {what}") from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read {file} ({what}): {error}") from error


def _camera(k: NDArray[np.float64], width: int, height: int, source: str) -> PinholeCamera:
    try:
        camera = PinholeCamera.from_matrix(k, width, height)
    except InputError as error:
        raise DatasetError(f"{source}: {error}") from error
    if not (0 <= camera.cx < width and 0 <= camera.cy < height):
        raise DatasetError(f"{source}: the principal point ({camera.cx:.1f}, {camera.cy:.1f}) lies outside the {width}x"
                           f"{height} image; these intrinsics belong to another image size")
    return camera
