"""Initial poses when only a mask is known: a rotation grid, translation from the masked depth."""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import crop_focal
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation
from storm_core.geometry.viewpoints import super_fibonacci_rotations
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Frame


def poses_from_mask(frame: Frame, model: ObjectModel, mask: NDArray[np.bool_], n_rotations: int) -> NDArray[np.float64]:
    """(n_rotations, 4, 4) poses whose rendered visible centroid falls on the mask's, or (0, 4, 4) without depth in it.

    The first guess puts the centre a quarter diameter behind the median surface point; one small render per rotation
    then moves it so that rendered and measured surface centroids coincide.
    """
    seen = mask & (frame.depth > 0)
    if seen.sum() < 20:
        return np.zeros((0, 4, 4))
    v, u = np.nonzero(seen)
    z = frame.depth[v, u].astype(float)
    near = np.abs(z - np.sort(z)[len(z) // 2]) < model.diameter
    observed = frame.camera.back_project(np.stack([u[near], v[near]], -1), z[near]).mean(0)
    direction = observed / np.linalg.norm(observed)
    rotations = super_fibonacci_rotations(n_rotations)
    start = observed + 0.25 * model.diameter * direction
    poses = from_rotation_translation(rotations, start - rotations @ model.center)
    side, step = 48, 1.3 * model.diameter * crop_focal(frame.camera.fx, frame.camera.fy) / start[2] / 48
    middle = frame.camera.project(start)
    camera = frame.camera.crop(
        middle[0] - step * (side - 1) / 2, middle[1] - step * (side - 1) / 2, 1 / step, side, side
    )
    depth, _ = NumbaRenderer().depth(model.coarse, poses, camera)
    rv, ru = np.indices((side, side))
    rays = np.stack([(ru - camera.cx) / camera.fx, (rv - camera.cy) / camera.fy, np.ones((side, side))], -1)
    count = np.maximum((depth > 0).sum((1, 2)), 1)[:, None]
    rendered = (depth[..., None] * rays).sum((1, 2)) / count
    poses[:, :3, 3] += observed - rendered
    return poses
