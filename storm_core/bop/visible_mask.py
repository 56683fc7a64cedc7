"""mask_visib of a BOP scene: the visible pixels of one annotated instance."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.errors import DatasetError


def mask_file(scene: Path, im_id: int, number: int) -> Path:
    """The mask of instance `number` of an image, counted as in scene_gt.json."""
    return scene / "mask_visib" / f"{im_id:06d}_{number:06d}.png"


def read_visible_mask(scene: Path, im_id: int, number: int) -> NDArray[np.bool_]:
    """(H, W) of instance `number`, counted as in scene_gt.json.

    Raises:
      DatasetError: the file is missing or damaged.
    """
    file = mask_file(scene, im_id, number)
    if not file.is_file():
        raise DatasetError(f"{file} is missing; the visible mask of every annotated instance belongs there")
    pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise DatasetError(f"{file} cannot be decoded; the image is damaged or no image")
    return pixels > 0
