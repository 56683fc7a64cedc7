"""Long sequences, all frames of all scenes together: accuracy, trust, flips and covariance of the targets.

A frame in which the target is visible counts once; without a trusted pose it is a failure. For objects with declared
symmetries ADD is taken against the equivalent true pose that is nearest to the estimate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.bags.true_poses import TruthPose
from storm_core.bop.dataset import Annotation
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.symmetry import free_axis
from storm_core.metrics.bootstrap import block_resamples, interval, ratio_samples, share_interval
from storm_core.metrics.covariance import LEVEL_95, ellipsoid_level
from storm_core.metrics.motion import flips
from storm_core.metrics.scores import AUC_LIMIT_M, quantiles
from storm_core.metrics.tracking import WRONG_SHARE
from storm_core.report.frame_errors import match_truth, object_errors
from storm_core.report.main_figures import RECALL_SHARE
from storm_core.report.series import object_items, object_series
from storm_core.simulation.benchmark import Benchmark
from storm_core.types import StepOutput

Array = NDArray[np.float64]

SHARES = ("add_auc", "adds_auc", "add_01d", "published_01d", "coverage", "confidently_wrong", "inside_95",
          "coasting_inside_95")
"""Figures that are means over frames; the others are counts and quantiles."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneRows:
    """One target in one scene; of each figure in SHARES the sum over frames and how many frames count.

    Attributes:
      sums: figure -> (sum, frames). levels: (K,) `ellipsoid_level` of the trusted poses.
    """

    scene: int
    obj_id: int
    sums: Mapping[str, tuple[float, float]]
    levels: Array
    flips_symmetric: int
    flips_turned: int
    frames: int


def scene_rows(scene: int, name: str, outputs: Sequence[StepOutput], annotations: Mapping[int, tuple[Annotation, ...]],
               im_ids: Sequence[int], model: ObjectModel) -> SceneRows:
    """The rows of one object that a scene was searched for. outputs: one per image of `im_ids`."""
    obj_id = int(name)
    truths = [None if im_id not in annotations else tuple(
        TruthPose(cam_from_obj=a.cam_from_obj, visible=a.visible, good=a.good)
        for a in annotations[im_id] if a.obj_id == obj_id) for im_id in im_ids]
    items, series = object_items(outputs, name), object_series(outputs, name)
    match = match_truth(items, truths, model)
    errors = object_errors(items, truths, model, match)
    counted, d = errors.accurate, model.diameter
    add = match.add_turned_m
    trusted_add, judged = np.where(errors.trusted, add, np.inf), errors.trusted & errors.judged
    level = ellipsoid_level(series.cam_from_obj, match.truth, series.covariance, free_axis(model.symmetries))
    measured, coasting = errors.trusted & counted & np.isfinite(level), series.coasting & counted & np.isfinite(level)
    turns = flips(np.where(errors.trusted[:, None, None], series.cam_from_obj, np.nan), match.only, model.symmetries)
    values = {
        "add_auc": (np.clip(1 - trusted_add / AUC_LIMIT_M, 0, None), counted),
        "adds_auc": (np.clip(1 - errors.adds_m / AUC_LIMIT_M, 0, None), counted),
        "add_01d": (trusted_add < RECALL_SHARE * d, counted),
        "published_01d": (add < RECALL_SHARE * d, counted),
        "coverage": (errors.trusted, errors.visible),
        "confidently_wrong": (errors.mssd_m > WRONG_SHARE * d, judged),
        "inside_95": (level <= LEVEL_95, measured),
        "coasting_inside_95": (level <= LEVEL_95, coasting)}
    return SceneRows(scene=scene, obj_id=obj_id, levels=level[measured],
                     sums={key: (float(v[at].sum()), float(at.sum())) for key, (v, at) in values.items()},
                     flips_symmetric=turns.symmetric, flips_turned=turns.turned, frames=int(counted.sum()))


def figures(rows: Sequence[SceneRows], seed: int) -> dict[str, Any]:
    """Means over all frames of the scenes, each with its 95 % interval from drawing whole scenes, and counts."""
    out: dict[str, Any] = {"scenes": len({r.scene for r in rows}), "frames": sum(r.frames for r in rows)}
    levels = np.concatenate([r.levels for r in rows]) if rows else np.empty(0)
    resamples = block_resamples(len(rows), seed=seed, block=1)
    intervals = {}
    for key in SHARES:
        values, counts = (np.array([r.sums[key][k] for r in rows]) for k in (0, 1))
        out[key] = float(values.sum() / counts.sum()) if counts.sum() else None
        if out[key] is not None and len(rows) > 1:
            samples = ratio_samples(resamples, values, counts)
            found = interval(samples) if key.endswith("_auc") else share_interval(samples, len(rows))
            intervals[key] = None if found is None else list(found)
    return out | {"ci95": intervals, "level": quantiles(levels, p50=0.5, p90=0.9, p95=0.95),
                  "flips": {"symmetric": sum(r.flips_symmetric for r in rows),
                            "turned": sum(r.flips_turned for r in rows)}}


def sequence_figures(rows: Sequence[SceneRows], benchmark: Benchmark | None, seed: int) -> dict[str, Any]:
    """{"all": figures, "objects": {id: ...}, "strata": {name: ...}}; strata only for a benchmark."""
    out = {"all": figures(rows, seed), "objects": _grouped(rows, ((str(r.obj_id),) for r in rows), seed)}
    if benchmark is not None:
        out["strata"] = _grouped(rows, (benchmark.strata_of(r.scene) for r in rows), seed)
    return out


def _grouped(rows: Sequence[SceneRows], keys: Iterable[Sequence[str]], seed: int) -> dict[str, Any]:
    members: dict[str, list[SceneRows]] = {}
    for row, names in zip(rows, keys, strict=True):
        for name in names:
            members.setdefault(name, []).append(row)
    return {name: figures(of_one, seed) for name, of_one in members.items()}
