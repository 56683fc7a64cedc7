"""A clip: frames of one recording with one object in them, from its first well-known pose on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.bags.recording import Recording
from storm_core.bags.true_poses import Instances
from storm_core.errors import DatasetError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.types import Frame

DEPTH_UNIT_M = 1e-4
"""Depth is handed to every contender in whole multiples of this [m]; what lies beyond 6.5 m is missing."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
    """Attributes:
      name: recording and object. rgb: (N, H, W, 3) uint8.
      depth: (N, H, W) uint16, multiples of DEPTH_UNIT_M, aligned with colour, 0 = missing.
      stamps_ns: (N,). start: (4, 4) true cam_from_obj in the first frame [m], given to everybody.
      truths: ground truth of the object in every frame; never handed to a contender.
    """

    name: str
    model: ObjectModel
    camera: PinholeCamera
    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    stamps_ns: tuple[int, ...]
    start: NDArray[np.float64]
    truths: tuple[Instances, ...]

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def frame(self, index: int) -> Frame:
        """One frame as STORM's stages take it."""
        return frame_of(self.rgb[index], self.depth[index], self.camera, self.stamps_ns[index])


def frame_of(rgb: NDArray[np.uint8], depth: NDArray[np.uint16], camera: PinholeCamera, stamp_ns: int) -> Frame:
    """A Frame from images as the clip holds them."""
    return Frame(rgb=np.array(rgb), depth=(depth * DEPTH_UNIT_M).astype(np.float32), camera=camera, stamp_ns=stamp_ns)


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """A clip before its images are read: `frames` (first, last + 1) of the recording."""

    name: str
    recording: Recording
    model: ObjectModel
    truths: Sequence[Instances]
    frames: tuple[int, int]

    def read(self) -> Clip:
        """The clip.

        Raises:
          DatasetError: the camera changes from frame to frame, which most trackers cannot follow.
        """
        first, last = self.frames
        rgb, depth, camera = [], [], None
        for frame in self.recording.frames(range(first, last)):
            camera = camera or frame.camera
            if frame.camera != camera:
                raise DatasetError(f"{self.recording.path}: the camera changes from frame to frame; trackers are "
                                   "compared with one camera only")
            rgb.append(frame.rgb)
            counts = np.rint(frame.depth / DEPTH_UNIT_M)
            depth.append(np.where(counts <= np.iinfo(np.uint16).max, counts, 0).astype(np.uint16))
        start = self.truths[first]
        assert start and camera is not None
        return Clip(name=self.name, model=self.model, camera=camera, rgb=np.stack(rgb), depth=np.stack(depth),
                    stamps_ns=tuple(self.recording.stamps_ns[first:last]), start=start[0].cam_from_obj,
                    truths=tuple(self.truths[first:last]))


def plan_clip(name: str, recording: Recording, model: ObjectModel, truths: Sequence[Instances],
              max_frames: int = 0) -> Plan | str:
    """The clip of one object, or why there is none.

    It begins where exactly one instance is visible and its pose is known well.

    Args:
      truths: of every frame of the recording. max_frames: longest clip, 0 = no limit.
    """
    first = next((k for k, t in enumerate(truths) if t and len(t) == 1 and t[0].good and t[0].is_visible), None)
    if first is None:
        return "in no frame exactly one instance of it is visible with good ground truth"
    last = min(len(recording), first + max_frames) if max_frames else len(recording)
    if last - first < 2:
        return "only one frame is left after the one it starts in"
    return Plan(name=name, recording=recording, model=model, truths=truths, frames=(first, last))
