"""Poses that a right pose must beat: the same pose shifted, turned and mirrored.

A lone hypothesis would win by default. A pose on a surface that goes on, or of an object that is not there, looks about
as good when it is moved; a right one does not.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.columns import N_INLIER, N_MISSING, PICTURE
from storm_core.evidence.compare import TELLING_CONTRAST, crop_camera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.registration.judge import Judge
from storm_core.registration.picture_alone import BLOCK
from storm_core.registration.polish import perturbed
from storm_core.registration.twins import declared_distance

SHIFT, TURN = 0.2, 0.6
"""Size of the disturbed poses' error: diameters, radians."""

EXPECTED_MARGIN = 1.5
"""Lead over the best decoy [log-odds] that a right pose has; what is lacking counts against a pose, more does not count
for it: a wrong pose on a lonely surface stands out as well."""

GLANCE = 64
"""Side [px] of the crop in which pose and decoys are compared."""

DIFFERENT = 0.12
"""MSSD [diameters] below which a decoy looks like the pose by symmetry."""


def decoys(model: ObjectModel, cam_from_obj: NDArray[np.float64],
           twins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N, 4, 4) that differ from `cam_from_obj` (4, 4) by more than any of its symmetries.

    Args:
      twins: (S, 4, 4) obj -> obj turns that look the same although nothing declares it (identity included).
    """
    steps = np.concatenate([np.eye(6), -np.eye(6)]) * ([SHIFT * model.diameter] * 3 + [TURN] * 3)
    moved = perturbed(np.repeat(cam_from_obj[None], len(steps), 0), model.center, steps)
    pivot = cam_from_obj[:3, :3] @ model.center + cam_from_obj[:3, 3]
    others = []
    for axis in range(3):
        half_turn = so3_exp(np.pi * np.eye(3)[axis])
        mirrored = np.diag([1.0, 1.0, -1.0]) @ cam_from_obj[:3, :3] @ np.diag(1.0 - 2.0 * np.eye(3)[axis])
        for rotation in (cam_from_obj[:3, :3] @ half_turn, mirrored):
            pose = np.eye(4)
            pose[:3, :3] = rotation
            pose[:3, 3] = pivot - rotation @ model.center
            others.append(pose)
    poses = np.concatenate([moved, others])
    same = [min(declared_distance(model, cam_from_obj @ twin, pose) for twin in twins) for pose in poses]
    return poses[np.array(same) > DIFFERENT * model.diameter]


def decoy_margin(judge: Judge, cam_from_obj: NDArray[np.float64], shape_symmetries: NDArray[np.float64],
                 contrast: float) -> float:
    """By how much [log-odds] a pose (4, 4) ranks above its best decoy, what the print surely says included; nan when it
    has none.

    Args:
      shape_symmetries: (S, 4, 4) turns that leave the shape alike. contrast: of the model's colours (see `Evidence`):
        what no colour can tell apart is no decoy, although nobody has declared it.
    """
    alike = not contrast >= 0.3 * TELLING_CONTRAST
    others = decoys(judge.model, cam_from_obj, shape_symmetries if alike else np.eye(4)[None])
    if len(others) == 0:
        return float("nan")
    poses = np.concatenate([cam_from_obj[None], others])
    table = judge.table(poses, GLANCE)
    rank, _ = judge.judged(table, poses, GLANCE)
    step = crop_camera(cam_from_obj, judge.model.center, judge.model.diameter, judge.features.frame.camera.vector,
                       GLANCE)[6]
    return float((rank[0] - rank[1:] + print_lead(table, step**2)).min())


def print_lead(table: NDArray[np.float64], area: float) -> NDArray[np.float64]:
    """What the print says for the first of 1 + N compared poses and against each other (N,) [log-odds], 0 to
    EXPECTED_MARGIN.

    The verifier weighs how well a picture fits, not how surely it fits better than another: of a faint print nothing
    fits well, but thousands of pixels that fit a little better are no chance. With Gaussian noise the likelihoods of
    two linear models of n samples differ by n/2 log((1 - b^2) / (1 - a^2)), a and b the correlations. Only where depth
    has placed the pose: what was searched by the picture is better than its neighbours there for that alone.

    Args:
      table: (1 + N, COLUMNS) of the comparison. area: pixels of the picture that a pixel of its crop stands for.
    """
    fits = np.clip(np.nan_to_num(table[:, PICTURE]), 0.0, 0.99)
    samples = np.where(table[:, N_INLIER] > table[:, N_MISSING], table[:, N_INLIER], 0.0) * area / BLOCK
    lead = np.minimum(samples[0], samples[1:]) / 2 * np.log((1 - fits[1:] ** 2) / (1 - fits[0] ** 2))
    return np.clip(lead, 0.0, EXPECTED_MARGIN)


def doubt(margin: float) -> float:
    """Log-odds (at most 0) to add for a pose with this lead over its best decoy; 0 when there is none (nan)."""
    return min(0.0, margin - EXPECTED_MARGIN) if margin == margin else 0.0
