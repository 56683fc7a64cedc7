"""Training batches of the refiner and the scorer: hypotheses around true poses, and what the networks should say.

Batch number n is the same whenever and in whichever process it is made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import so3_exp, so3_log
from storm_core.geometry.symmetry import nearest_equivalent
from storm_core.render_compare.crops import crops_of
from storm_core.render_compare.motion import motion_between, moved
from storm_core.training.refiner_config import RefinerTraining
from storm_core.training.refiner_scenes import RgbdView, random_rgbd_view
from storm_core.training.score_batches import errors_of

FIRST_VALIDATION = 10**9
"""Batch numbers from here on are made of validation objects."""

VALIDATION_OBJECTS = 120

TURNS = ((0.3, 0.17), (0.35, 0.55), (0.35, 1.0))
"""Share of the refiner's hypotheses, and their greatest turn as a part of the greatest of all."""

_HALF_TURNS = np.pi * np.eye(3)


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Hypotheses of several views, those of a view together.

    Attributes:
      pairs: (N, 2, 6, S, S) renders and pictures. shift: (N, 3) to the truth [radii]. turn: (N, 3) axis-angle to it,
      or to the pose that looks the same and is nearest [rad]. error: (N,) mean point error [diameters], symmetries
      allowed. hypotheses: per view.
    """

    pairs: NDArray[np.float32]
    shift: NDArray[np.float32]
    turn: NDArray[np.float32]
    error: NDArray[np.float32]
    hypotheses: int


@dataclass(frozen=True)
class Batches:
    """Makes numbered batches; picklable, so that other processes can make them. scorer: hypotheses as the scorer
    meets them, after refinement, instead of as the refiner does."""

    config: RefinerTraining
    scorer: bool = False

    def batch(self, number: int) -> PairBatch:
        c = self.config
        rng = np.random.default_rng([c.training.seed, number])
        held_out = number >= FIRST_VALIDATION
        split, objects = ("val", VALIDATION_OBJECTS) if held_out else ("train", c.data.objects)
        parts = [self._of(random_rgbd_view(split, objects, rng), rng) for _ in range(c.training.views)]
        return PairBatch(*(np.concatenate([part[k] for part in parts]) for k in range(4)), c.training.hypotheses)

    def _of(self, view: RgbdView, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        c, model = self.config, view.model
        count = c.training.hypotheses
        shift, turn = (self._refined(count, view.cam_from_obj[:3, :3], rng) if self.scorer
                       else self._rough(count, rng))
        truth = np.repeat(view.cam_from_obj[None], count, 0)
        poses = moved(truth, model.center, shift * model.diameter, so3_exp(turn))
        wanted = np.stack([nearest_equivalent(view.cam_from_obj, model.symmetries, pose) for pose in poses])
        to_shift, to_turn = motion_between(wanted, poses, model.center)
        pairs = crops_of(view.rgb, view.depth, view.camera.vector, model, poses, c.model.crop, c.model.scaling)
        error = errors_of(model, view.cam_from_obj, poses) / model.diameter
        return (pairs, *((x).astype(np.float32) for x in (to_shift / (model.diameter / 2), to_turn, error)))

    def _rough(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shifts [diameters] and turns [rad], (N, 3) each, of small, middle and large size alike."""
        data = self.config.data
        kind = rng.choice(len(TURNS), count, p=[share for share, _ in TURNS])
        angle = np.radians(data.largest_turn) * np.array([part for _, part in TURNS])[kind] * rng.random(count)
        sigma = data.largest_shift * 10 ** rng.uniform(-1.2, 0, count)
        # A picture tells least about the distance, so hypotheses are wrong there most.
        shift = rng.normal(size=(count, 3)) * sigma[:, None] * [1.0, 1.0, 1.5]
        return shift, _unit(count, rng) * angle[:, None]

    def _refined(self, count: int, rotation: NDArray[np.float64], rng: np.random.Generator
                 ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same, as refinement leaves hypotheses: near the truth, near a half turn of it about the object's axes,
        or stuck anywhere. rotation: the true one (3, 3)."""
        kind = rng.choice(3, count, p=[0.45, 0.25, 0.3])
        sigma = np.array([0.02, 0.03, 0.08])[kind] * 10 ** rng.uniform(-0.7, 0, count)
        angle = np.radians([12.0, 15.0, 180.0])[kind] * rng.random(count)
        turn = so3_exp(_unit(count, rng) * angle[:, None])
        flips = rotation @ so3_exp(_HALF_TURNS[rng.integers(3, size=count)]) @ rotation.T
        turn = np.where((kind == 1)[:, None, None], turn @ flips, turn)
        return rng.normal(size=(count, 3)) * sigma[:, None], so3_log(turn)


def _unit(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    axis = rng.normal(size=(count, 3))
    return axis / np.linalg.norm(axis, axis=1, keepdims=True)
