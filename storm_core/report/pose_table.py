"""Single poses over a BOP dataset: every target counts, found or not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from storm_core.bags.truth import VISIBLE_SHARE
from storm_core.bop.models import EvalModel
from storm_core.bop.results import PoseEstimate
from storm_core.errors import DatasetError
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.pose_error_batch import add_batch, adds_batch, projected_batch
from storm_core.metrics.scores import auc, quantiles, recall
from storm_core.report.evaluate import RECALL_SHARE
from storm_core.report.pose_groups import Annotations, Target, group_poses
from storm_core.report.pose_measure import PoseErrors, measure_scene

_MM_PER_M = 1e3


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgedTargets:
    """One row per target of one object. Errors are inf where no estimate was left for it.

    Attributes:
      places: (scene_id, im_id) of each. score: of the estimate, nan without one.
      add_m, adds_m, mssd_m: [m]. mspd_px, proj_px: [px]. vsd: mean over its tolerances. nan = not measured.
    """

    places: tuple[tuple[int, int], ...]
    score: NDArray[np.float64]
    add_m: NDArray[np.float64]
    adds_m: NDArray[np.float64]
    mssd_m: NDArray[np.float64]
    mspd_px: NDArray[np.float64]
    proj_px: NDArray[np.float64]
    vsd: NDArray[np.float64]


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


def contradictions(annotations: Annotations, listed: Sequence[Target]) -> str:
    """Where the target list asks for more instances than are annotated; empty when it does so nowhere.

    Both cannot be right, and the figures take different sides: see the text.
    """
    asked = Counter(listed)
    there = {key: sum(a.obj_id == key[2] for a in annotations[key[0]].get(key[1], ())) for key in asked}
    wrong = [key for key, count in asked.items() if count > there[key]]
    if not wrong:
        return ""
    scene_id, im_id, obj_id = wrong[0]
    return (f"the target list contradicts scene_gt.json in {len(wrong)} places; first: {asked[wrong[0]]} of object "
            f"{obj_id} in scene {scene_id} image {im_id}, where {there[wrong[0]]} are annotated. ADD and ADD-S count "
            "what is not annotated as a failure, BOP's AR does not")


def judge_poses(annotations: Annotations, targets: Sequence[Target], predictions: Sequence[PoseEstimate],
                models: Mapping[str, ObjectModel]) -> dict[int, JudgedTargets]:
    """{object id: its targets}, without looking at images. Models are named by their BOP id."""
    known = {int(name): EvalModel.of(model) for name, model in models.items()}
    groups = [g for g in group_poses(annotations, targets, predictions) if g.obj_id in known]
    errors, _ = measure_scene(groups, known, None, ("mssd",))
    return {i: judge_targets([e for e in errors if e.group.obj_id == i], model) for i, model in known.items()}


def judge_targets(errors: Sequence[PoseErrors], model: EvalModel) -> JudgedTargets:
    """The targets of one object, each with the estimate that is assigned to it.

    Of each image as many estimates as it has targets count, those of highest score; they and the annotated instances
    are paired so that the sum of MSSD is smallest.
    """
    places: list[tuple[int, int]] = []
    rows: list[tuple[int, int, int, PoseErrors]] = []
    for e in errors:
        count = min(e.group.wanted, len(e.group.estimates))
        pairs = zip(*linear_sum_assignment(e.mssd_m[:count]), strict=True) if count and e.group.instances else ()
        rows += [(len(places) + k, int(r), int(c), e) for k, (r, c) in enumerate(pairs)]
        places += [e.group.key] * e.group.wanted
    at = np.array([row[0] for row in rows], int)
    poses = np.array([e.group.estimates[r].cam_from_obj for _, r, _, e in rows]).reshape(-1, 4, 4)
    truths = np.array([e.group.instances[c].cam_from_obj for _, _, c, e in rows]).reshape(-1, 4, 4)
    lenses = np.array([np.full(4, np.nan) if e.camera is None else e.camera.vector for *_, e in rows]).reshape(-1, 4)

    def column(values: Any, empty: float = np.inf) -> NDArray[np.float64]:
        out = np.full(len(places), empty)
        out[at] = values
        return out

    return JudgedTargets(
        places=tuple(places), score=column([e.group.estimates[r].score for _, r, _, e in rows], np.nan),
        add_m=column(add_batch(poses, truths, model.averaged)),
        adds_m=column(adds_batch(poses, truths, model.averaged, model.tree)),
        mssd_m=column([e.mssd_m[r, c] for _, r, c, e in rows]),
        mspd_px=column([np.nan if e.mspd_px is None else e.mspd_px[r, c] for _, r, c, e in rows]),
        proj_px=column(projected_batch(poses, truths, model.averaged, lenses)),
        vsd=column([np.nan if e.vsd is None else e.vsd[r, c].mean() for _, r, c, e in rows], 1.0))


def object_figures(judged: JudgedTargets, diameter: float) -> dict[str, Any]:
    """The figures of one object that stand in results.json.

    `ar_storm` is what the STORM paper calls AR, the mean of the two areas to 0.1 diameter; it is not BOP's AR.
    """
    limit = RECALL_SHARE * diameter
    add_share, adds_share = auc(judged.add_m, limit), auc(judged.adds_m, limit)
    figures = {
        "targets": len(judged.places), "predicted": int(np.isfinite(judged.score).sum()),
        "add_auc": auc(judged.add_m), "adds_auc": auc(judged.adds_m),
        "add_auc_01d": add_share, "adds_auc_01d": adds_share, "ar_storm": (add_share + adds_share) / 2,
        "add_01d": recall(judged.add_m, limit), "adds_01d": recall(judged.adds_m, limit),
        "mssd_01d": recall(judged.mssd_m, limit),
        "mssd_mm": quantiles(_MM_PER_M * judged.mssd_m, p50=0.5, p90=0.9, p99=0.99)}
    if not np.isnan(judged.proj_px).any():
        figures["proj_px"] = quantiles(judged.proj_px, p50=0.5, p90=0.9, p99=0.99)
    return figures
