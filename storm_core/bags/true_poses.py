"""Ground truth as values: where the instances of an object really are, frame by frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.bags.trajectory import Trajectory

VISIBLE_SHARE = 0.1
"""Share of the silhouette from which an object counts as visible."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TruthPose:
    """Where one instance of an object really is.

    Attributes:
      cam_from_obj: (4, 4) [m]. visible: visible share of the silhouette, nan when not known.
      good: accurate enough to measure errors against.
    """

    cam_from_obj: NDArray[np.float64]
    visible: float = float("nan")
    good: bool = True

    @property
    def is_visible(self) -> bool:
        """Visible share of at least 0.1; an object of unknown visibility counts as visible."""
        return not self.visible < VISIBLE_SHARE


Instances = tuple[TruthPose, ...] | None
"""() when the object is not in the picture, None when nothing is known about the frame."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """Ground truth frame by frame.

    Attributes:
      frames: object name -> for every frame of the recording the instances of the object: () when the object is
        not in the picture, None when nothing is known about the frame.
      source: where it comes from, for reports.
    """

    frames: Mapping[str, Sequence[Instances]]
    source: str


def single_instances(poses: NDArray[np.float64], known: NDArray[np.bool_]) -> list[Instances]:
    """Frames of an object that is there once, at poses (N, 4, 4), where it is known (N,)."""
    return [(TruthPose(cam_from_obj=pose),) if there else None for pose, there in zip(poses, known, strict=True)]


def along(poses: Mapping[int, NDArray[np.float64]], stamps_ns: Sequence[int]) -> list[Instances]:
    """Frames of an object with these stamped poses {stamp_ns: cam_from_obj}; see `Trajectory.at`."""
    return single_instances(*Trajectory.of(poses).at(stamps_ns))
