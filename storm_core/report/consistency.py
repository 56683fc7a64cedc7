"""`objects.<name>.self_consistency` of results.json."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.self_consistency import self_consistency
from storm_core.report.series import ObjectSeries


def consistency_figures(series: ObjectSeries, model: ObjectModel,
                        world_from_cam: NDArray[np.float64] | None) -> dict[str, Any]:
    """See `metrics.self_consistency`; `reregistrations` is None when the system does not say what it does.

    Args:
      world_from_cam: (N, 4, 4), nan where unknown; None = no world is known in which the object stands still.
    """
    poses = np.where(series.trusted[:, None, None], series.cam_from_obj, np.nan)
    figures = self_consistency(series.stamps_ns.tolist(), poses, model.symmetries, model.center, world_from_cam)
    return figures | {"reregistrations": None if series.reregistered is None else int(series.reregistered.sum())}
