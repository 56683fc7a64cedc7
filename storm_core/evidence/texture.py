"""Whether the colours of a model can tell anything."""

import numpy as np

from storm_core.evidence.compare import TELLING_CONTRAST
from storm_core.geometry.mesh import ObjectModel

LOG_OFFSET = 16.0
"""Added to a colour before its logarithm is taken, as the comparison of pictures does."""

PLAIN = 0.3 * TELLING_CONTRAST
"""Standard deviation of the log colour below which a surface is untextured, as for the decoys of registration."""


def is_textured(model: ObjectModel) -> bool:
    """Whether the colours of the surface vary enough to tell one pose or object from another."""
    if model.colors is None:
        return False
    corners = model.vertices[model.faces].astype(float)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    tone = np.log(model.colors[model.faces].astype(float) + LOG_OFFSET).mean(1)
    share = (area / area.sum())[:, None]
    variance = (share * tone**2).sum(0) - (share * tone).sum(0) ** 2
    return bool(np.sqrt(np.maximum(variance, 0).mean()) >= PLAIN)
