"""Targets of a mask evaluation: which are right in mask and pose, by visibility and stratum, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.bop.dataset import Annotation
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.bootstrap import block_resamples, interval, ratio_samples, share_interval
from storm_core.metrics.mask_ap import IOUS, MaskMatches, ap_bop
from storm_core.metrics.pose_error import adds
from storm_core.report.evaluate import RECALL_SHARE
from storm_core.report.mask_presence import RIGHT_IOU, questions
from storm_core.report.mask_table import JudgedImage, Key
from storm_core.simulation.benchmark import Benchmark, by_stratum

HALF = 0.5
"""Visible share from which a target must be found."""

AP_RESAMPLES = 200
"""Average precision takes long to compute; its interval needs fewer resamples than it is wide."""

Annotations = Mapping[int, Mapping[int, Sequence[Annotation]]]


def right_poses(judged: Sequence[JudgedImage], records: Sequence[Mapping[str, Any]], annotations: Annotations,
                models: Mapping[str, ObjectModel]) -> list[bool]:
    """Of each target, in order: an accepted pose has an ADD-S below 0.1 diameter."""
    poses: dict[tuple[Key, int], list[NDArray[np.float64]]] = {}
    for r in records:
        if r["found"] and r["cam_from_obj"] is not None:
            poses.setdefault(((r["scene_id"], r["im_id"]), int(r["object"])), []).append(np.array(r["cam_from_obj"]))
    trees = {name: cKDTree(model.eval_vertices) for name, model in models.items()}
    out = []
    for j in judged:
        for number in j.targets:
            truth, name = annotations[j.key[0]][j.key[1]][number].cam_from_obj, str(j.obj_id)
            errors = [adds(pose, truth, models[name].eval_vertices, trees[name])
                      for pose in poses.get((j.key, j.obj_id), [])]
            out.append(min(errors, default=np.inf) < RECALL_SHARE * models[name].diameter)
    return out


def half_visible(judged: Sequence[JudgedImage], poses: Sequence[bool] | None, seed: int) -> dict[str, Any]:
    """Targets of which at least half is visible: n, share with IoU from 0.75, share with a right pose (if known).

    One of unknown visibility counts.
    """
    rows = [(j.key, iou, visible) for j in judged for iou, visible in zip(j.ious, j.visible, strict=True)]
    counted = np.array([not visible < HALF for _, _, visible in rows], bool)
    values = {"iou_75": np.array([iou >= RIGHT_IOU for _, iou, _ in rows], bool)}
    if poses is not None:
        values["adds_01d"] = np.array(poses, bool)
    out: dict[str, Any] = {"n": int(counted.sum())}
    out |= {name: float(v[counted].mean()) if counted.any() else None for name, v in values.items()}
    places = list(dict.fromkeys(key for key, _, _ in rows))
    if len(places) > 1 and counted.any():
        image = np.array([places.index(key) for key, _, _ in rows])
        resamples = block_resamples(len(places), seed=seed)
        weight = np.bincount(image, counted, len(places))
        found = {name: share_interval(ratio_samples(resamples, np.bincount(image, v & counted, len(places)), weight),
                                      len(resamples.lengths)) for name, v in values.items()}
        out["ci95"] = {name: list(bounds) for name, bounds in found.items() if bounds is not None}
    return out


def mask_intervals(judged: Sequence[JudgedImage], seed: int) -> dict[str, list[float]]:
    """{figure of `masks`: [low, high]}, 95 %, from drawing images in blocks of neighbours; {} with fewer than two."""
    places = {key: k for k, key in enumerate(dict.fromkeys(j.key for j in judged))}
    if len(places) < 2:
        return {}
    resamples = block_resamples(len(places), seed=seed)
    image = np.array([places[j.key] for j in judged for _ in j.ious], int)
    ious = np.array([iou for j in judged for iou in j.ious])
    counted = np.bincount(image, minlength=len(places)).astype(float)
    reached = (ious[:, None] >= IOUS).mean(1) if len(ious) else ious
    samples = {"iou_mean": ratio_samples(resamples, np.bincount(image, ious, len(places)), counted),
               "ap_storm": ratio_samples(resamples, np.bincount(image, reached, len(places)), counted)}
    by_object: dict[int, dict[int, MaskMatches]] = {}
    for j in judged:
        by_object.setdefault(j.obj_id, {})[places[j.key]] = j.matches
    samples["ap_bop"] = np.array([
        ap_bop({obj_id: [of[k] for k in drawn if k in of] for obj_id, of in by_object.items()})[0]
        for drawn in resamples.indices(slice(0, AP_RESAMPLES)).tolist()])
    found = {name: interval(values) for name, values in samples.items()}
    return {name: list(bounds) for name, bounds in found.items() if bounds is not None}


def mask_strata(judged: Sequence[JudgedImage], benchmark: Benchmark, accept: float) -> dict[str, dict[str, Any]]:
    """stratum -> figure -> {mean, scenes, missing} over the scenes.

    right: a mask of at least 0.75 IoU where the object is, none where it is not. wrong: any other mask.
    found: any mask.
    """
    records = {}
    for q in questions(judged):
        sure = q.score >= accept
        records[q.key[0]] = {"right": float(sure and q.right if q.present else not sure),
                             "wrong": float(sure and not q.right), "found": float(sure)}
    kept = replace(benchmark, scenes={i: s for i, s in benchmark.scenes.items() if i in records})
    return {stratum: {name: asdict(figure) for name, figure in figures.items()}
            for stratum, figures in by_stratum(records, kept).items()}
