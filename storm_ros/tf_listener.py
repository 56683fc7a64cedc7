"""Where one tf frame is in another: the last seconds of /tf, and /tf_static. PyPI has no tf2_ros."""

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from storm_core.bags.trajectory import Trajectory, interpolate
from storm_core.bags.transforms import Edge, TransformTree
from storm_core.errors import DatasetError, InputError
from storm_core.geometry.pose import from_rotation_translation
from storm_ros import names, qos
from storm_ros.conversions import rotation_of, stamp_ns
from storm_ros.sync import RESTART_NS

KEPT = 400
"""Transforms of each moving pair of frames that are remembered: four seconds at 100 Hz."""


Stamped = deque[tuple[int, NDArray[np.float64]]]
"""Poses and their stamps, oldest first."""


class TfListener:
    """Subscribes on a node; `lookup` from any thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._fixed: dict[Edge, NDArray[np.float64]] = {}
        self._moving: dict[Edge, Stamped] = {}
        self._subscriptions = [
            node.create_subscription(TFMessage, names.TF, self._on_moving, qos.transforms()),
            node.create_subscription(TFMessage, names.TF_STATIC, self._on_fixed, qos.fixed_transforms())]

    def destroy(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def lookup(self, target: str, source: str, stamp: int, *, ahead_ns: int = 0) -> NDArray[np.float64]:
        """target_from_source (4, 4) [m] at a stamp [ns].

        Args:
          ahead_ns: a motion goes on evenly for so long after the newest transform that is known.

        Raises:
          InputError: no chain of transforms leads from one frame to the other, or it is not known at this time.
        """
        if target.lstrip("/") == source.lstrip("/"):
            return np.eye(4)
        with self._lock:
            around = {edge: Trajectory.of(_around(poses, stamp, ahead_ns)) for edge, poses in self._moving.items()
                      if poses}
            tree = TransformTree(moving=around, fixed=dict(self._fixed))
        try:
            poses, known = tree.lookup(target, source, [stamp])
        except DatasetError as error:
            raise InputError(str(error).replace("the tf of the bag", "tf")) from error
        if not known[0]:
            raise InputError(f"tf does not know where {source!r} was in {target!r} at {stamp * 1e-9:.3f} s")
        return poses[0]

    def _on_fixed(self, message: TFMessage) -> None:
        with self._lock:
            for item in message.transforms:
                pose = self._pose_of(item)
                if pose is not None:
                    self._fixed[_edge(item)] = pose

    def _on_moving(self, message: TFMessage) -> None:
        with self._lock:
            for item in message.transforms:
                poses = self._moving.setdefault(_edge(item), deque(maxlen=KEPT))
                at = stamp_ns(item.header.stamp)
                if poses and at < poses[-1][0] - RESTART_NS:
                    poses.clear()  # the clock has started again
                if poses and at <= poses[-1][0]:  # one that comes late or twice adds nothing that counts
                    continue
                pose = self._pose_of(item)
                if pose is not None:
                    poses.append((at, pose))

    def _pose_of(self, item: object) -> NDArray[np.float64] | None:
        """None for a transform that is none; it concerns its own pair of frames alone."""
        t = item.transform.translation
        try:
            return from_rotation_translation(rotation_of(item.transform.rotation), [t.x, t.y, t.z])
        except InputError as error:
            self._node.get_logger().warning(f"tf of {item.child_frame_id!r} in {item.header.frame_id!r}: {error}",
                                            throttle_duration_sec=5.0)
            return None


def _around(poses: Stamped, stamp: int, ahead_ns: int) -> dict[int, NDArray[np.float64]]:
    """The newest pose until this stamp and the next one: all that a look-up needs of an edge, however long it lives."""
    out: dict[int, NDArray[np.float64]] = {}
    newest = poses[-1][0]
    if newest < stamp <= newest + ahead_ns and len(poses) > 1 and poses[-2][0] < newest:
        (before_ns, before), (_, last) = poses[-2], poses[-1]
        share = np.array([(stamp - before_ns) / (newest - before_ns)])
        return {stamp: interpolate(before[None], last[None], share)[0]}
    for at, pose in reversed(poses):
        if at > stamp:
            out = {at: pose}
        else:
            out[at] = pose
            break
    return out


def _edge(item: object) -> Edge:
    return item.header.frame_id.lstrip("/"), item.child_frame_id.lstrip("/")
