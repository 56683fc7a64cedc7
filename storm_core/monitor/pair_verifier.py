"""The pair model at work: the live crop against a memory of crops that were trusted (monitor.pair)."""

from collections import deque
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storm_core.geometry.mesh import ObjectModel
from storm_core.monitor.pair_model import load_pair
from storm_core.monitor.square_crop import square_crop
from storm_core.types import Frame

MEMORY = 16
"""Crops remembered of each object; the oldest goes first."""

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
