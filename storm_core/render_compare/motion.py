"""Motions of hypotheses as the refiner says them: in camera axes, shift and turn apart (FoundationPose, eq. 3, 4)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from storm_core.geometry.pose import from_rotation_translation, so3_exp, so3_log
from storm_core.render_compare.shape import Scaling


def centers(cam_from_objs: NDArray[np.float64], center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Camera-frame object centres (..., 3) [m] of poses (..., 4, 4)."""
    return cam_from_objs[..., :3, :3] @ center + cam_from_objs[..., :3, 3]


def moved(cam_from_objs: NDArray[np.float64], center: NDArray[np.float64], shift: ArrayLike,
          turn: ArrayLike) -> NDArray[np.float64]:
    """Poses (N, 4, 4) whose centres moved by shift (N, 3) [m] and that turned about them by rotations (N, 3, 3)."""
    rotation = np.asarray(turn, float) @ cam_from_objs[:, :3, :3]
    return from_rotation_translation(rotation, centers(cam_from_objs, center) + shift - rotation @ center)


def motion_between(wanted: NDArray[np.float64], given: NDArray[np.float64], center: NDArray[np.float64]
                   ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shift [m] and turn (axis-angle) [rad], (N, 3) each, that take the poses `given` to `wanted`, (N, 4, 4)."""
    turn = so3_log(wanted[:, :3, :3] @ np.swapaxes(given[:, :3, :3], 1, 2))
    return centers(wanted, center) - centers(given, center), turn


def read_motion(shift: NDArray[np.float32], turn: NDArray[np.float32], scaling: Scaling, diameter: float
                ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shift (N, 3) [m] and rotation (N, 3, 3) of a network's raw outputs (N, 3) and (N, 3 or 6)."""
    if scaling.shift is None:
        metres = shift.astype(float) * diameter / 2
    else:
        metres = np.tanh(shift.astype(float)) * np.asarray(scaling.shift)
    if turn.shape[1] == 3:
        return metres, so3_exp(np.tanh(turn.astype(float)) * scaling.turn)
    return metres, _from_columns(turn.astype(float))


def _from_columns(six: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (N, 3, 3) of two unfinished columns each (Zhou et al., CVPR 2019)."""
    first = six[:, :3] / np.linalg.norm(six[:, :3], axis=1, keepdims=True)
    second = six[:, 3:] - (six[:, 3:] * first).sum(1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], -1)
