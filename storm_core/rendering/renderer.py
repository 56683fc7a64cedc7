"""The one rendering interface. Outputs are per pose; background has depth 0 and face -1."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel


@dataclass(frozen=True, eq=False)
class Rendering:
    """Renderings of N poses, each h x w px.

    Attributes:
      depth: (N, h, w) float32, z-depth [m], 0 = background.
      face: (N, h, w) int32 face index, -1 = background.
      normal: (N, h, w, 3) float32 unit face normals in the camera frame, pointing at the camera; 0 = background.
      color: (N, h, w, 3) uint8 interpolated vertex colours (unlit), or None for an uncoloured mesh.
    """

    depth: NDArray[np.float32]
    face: NDArray[np.int32]
    normal: NDArray[np.float32]
    color: NDArray[np.uint8] | None

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.face >= 0


class Renderer(Protocol):
    def render(
        self, model: ObjectModel, cam_from_objs: NDArray[np.float64], cameras: PinholeCamera | list[PinholeCamera]
    ) -> Rendering:
        """Render poses (N, 4, 4) with one camera for all or one per pose (all of the same image size)."""
        ...
