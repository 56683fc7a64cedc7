"""Particles: pose hypotheses as the samplers move them, and the way to poses in metres and back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.score_model.noise import sample_rotations


@dataclass(frozen=True, eq=False)
class Particles:
    """Attributes:
    centers: (N, 3) object centres relative to a fixed point [diameters], camera axes.
    turns: (N, 3, 3) rotations cam <- obj.
    """

    centers: NDArray[np.float64]
    turns: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.centers)

    def moved(self, xi: NDArray[np.float64]) -> "Particles":
        """After left increments (N, 6) = (shift [diameters], turn [rad]) at the object centres."""
        return Particles(self.centers + xi[:, :3], so3_exp(xi[:, 3:]) @ self.turns)

    def poses(self, origin: NDArray[np.float64], center: NDArray[np.float64], diameter: float) -> NDArray[np.float64]:
        """cam_from_obj (N, 4, 4) [m]. origin: the fixed point [m]; center: of the object in its own frame [m]."""
        return from_rotation_translation(self.turns, origin + diameter * self.centers - self.turns @ center)


def particles_of(cam_from_objs: NDArray[np.float64], origin: NDArray[np.float64], center: NDArray[np.float64],
                 diameter: float) -> Particles:
    """Inverse of `Particles.poses`."""
    turns = cam_from_objs[:, :3, :3]
    return Particles((turns @ center + cam_from_objs[:, :3, 3] - origin) / diameter, turns)


def uniform_particles(count: int, shift: float, rng: np.random.Generator) -> Particles:
    """Rotations uniform on SO(3); centres around the fixed point with a standard deviation of `shift` [diameters]."""
    quaternion = rng.normal(size=(count, 4))
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    turns = np.stack([
        np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1)], 1)
    return Particles(rng.normal(0, shift, (count, 3)), turns)


def noisy(particle: Particles, count: int, shift: float, turn: float, rng: np.random.Generator) -> Particles:
    """`count` particles around one: the noise of one level, shift [diameters], turn [rad] per axis."""
    turns = sample_rotations(count, turn, rng) @ particle.turns[:1]
    return Particles(particle.centers[:1] + rng.normal(0, shift, (count, 3)), turns)
