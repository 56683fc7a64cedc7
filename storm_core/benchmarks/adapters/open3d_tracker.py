"""Open3D's ICP as a tracker: the points around the last pose to the mesh, started at the last pose.

`python -m storm_core.benchmarks.adapters.open3d_tracker CLIP OUT point_to_plane|colored`
"""

import sys
from pathlib import Path

import numpy as np
import open3d

from storm_core.benchmarks.adapters.answering import answer, points_near
from storm_core.benchmarks.adapters.mesh_points import MeshPoints, mesh_points
from storm_core.benchmarks.protocol import Pose, Task
from storm_core.geometry.pose import inverse
from storm_core.types import Frame

REACH, VOXEL, RADIUS = 0.15, 0.02, 0.6
"""Largest distance of a correspondence, edge of a voxel and radius of the region looked at, in diameters."""
ITERATIONS = 30


class Open3dTracker:
    def __init__(self, mesh: MeshPoints, task: Task, *, colored: bool) -> None:
        self.stages: dict[str, float] = {}
        self._diameter, self._center, self._colored = task.diameter, mesh.center, colored
        target = _cloud(mesh.points, mesh.colors if colored else None)
        target.normals = open3d.utility.Vector3dVector(mesh.normals)
        self._target = target.voxel_down_sample(VOXEL * task.diameter)

    def start(self, frame: Frame, cam_from_obj: Pose) -> None:
        self._pose = cam_from_obj

    def track(self, frame: Frame) -> Pose | None:
        icp = open3d.pipelines.registration
        center = self._pose[:3, :3] @ self._center + self._pose[:3, 3]
        points, colors = points_near(frame, center, RADIUS * self._diameter)
        if len(points) < 50:
            return None
        source = _cloud(points, colors if self._colored else None).voxel_down_sample(VOXEL * self._diameter)
        stop = icp.ICPConvergenceCriteria(max_iteration=ITERATIONS)
        reach, begin = REACH * self._diameter, inverse(self._pose)
        if self._colored:
            result = icp.registration_colored_icp(source, self._target, reach, begin,
                                                  icp.TransformationEstimationForColoredICP(), stop)
        else:
            result = icp.registration_icp(source, self._target, reach, begin,
                                          icp.TransformationEstimationPointToPlane(), stop)
        pose = inverse(np.asarray(result.transformation))
        if not np.isfinite(pose).all() or not len(result.correspondence_set):
            return None
        self._pose = pose
        return pose


def _cloud(points: Pose, colors: Pose | None) -> "open3d.geometry.PointCloud":
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    if colors is not None:
        cloud.colors = open3d.utility.Vector3dVector(colors)
    return cloud


if __name__ == "__main__":
    clip, out = map(Path, sys.argv[1:3])
    mesh = mesh_points(clip)
    if sys.argv[3] == "colored" and mesh.colors is None:
        sys.exit("coloured ICP needs a coloured mesh")
    open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
    answer(clip, out, lambda task: Open3dTracker(mesh, task, colored=sys.argv[3] == "colored"))
