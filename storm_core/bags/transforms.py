"""The tf tree of a bag: where one frame is in another at any time, along any chain of moving and fixed frames."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storm_core.bags.decode import stamp_ns
from storm_core.bags.pose_topics import matrix
from storm_core.bags.trajectory import Trajectory
from storm_core.errors import DatasetError
from storm_core.geometry.pose import inverse

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader

GAP_NS = 500_000_000
"""Transforms further apart than this are not interpolated [ns]."""
_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")

Edge = tuple[str, str]
"""(parent, child)"""


@dataclass(frozen=True, eq=False)
class TransformTree:
    """moving, fixed: parent_from_child of each edge, over time and for all times (4, 4)."""

    moving: Mapping[Edge, Trajectory]
    fixed: Mapping[Edge, NDArray[np.float64]]

    @property
    def frames(self) -> list[str]:
        """All frames, sorted."""
        return sorted({frame for edge in (*self.moving, *self.fixed) for frame in edge})

    def lookup(self, target: str, source: str,
               stamps_ns: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """target_from_source (N, 4, 4) at these stamps, and where it is known (N,).

        A moving transform is interpolated between the two stamps around; before its first and after its last one
        nothing is known.

        Raises:
          DatasetError: no chain of transforms connects the two frames; names the frames there are.
        """
        poses = np.tile(np.eye(4), (len(stamps_ns), 1, 1))
        known = np.ones(len(stamps_ns), bool)
        for edge, forward in self._chain(target.lstrip("/"), source.lstrip("/")):
            step, there = self._edge(edge, stamps_ns)
            poses = poses @ (step if forward else inverse(step))
            known &= there
        return poses, known

    def connects(self, target: str, source: str) -> bool:
        """Whether a chain of transforms leads from one frame to the other."""
        return self._path(target.lstrip("/"), source.lstrip("/")) is not None

    def _edge(self, edge: Edge, stamps_ns: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        if edge in self.moving:
            return self.moving[edge].at(stamps_ns, gap_ns=GAP_NS)
        return np.tile(self.fixed[edge], (len(stamps_ns), 1, 1)), np.ones(len(stamps_ns), bool)

    def _chain(self, target: str, source: str) -> list[tuple[Edge, bool]]:
        path = self._path(target, source)
        if path is None:
            missing = [f for f in (target, source) if f not in self.frames]
            problem = f"knows no frame {missing[0]!r}" if missing else f"has no chain from {source!r} to {target!r}"
            raise DatasetError(f"the tf of the bag {problem}; its frames are {', '.join(self.frames) or 'none'}")
        return path

    def _path(self, target: str, source: str) -> list[tuple[Edge, bool]] | None:
        """Edges from target to source; True where the edge leads from parent to child. Breadth first."""
        neighbours: dict[str, list[tuple[str, Edge, bool]]] = {}
        for parent, child in (*self.fixed, *self.moving):
            neighbours.setdefault(parent, []).append((child, (parent, child), True))
            neighbours.setdefault(child, []).append((parent, (parent, child), False))
        came: dict[str, tuple[str, Edge, bool] | None] = {target: None}
        queue = deque([target])
        while queue and source not in came:
            here = queue.popleft()
            for there, edge, forward in neighbours.get(here, ()):
                if there not in came:
                    came[there] = (here, edge, forward)
                    queue.append(there)
        if source not in came:
            return None
        path: list[tuple[Edge, bool]] = []
        at: str = source
        while (step := came[at]) is not None:
            at = step[0]
            path.append((step[1], step[2]))
        return path[::-1]


def read_tree(reader: "AnyReader") -> TransformTree:
    """The tree of all /tf and /tf_static messages (with any namespace before)."""
    moving: dict[Edge, dict[int, NDArray[np.float64]]] = {}
    fixed: dict[Edge, NDArray[np.float64]] = {}
    wanted = [c for c in reader.connections if c.msgtype in _TYPES]
    for connection, _, raw in reader.messages(connections=wanted) if wanted else ():
        for item in reader.deserialize(raw, connection.msgtype).transforms:
            edge = (item.header.frame_id.lstrip("/"), item.child_frame_id.lstrip("/"))
            pose = matrix(item.transform.translation, item.transform.rotation, f"{connection.topic} {edge}")
            if connection.topic.endswith("static"):
                fixed[edge] = pose
            else:
                moving.setdefault(edge, {})[stamp_ns(item)] = pose
    return TransformTree(moving={edge: Trajectory.of(poses) for edge, poses in moving.items()}, fixed=fixed)
