"""Learned refinement and scoring of hypotheses: crop, look, move; crop, look, compare.

Geometry follows the nearest surface; the networks look at a render and the picture as a whole, so they find turns that
are far too large for that, and need no depth. What they say is a proposal: geometry polishes it and the verifier, which
knows nothing of the networks, has its vote.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.render_compare.crops import crop_pairs
from storm_core.render_compare.motion import moved, read_motion
from storm_core.render_compare.shape import NetworkShape, Scaling
from storm_core.types import Frame

Poses = NDArray[np.float64]
Pairs = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """Poses (N, 4, 4) of one object, the most promising first."""

    model: ObjectModel
    cam_from_objs: Poses


class Network(Protocol):
    """A refiner or a scorer that is only run, wherever it runs."""

    @property
    def shape(self) -> NetworkShape: ...

    @property
    def scaling(self) -> Scaling: ...

    def motions(self, pairs: Pairs) -> tuple[Pairs, Pairs]: ...

    def describe(self, pairs: Pairs) -> Pairs: ...

    def compare(self, vectors: Pairs) -> Pairs: ...


class PairRefiner(Protocol):
    """Moves the hypotheses of several objects of one frame."""

    def refine(self, frame: Frame, hypotheses: Sequence[Hypotheses], iterations: int) -> list[Poses]:
        """The poses after so many steps, in the order given; at most the first `max_hypotheses` of each object."""
        ...


class HostRefiner:
    """The refiner on the CPU: crops by a compiled kernel, the network in NumPy or torch."""

    def __init__(self, network: Network, scaling: Scaling, *, max_hypotheses: int = 252, batch: int = 64) -> None:
        """batch: hypotheses that the network sees at once; all objects share it."""
        self._network, self._scaling = network, scaling
        self._most, self._batch = max_hypotheses, batch

    def refine(self, frame: Frame, hypotheses: Sequence[Hypotheses], iterations: int) -> list[Poses]:
        poses = [np.array(h.cam_from_objs[: self._most], np.float64).reshape(-1, 4, 4) for h in hypotheses]
        starts = np.cumsum([0, *map(len, poses)])
        for _ in range(iterations if starts[-1] else 0):
            pairs = np.concatenate([crop_pairs(frame, h.model, p, self._network.shape.crop, self._scaling)
                                    for h, p in zip(hypotheses, poses, strict=True)])
            shift, turn = (np.concatenate(parts) for parts in zip(
                *(self._network.motions(pairs[k:k + self._batch]) for k in range(0, len(pairs), self._batch)),
                strict=True))
            for k, h in enumerate(hypotheses):
                rows = slice(starts[k], starts[k + 1])
                poses[k] = moved(poses[k], h.model.center,
                                 *read_motion(shift[rows], turn[rows], self._scaling, h.model.diameter))
        return poses


class PairScorer:
    """The scorer: one number per hypothesis, comparable within one call only."""

    def __init__(self, network: Network, scaling: Scaling, *, batch: int = 64) -> None:
        self._network, self._scaling, self._batch = network, scaling, batch

    def score(self, frame: Frame, hypotheses: Hypotheses) -> Pairs:
        """Scores (N,) of poses of one object in one frame; the best has the largest."""
        pairs = crop_pairs(frame, hypotheses.model, hypotheses.cam_from_objs, self._network.shape.crop, self._scaling)
        if len(pairs) == 0:
            return np.zeros(0, np.float32)
        vectors = np.concatenate([self._network.describe(pairs[k:k + self._batch])
                                  for k in range(0, len(pairs), self._batch)])
        return self._network.compare(vectors)


