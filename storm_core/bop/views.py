"""The cameras and depth images of a BOP scene, each read when it is asked for."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from storm_core.bags.folder import align_depth
from storm_core.bags.image_files import COLOR_FOLDERS, images_by_number
from storm_core.bop.cameras import SCENE_CAMERA, CameraEntry, parse_camera, scene_cameras
from storm_core.errors import DatasetError
from storm_core.geometry.camera import PinholeCamera


class SceneViews:
    """Where the images of one scene were seen from. Every fault is a DatasetError that names the file."""

    def __init__(self, scene: Path) -> None:
        self._scene = scene

    @property
    def has_cameras(self) -> bool:
        return (self._scene / SCENE_CAMERA).is_file()

    @property
    def has_depth(self) -> bool:
        return self.has_cameras and bool(self._files["depth"])

    def camera(self, im_id: int) -> PinholeCamera:
        """The colour camera; its size is that of the image file."""
        return self._entry(im_id).color_camera(*self._size(im_id))

    def depth(self, im_id: int) -> NDArray[np.float32]:
        """(h, w) depth in the colour camera [m], 0 = not measured."""
        file = self._file("depth", im_id)
        raw = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if raw is None or _cut_short(file):
            raise DatasetError(f"{file} cannot be decoded; the image is damaged or no image")
        if raw.ndim != 2:
            raise DatasetError(f"{file} has {raw.shape[-1]} channels; a depth image has one")
        entry = self._entry(im_id)
        depth = np.nan_to_num(raw.astype(np.float32), posinf=0.0, neginf=0.0) * np.float32(entry.depth_unit)
        return align_depth(depth, self.camera(im_id), entry, str(file))

    def _entry(self, im_id: int) -> CameraEntry:
        source = self._scene / SCENE_CAMERA
        entry = self._entries.get(im_id)
        if entry is None:
            raise DatasetError(f"{source} has no entry for image {im_id}")
        return parse_camera(entry, f"{source} [{im_id}]")

    def _size(self, im_id: int) -> tuple[int, int]:
        """(width, height) of the colour image, or of the depth image where there is none."""
        file = next((files[im_id] for files in self._files.values() if im_id in files), None)
        if file is None:
            raise DatasetError(f"{self._scene} has no image {im_id} in {', '.join(self._files)}")
        try:
            with Image.open(file) as image:
                return image.size
        except (OSError, UnidentifiedImageError) as error:
            raise DatasetError(f"{file} cannot be decoded; the image is damaged or no image") from error

    def _file(self, folder: str, im_id: int) -> Path:
        if im_id not in self._files[folder]:
            raise DatasetError(f"{self._scene / folder / f'{im_id:06d}.png'} is missing")
        return self._files[folder][im_id]

    @cached_property
    def _entries(self) -> Mapping[int, Any]:
        return scene_cameras(self._scene)

    @cached_property
    def _files(self) -> dict[str, dict[int, Path]]:
        """Colour first: it decides the size."""
        return {name: images_by_number(self._scene / name) if (self._scene / name).is_dir() else {}
                for name in (*COLOR_FOLDERS, "depth")}


def _cut_short(file: Path) -> bool:
    """A PNG without its end marker: decoders return what there is and leave the rest empty."""
    return file.suffix.lower() == ".png" and b"IEND" not in file.read_bytes()[-64:]
