"""Lamps for reference views: a few plain kinds of light, so that one mesh is seen bright, dim and from any side."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAMMA = 2.2
"""Display-referred colour is linear light to the power 1 / GAMMA."""


@dataclass(frozen=True)
class Light:
    """Lambertian light in the camera frame.

    Attributes:
      ambient: share of light from everywhere. head: share from the camera itself.
      side: share from `towards`. towards: unit vector from the surface to the lamp (x right, y down, z forward).
      tint: colour of all light, linear RGB.
    """

    ambient: float
    head: float
    side: float
    towards: tuple[float, float, float]
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


LIGHTS = {
    "studio": Light(0.40, 0.35, 0.35, (-0.48, -0.64, -0.60)),
    "left": Light(0.22, 0.10, 0.85, (-0.80, -0.36, -0.48), (1.0, 0.94, 0.85)),
    "right": Light(0.22, 0.10, 0.85, (0.80, -0.36, -0.48), (0.88, 0.95, 1.0)),
    "dim": Light(0.22, 0.18, 0.12, (0.0, -0.96, -0.28)),
}
"""By name; the first is the one that a single set of views is lit with."""


def lit(color: NDArray[np.uint8], normal: NDArray[np.float32], light: Light) -> NDArray[np.uint8]:
    """Shaded colours (..., 3) uint8 from unlit ones and camera-frame unit normals (..., 3) that face the camera."""
    linear = (color.astype(np.float32) / 255) ** GAMMA
    side = np.clip(normal @ np.array(light.towards, np.float32), 0, None)
    # A head light far behind the camera: its direction is the view axis.
    head = np.clip(-normal[..., 2], 0, None)
    strength = light.ambient + light.head * head + light.side * side
    out = np.clip(linear * strength[..., None] * np.array(light.tint, np.float32), 0, 1) ** (1 / GAMMA)
    return np.round(out * 255).astype(np.uint8)
