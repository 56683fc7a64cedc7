"""What orders candidate poses of one object in one frame: the verifier, and the mask when somebody gave one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.columns import N_INSIDE, N_MODEL, N_OCCLUDED
from storm_core.evidence.compare import compare
from storm_core.evidence.features import FrameFeatures
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.registration.given_mask import mask_agreement, mask_log_odds


@dataclass(frozen=True, eq=False)
class Judge:
    """Attributes:
    mask: (H, W) bool, where somebody says that the object is; None = nobody says anything.
    least_seen: share of the silhouette that must be in view: a pose with less ranks last of all (-inf). What is hidden
      contradicts nothing, so that a search that only wants no contradiction ends behind the next occluder.
    """

    features: FrameFeatures
    model: ObjectModel
    mask: NDArray[np.bool_] | None = None
    least_seen: float = 0.0

    def judge(self, cam_from_objs: NDArray[np.float64], side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rank and log-odds (N,) of poses (N, 4, 4); side: crop resolution [px]."""
        return self.judged(self.table(cam_from_objs, side), cam_from_objs, side)

    def table(self, cam_from_objs: NDArray[np.float64], side: int) -> NDArray[np.float64]:
        """The comparison (N, COLUMNS) of poses (N, 4, 4) with the frame, in crops of `side` px."""
        return compare(self.features, self.model, cam_from_objs, side=side, mask=self.mask)

    def judged(self, table: NDArray[np.float64], cam_from_objs: NDArray[np.float64], side: int
               ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What `judge` says of poses whose `table` is there already."""
        rank, odds = VERIFIER.ranking(table), VERIFIER.table_log_odds(table)
        if self.least_seen > 0:
            in_view = table[:, N_INSIDE] - table[:, N_OCCLUDED]
            rank[in_view < self.least_seen * table[:, N_MODEL]] = -np.inf
        if self.mask is None:
            return rank, odds
        camera = self.features.frame.camera
        told = mask_log_odds(mask_agreement(table, cam_from_objs, self.model, camera, self.mask, side))
        return rank + told, odds + told

    def ordered(self, cam_from_objs: NDArray[np.float64], side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The poses best first, and their log-odds."""
        rank, odds = self.judge(cam_from_objs, side)
        order = np.argsort(-rank, kind="stable")
        return cam_from_objs[order], odds[order]
