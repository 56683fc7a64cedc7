"""`small_gicp` as a tracker: GICP of the points around the last pose to the mesh, started at the last pose.

`python -m storm_core.benchmarks.adapters.small_gicp_tracker CLIP OUT`
"""

import sys
from pathlib import Path

import numpy as np
import small_gicp

from storm_core.benchmarks.adapters.answering import answer, points_near
from storm_core.benchmarks.adapters.mesh_points import mesh_points
from storm_core.benchmarks.protocol import Pose, Task
from storm_core.geometry.pose import inverse
from storm_core.types import Frame

REACH, VOXEL, RADIUS = 0.15, 0.02, 0.6
"""Largest distance of a correspondence, edge of a voxel and radius of the region looked at, in diameters."""


class SmallGicpTracker:
    def __init__(self, clip: Path, task: Task) -> None:
        mesh = mesh_points(clip)
        self.stages: dict[str, float] = {}
        self._diameter, self._center = task.diameter, mesh.center
        self._target, self._tree = small_gicp.preprocess_points(mesh.points, VOXEL * task.diameter, num_threads=1)

    def start(self, frame: Frame, cam_from_obj: Pose) -> None:
        self._pose = cam_from_obj

    def track(self, frame: Frame) -> Pose | None:
        center = self._pose[:3, :3] @ self._center + self._pose[:3, 3]
        points, _ = points_near(frame, center, RADIUS * self._diameter)
        if len(points) < 50:
            return None
        source, _ = small_gicp.preprocess_points(points, VOXEL * self._diameter, num_threads=1)
        if source.size() < 20:
            return None
        result = small_gicp.align(self._target, source, self._tree, inverse(self._pose), registration_type="GICP",
                                  max_correspondence_distance=REACH * self._diameter, num_threads=1)
        pose = inverse(np.asarray(result.T_target_source))
        if not np.isfinite(pose).all():
            return None
        self._pose = pose
        return pose


if __name__ == "__main__":
    clip, out = map(Path, sys.argv[1:])
    answer(clip, out, lambda task: SmallGicpTracker(clip, task))
