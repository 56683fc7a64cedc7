"""Where the contour of a rounded body lies in space."""

import numpy as np

from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.tracking.sparse_model import rendered_view
from test.unit.tracking.scenes import CAMERA, printed_can, wedge

CAN = printed_can()
RADIUS = 0.035


def test_contour_points_of_a_can_lie_on_the_lines_of_sight_that_touch_it() -> None:
    for tilt in (1.3, 1.6, 2.0):
        pose = from_rotation_translation(so3_exp([tilt, 0, 0]), [0.02, -0.01, 0.5])
        view = rendered_view(CAN, pose, CAMERA)
        side = np.abs(view.contour_points[:, 2]) < 0.04
        eye = -pose[:3, :3].T @ pose[:3, 3]
        ray = (view.contour_points - eye)[side, :2]
        along = ray / np.linalg.norm(ray, axis=1)[:, None]
        # The foot of the axis on the line of sight is where a cylinder is touched.
        behind = np.sum(view.contour_points[side, :2] * along, axis=1)
        assert side.sum() > 40
        assert np.median(np.abs(behind)) < 0.1 * RADIUS
        assert abs(behind.mean()) < 0.1 * RADIUS


def test_contour_points_of_sharp_edges_stay_on_the_body() -> None:
    model = wedge()
    for turn in ([0.4, 0.3, 0.1], [1.0, -0.5, 0.3]):
        pose = from_rotation_translation(so3_exp(turn), [0.0, 0.0, 0.5])
        points = rendered_view(model, pose, CAMERA).contour_points
        gap = np.linalg.norm(points[:, None] - model.vertices[None], axis=-1).min(1)
        assert np.quantile(gap, 0.9) < 0.01
