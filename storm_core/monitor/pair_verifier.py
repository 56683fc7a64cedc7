"""The pair model at work: the live crop against a memory of crops that were trusted (monitor.pair)."""

from collections import deque
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storm_core.geometry.mesh import ObjectModel
from storm_core.monitor.pair_model import load_pair
from storm_core.types import Frame

MEMORY = 16
"""Crops remembered of each object; the oldest goes first."""

MARGIN = 1.2
"""Side of the square crop / larger side of the projected box of the model."""


class PairVerifier:
    """Remembers how each object looked while its pose was trusted."""

    def __init__(self, checkpoint: Path, backbone: nn.Module | None = None) -> None:
        """Raises:
        WeightsError, BackendError: see `load_pair`.
        """
        self._model, self._size = load_pair(checkpoint, backbone)
        self._memory: dict[str, deque[Tensor]] = {}
        self._newest: dict[str, Tensor] = {}

    @torch.no_grad()
    def similarity(self, frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64]) -> float:
        """Mean logit that the live crop shows what the remembered ones show; nan while nothing is remembered."""
        crop = square_crop(frame, model, cam_from_obj, self._size)
        tokens = self._model.described(torch.from_numpy(crop.transpose(2, 0, 1).astype(np.float32) / 255)[None])
        self._newest[model.name] = tokens
        memory = self._memory.get(model.name)
        if not memory:
            return float("nan")
        references = torch.cat(list(memory))
        return float(self._model.compared(references, tokens.expand(len(references), -1, -1)).mean())

    def remember(self, object_name: str) -> None:
        """The newest crop was trusted."""
        if object_name in self._newest:
            self._memory.setdefault(object_name, deque(maxlen=MEMORY)).append(self._newest.pop(object_name))

    def reset(self, object_name: str) -> None:
        """A new registration: what was remembered may have been another object."""
        self._memory.pop(object_name, None)
        self._newest.pop(object_name, None)


def square_crop(frame: Frame, model: ObjectModel, cam_from_obj: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """(size, size, 3) around the projected corners of the model's box; shifted into the picture where it can be."""
    low, high = model.vertices.min(0), model.vertices.max(0)
    corners = np.array(np.meshgrid(*np.stack([low, high], 1))).reshape(3, -1).T.astype(float)
    points = corners @ cam_from_obj[:3, :3].T + cam_from_obj[:3, 3]
    z = np.maximum(points[:, 2], 0.02)
    camera = frame.camera
    pixels = np.stack([camera.fx * points[:, 0] / z + camera.cx, camera.fy * points[:, 1] / z + camera.cy], 1)
    side = float(np.clip(MARGIN * np.ptp(pixels, 0).max(), 8, min(camera.width, camera.height)))
    first = (pixels.min(0) + pixels.max(0) - side) / 2
    first = np.clip(first, 0, np.array([camera.width, camera.height]) - side)
    x, y, n = int(first[0]), int(first[1]), int(side)
    return cv2.resize(frame.rgb[y:y + n, x:x + n], (size, size), interpolation=cv2.INTER_AREA)
