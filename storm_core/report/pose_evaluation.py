"""From predictions over a BOP dataset to results.json and a table of every target."""

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.bop.models import EvalModel
from storm_core.bop.results import PoseEstimate, time_per_image_s
from storm_core.bop.views import SceneViews
from storm_core.errors import DatasetError
from storm_core.metrics.bootstrap import LEVEL, RESAMPLES
from storm_core.metrics.vsd import DELTA_MM
from storm_core.report.bop_scores import bop19, bop24, mean_over_objects
from storm_core.report.pose_groups import Annotations, PoseGroup, Target, group_poses
from storm_core.report.pose_measure import METRICS, Faults, PoseErrors, measure_scene
from storm_core.report.pose_table import JudgedTargets, judge_targets, object_figures
from storm_core.report.target_intervals import target_intervals

_IMAGES_AT_ONCE = 50
_MEANS = ("add_auc", "adds_auc", "add_auc_01d", "adds_auc_01d", "ar_storm", "add_01d", "adds_01d",
          "mssd_01d")
_COLUMNS = ("scene_id", "im_id", "obj_id", "found", "score", "add_mm", "adds_mm", "mssd_mm", "mspd_px", "proj_px",
            "vsd")


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseTask:
    """What is evaluated.

    Attributes:
      scenes: folder of each scene. targets: one per instance to be found.
      images: (scene_id, im_id) that detection is scored on, () = those of the targets.
      metrics: of METRICS. delta_mm: tolerance of VSD's visibility [mm]. seed: of the confidence intervals.
    """

    scenes: Mapping[int, Path]
    annotations: Annotations
    targets: Sequence[Target]
    images: Sequence[tuple[int, int]]
    models: Mapping[int, EvalModel]
    metrics: Collection[str] = METRICS
    delta_mm: float = DELTA_MM
    seed: int = 0


def usable_metrics(scenes: Iterable[Path], wanted: Collection[str] = ()) -> tuple[tuple[str, ...], dict[str, str]]:
    """The metrics that the files of the scenes allow, and why each of the others is left out.

    Args:
      wanted: what the user asked for, () = all that is possible.

    Raises:
      DatasetError: one that was asked for cannot be measured.
    """
    views = [SceneViews(scene) for scene in scenes]
    left_out = {}
    if not any(v.has_cameras for v in views):
        left_out["mspd"] = "no scene has a scene_camera.json with the intrinsics"
    if not any(v.has_depth for v in views):
        left_out["vsd"] = "no scene has depth images together with a scene_camera.json"
    impossible = [name for name in wanted if name in left_out]
    if impossible:
        raise DatasetError(f"{impossible[0]} cannot be measured: {left_out[impossible[0]]}; copy the missing part, or "
                           f"choose others with --metrics")
    left_out |= {name: "not asked for" for name in METRICS if wanted and name not in wanted}
    return tuple(name for name in METRICS if name not in left_out), left_out


def evaluate_poses(task: PoseTask, predictions: Sequence[PoseEstimate]) -> tuple[dict[str, Any],
                                                                                 dict[int, JudgedTargets]]:
    """The figures for results.json and, by object, every target.

    Raises:
      DatasetError: not a single image can be used for a metric.
    """
    groups = [g for g in group_poses(task.annotations, task.targets, predictions, task.images)
              if g.obj_id in task.models]
    errors, faults = _measured(task, groups)
    _require_some(task, errors, faults)
    detection = bop24(errors, task.models, task.metrics)
    judged, objects = {}, {}
    for obj_id, model in task.models.items():
        mine = [e for e in errors if e.group.obj_id == obj_id]
        if not any(e.group.wanted for e in mine):
            continue
        judged[obj_id] = judge_targets(mine, model)
        objects[str(obj_id)] = object_figures(judged[obj_id], model.diameter) | {
            "bop19": bop19(mine, task.models, task.metrics), "bop24": detection[obj_id],
            "ci95": target_intervals(judged[obj_id], model.diameter, task.seed)}
    return {
        "targets": len(task.targets), "objects": objects,
        "mean": {key: float(np.mean([o[key] for o in objects.values()])) for key in _MEANS},
        "bop19": bop19(errors, task.models, task.metrics), "bop24": mean_over_objects(detection),
        "time_per_image_s": time_per_image_s(predictions),
        "bootstrap": {"method": "circular blocks of images, as long as the square root of their number",
                      "level": LEVEL, "resamples": RESAMPLES, "seed": task.seed},
        "skipped": [{"scene_id": s, "im_id": i, "reason": reason} for (s, i), reason in sorted(faults.items())],
    }, judged


def write_target_table(file: Path, judged: Mapping[int, JudgedTargets]) -> None:
    """A CSV with one row per target; empty cells are not measured, inf is a target without an estimate."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for obj_id, j in judged.items():
            columns = (j.score, 1e3 * j.add_m, 1e3 * j.adds_m, 1e3 * j.mssd_m, j.mspd_px, j.proj_px, j.vsd)
            for k, (scene_id, im_id) in enumerate(j.places):
                values = [float(c[k]) for c in columns]
                writer.writerow([scene_id, im_id, obj_id, int(np.isfinite(j.add_m[k])),
                                 *("" if v != v else f"{v:.6g}" for v in values)])


def _measured(task: PoseTask, groups: Sequence[PoseGroup]) -> tuple[list[PoseErrors], Faults]:
    from tqdm import tqdm

    views = {i: SceneViews(folder) for i, folder in task.scenes.items()}
    seen = {"vsd", "mspd"} & set(task.metrics)
    errors: list[PoseErrors] = []
    faults: Faults = {}
    with tqdm(total=len({g.key for g in groups}), unit="image", disable=None) as bar:
        for scene_id, part in _parts(groups):
            found, unusable = measure_scene(part, task.models, views[scene_id] if seen else None, task.metrics,
                                            task.delta_mm)
            errors += found
            faults |= unusable
            bar.update(len({g.key for g in part}))
    return errors, faults


def _parts(groups: Sequence[PoseGroup]) -> Iterator[tuple[int, list[PoseGroup]]]:
    """(scene_id, groups) of some images at a time, in order."""
    part: list[PoseGroup] = []
    for group in groups:
        full = len({g.key for g in part}) >= _IMAGES_AT_ONCE and group.key != part[-1].key
        if part and (full or group.scene_id != part[0].scene_id):
            yield part[0].scene_id, part
            part = []
        part.append(group)
    if part:
        yield part[0].scene_id, part


def _require_some(task: PoseTask, errors: Sequence[PoseErrors], faults: Faults) -> None:
    """DatasetError when no image at all could be used for a metric: every score would be a false 0."""
    sought = [e for e in errors if e.group.wanted and e.group.instances]
    for name in {"vsd", "mspd"} & set(task.metrics):
        values = [e.vsd if name == "vsd" else e.mspd_px for e in sought]
        if sought and all(v is None for v in values):
            raise DatasetError(f"{name} cannot be measured in any image; first: {next(iter(faults.values()))}; "
                               "mend the dataset, or choose other --metrics")
