"""Single poses over a BOP dataset: every target counts, found or not."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from storm_core.bags.truth import VISIBLE_SHARE
from storm_core.bop.dataset import Annotation
from storm_core.bop.results import PoseEstimate
from storm_core.errors import DatasetError
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.pose_error import add, adds, mssd
from storm_core.metrics.scores import auc, quantiles, recall
from storm_core.report.evaluate import RECALL_SHARE

Annotations = Mapping[int, Mapping[int, tuple[Annotation, ...]]]
"""scene_id -> im_id -> annotated instances."""

Target = tuple[int, int, int]
"""(scene_id, im_id, obj_id); one per instance."""


def find_targets(annotations: Annotations, listed: Sequence[Target]) -> list[Target]:
    """The listed targets of the known scenes, or every well annotated, visible instance when nothing is listed."""
    if listed:
        targets = [t for t in listed if t[0] in annotations]
        if not targets:
            raise DatasetError(f"none of the {len(listed)} listed targets is in scenes {sorted(annotations)}; "
                               "use --all-annotations")
        return targets
    targets = [(scene_id, im_id, a.obj_id) for scene_id, images in annotations.items()
               for im_id, instances in images.items() for a in instances
               if a.good and not a.visible < VISIBLE_SHARE]
    if not targets:
        raise DatasetError(f"scenes {sorted(annotations)} hold no visible annotated object")
    return targets


def pose_figures(annotations: Annotations, targets: Sequence[Target], predictions: Sequence[PoseEstimate],
                 models: Mapping[str, ObjectModel]) -> dict[str, dict[str, Any]]:
    """{object id as text: figures over its targets}. Models are named by their BOP id."""
    by_place: dict[Target, list[PoseEstimate]] = {}
    for p in predictions:
        by_place.setdefault((p.scene_id, p.im_id, p.obj_id), []).append(p)
    errors: dict[str, list[tuple[float, float, float]]] = {name: [] for name in models}
    for place in dict.fromkeys(targets):
        name = str(place[2])
        wanted = targets.count(place)
        instances = [a for a in annotations[place[0]].get(place[1], ()) if a.obj_id == place[2]]
        # As many estimates as there are instances to find; more would only be guessing.
        best = sorted(by_place.get(place, []), key=lambda p: -p.score)[:wanted]
        errors[name] += _match(best, instances, models[name], wanted)
    out = {}
    for name, model in models.items():
        add_m, adds_m, mssd_m = np.array(errors[name], float).reshape(-1, 3).T
        limit = RECALL_SHARE * model.diameter
        out[name] = {"targets": len(add_m), "predicted": int(np.isfinite(add_m).sum()), "add_auc": auc(add_m),
                     "adds_auc": auc(adds_m), "add_01d": recall(add_m, limit), "adds_01d": recall(adds_m, limit),
                     "mssd_mm": quantiles(1e3 * mssd_m, p50=0.5, p90=0.9, p99=0.99)}
    return out


def _match(estimates: Sequence[PoseEstimate], instances: Sequence[Annotation], model: ObjectModel,
           wanted: int) -> list[tuple[float, float, float]]:
    """(ADD, ADD-S, MSSD) of each of the `wanted` instances; inf for those that no estimate was left for.

    Estimates and instances are paired so that the sum of MSSD is smallest.
    """
    missing = (float("inf"),) * 3
    if not estimates or not instances:
        return [missing] * wanted
    tree = cKDTree(model.eval_vertices)
    points = model.eval_vertices
    cost = np.array([[mssd(e.cam_from_obj, i.cam_from_obj, points, model.symmetries) for i in instances]
                     for e in estimates])
    pairs = list(zip(*linear_sum_assignment(cost), strict=True))
    found = [(add(estimates[r].cam_from_obj, instances[c].cam_from_obj, points),
              adds(estimates[r].cam_from_obj, instances[c].cam_from_obj, points, tree), float(cost[r, c]))
             for r, c in pairs]
    return found + [missing] * (wanted - len(found))
