"""What belongs together when poses are judged: the estimates of one object in one image, and its instances there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.dataset import Annotation
from storm_core.bop.results import PoseEstimate
from storm_core.metrics.detection import ESTIMATES_PER_IMAGE

Annotations = Mapping[int, Mapping[int, tuple[Annotation, ...]]]
"""scene_id -> im_id -> annotated instances."""

Target = tuple[int, int, int]
"""(scene_id, im_id, obj_id); one per instance."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseGroup:
    """One object in one image.

    Attributes:
      estimates: in order of falling score. detected: (E,) those among the best of their image, which detection counts.
      instances: all that are annotated, also those that nobody has to find.
      wanted: how many are to be found.
    """

    scene_id: int
    im_id: int
    obj_id: int
    estimates: tuple[PoseEstimate, ...]
    detected: NDArray[np.bool_]
    instances: tuple[Annotation, ...]
    wanted: int

    @property
    def key(self) -> tuple[int, int]:
        return self.scene_id, self.im_id

    @property
    def visible(self) -> NDArray[np.float64]:
        """(G,) visible share of each instance; 1 where it is not recorded."""
        return np.nan_to_num(np.array([i.visible for i in self.instances], float), nan=1.0)

    @property
    def poses(self) -> NDArray[np.float64]:
        """(E, 4, 4)."""
        return np.array([e.cam_from_obj for e in self.estimates], float).reshape(-1, 4, 4)

    @property
    def truths(self) -> NDArray[np.float64]:
        """(G, 4, 4)."""
        return np.array([i.cam_from_obj for i in self.instances], float).reshape(-1, 4, 4)


def group_poses(annotations: Annotations, targets: Sequence[Target], predictions: Iterable[PoseEstimate],
                images: Sequence[tuple[int, int]] = ()) -> list[PoseGroup]:
    """Groups of every object that is annotated or sought in the images of the targets, in the order of the targets.

    Args:
      images: (scene_id, im_id) to look at, default: those of the targets.
    """
    by_image: dict[tuple[int, int], list[PoseEstimate]] = {}
    for p in predictions:
        by_image.setdefault((p.scene_id, p.im_id), []).append(p)
    wanted: dict[tuple[int, int], dict[int, int]] = {key: {} for key in images}
    for scene_id, im_id, obj_id in targets:
        here = wanted.setdefault((scene_id, im_id), {})
        here[obj_id] = here.get(obj_id, 0) + 1
    out = []
    for key, sought in wanted.items():
        instances = annotations[key[0]].get(key[1], ())
        ranked = sorted(by_image.get(key, ()), key=lambda p: -p.score)
        best = {id(p) for p in ranked[:ESTIMATES_PER_IMAGE]}
        for obj_id in dict.fromkeys([*(i.obj_id for i in instances), *sought]):
            mine = tuple(p for p in ranked if p.obj_id == obj_id)
            out.append(PoseGroup(
                scene_id=key[0], im_id=key[1], obj_id=obj_id, estimates=mine,
                detected=np.array([id(p) in best for p in mine], bool),
                instances=tuple(i for i in instances if i.obj_id == obj_id), wanted=sought.get(obj_id, 0)))
    return out
