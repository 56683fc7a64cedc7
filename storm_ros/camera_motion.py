"""Where the camera is in a frame that does not move, as tf says."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from storm_core.errors import InputError

if TYPE_CHECKING:
    from storm_ros.tf_listener import TfListener

AHEAD_NS = 100_000_000
"""How far a motion is continued beyond the newest transform: images often arrive before their transforms do."""


def listen_to_tf(node: Node) -> "TfListener":
    """What reads tf takes a fifth of a second to import: nobody waits for it who does not need tf."""
    from storm_ros.tf_listener import TfListener

    return TfListener(node)


class CameraMotion:
    """`pose` from any thread; knows nothing when the fixed frame has no name."""

    def __init__(self, node: Node, fixed_frame: str) -> None:
        self._fixed_frame = fixed_frame
        self._tf = listen_to_tf(node) if fixed_frame else None
        self._problem = ""

    def pose(self, frame_id: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """fixed_from_cam (4, 4) [m] of the camera with this tf name, or None."""
        if self._tf is None:
            return None
        try:
            found = self._tf.lookup(self._fixed_frame, frame_id, stamp_ns, ahead_ns=AHEAD_NS)
        except InputError as error:
            self._problem = f"input.fixed_frame: {error}"
            return None
        self._problem = ""
        return found

    def problems(self) -> list[str]:
        """Why the newest pose is not known."""
        return [self._problem] if self._problem else []

    def destroy(self) -> None:
        if self._tf is not None:
            self._tf.destroy()
