"""What the tracker knows about one object."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import proper
from storm_core.tracking.histogram import ColorModel
from storm_core.tracking.motion import Velocity
from storm_core.tracking.reseed import Seen
from storm_core.tracking.sparse_model import SparseView
from storm_core.tracking.texture import KeyFrame
from storm_core.tracking.uncertainty import turned_axes

HISTORY = 90
"""Poses remembered for corrections that arrive late."""


@dataclass(eq=False, kw_only=True)
class TrackState:
    """What the tracker knows about one object; covariance at the object centre.

    Attributes:
      anchor: the last frame that held the object firmly and its pose there: the motion of the scene starts from it.
      last: the last frame and the pose in it, whatever it is worth.
      unsure: constant velocity must not be taken on trust: the last fit left a direction open, or there was none.
      contradicted, coasted: frames in a row that see through the object, and that hold too little of it.
      quality, explained, contrast: what the object's fits usually reach.
      key_covariance: of the pose in the key frame, in the axes of the object.
    """

    model: ObjectModel
    cam_from_obj: NDArray[np.float64]
    covariance: NDArray[np.float64]
    stamp_ns: int
    colors: ColorModel
    quality: float
    explained: float
    contrast: float
    anchor: Seen
    last: Seen
    key_covariance: NDArray[np.float64]
    velocity: Velocity = field(default_factory=Velocity)
    contradicted: int = 0
    coasted: int = 0
    unsure: bool = False
    key: KeyFrame | None = None
    view: SparseView | None = None
    history: deque[tuple[int, NDArray[np.float64]]] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def see_from(self, cam_from_earlier_cam: NDArray[np.float64]) -> None:
        """The camera has moved by this (4, 4): the same belief about the object, as seen from the new place."""
        turn = cam_from_earlier_cam[:3, :3]
        self.cam_from_obj = proper(cam_from_earlier_cam @ self.cam_from_obj)
        self.velocity = Velocity(turn @ self.velocity.linear, turn @ self.velocity.angular)
        self.covariance = turned_axes(self.covariance, turn)
