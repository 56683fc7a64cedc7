"""Constant-velocity prediction with damping; what is believed while the image says nothing."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import so3_log
from storm_core.kernels import njit
from storm_core.refinement.icp import apply_at

DAMPING = 0.9
"""Share of the velocity that survives one frame: hands and cameras change their mind."""

BLEND = 0.6
"""Weight of the newest velocity against the running one."""

SHORTEST = 0.005
"""Time between two images [s] below which their difference is rounding, or noise, as much as motion: it counts by the
share of this time that has passed."""

MAX_STEP = 0.25
"""Longest time a velocity is extrapolated over [s]."""


@dataclass(frozen=True, eq=False)
class Velocity:
    """Motion of the object centre in the camera frame.

    Attributes:
      linear: (3,) [m/s]. angular: (3,) [rad/s].
    """

    linear: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    angular: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def damped(self, factor: float) -> "Velocity":
        return Velocity(self.linear * factor, self.angular * factor)


def predict(
    cam_from_obj: NDArray[np.float64], center_obj: NDArray[np.float64], velocity: Velocity, dt: float
) -> NDArray[np.float64]:
    """The pose (4, 4) after dt [s] of damped constant velocity; center_obj (3,) is the point that moves straight."""
    step = DAMPING * min(max(dt, 0.0), MAX_STEP)
    return carried_kernel(cam_from_obj, center_obj, velocity.linear, velocity.angular, step)


@njit(cache=True)
def carried_kernel(cam_from_obj, center_obj, linear, angular, dt):
    """The pose (4, 4) after moving for dt [s] at constant velocity about the object's centre."""
    out, pivot, xi = cam_from_obj.copy(), np.empty(3), np.empty(6)
    for i in range(3):
        pivot[i] = out[i, 3]
        for k in range(3):
            pivot[i] += out[i, k] * center_obj[k]
        xi[i], xi[i + 3] = linear[i] * dt, angular[i] * dt
    apply_at(out, pivot, xi)
    return out


def observe(
    velocity: Velocity,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    center_obj: NDArray[np.float64],
    dt: float,
) -> Velocity:
    """The velocity after seeing the pose change from `before` to `after` (4, 4) in dt [s]."""
    if dt <= 0:
        return velocity
    change = after - before
    shift = change[:3, :3] @ center_obj + change[:3, 3]
    turn = so3_log(after[:3, :3] @ before[:3, :3].T)
    blend = BLEND * min(dt / SHORTEST, 1.0)
    return Velocity(
        velocity.linear + blend * (shift / dt - velocity.linear),
        velocity.angular + blend * (turn / dt - velocity.angular),
    )


def grown(covariance_at_center: NDArray[np.float64], dt: float, diameter: float) -> NDArray[np.float64]:
    """Covariance (6, 6) at the object centre after dt [s] without correction: random walk in the pose.

    The walk reaches a tenth of a diameter and 0.1 rad within about 0.1 s, the order of hand-held motion.
    """
    walk = dt / 0.1
    return covariance_at_center + np.diag([(0.1 * diameter) ** 2 * walk] * 3 + [0.1**2 * walk] * 3)
