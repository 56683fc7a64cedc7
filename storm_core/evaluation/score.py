"""The score model over a BOP dataset: pose distributions of every target from its mask, and how good each rule is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from storm_core.bags.folder import scene_folders
from storm_core.bop.dataset import Annotation, read_annotations
from storm_core.bop.index_lists import split_images
from storm_core.bop.visible_mask import read_visible_mask
from storm_core.config import StormConfig
from storm_core.errors import DatasetError
from storm_core.evaluation.dataset import Dataset
from storm_core.evaluation.images import ImageFiles, read_image
from storm_core.evidence.explained import without
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import inverse, transform
from storm_core.geometry.symmetry import shape_symmetries
from storm_core.interfaces import Localizer
from storm_core.metrics.bootstrap import block_resamples, interval, ratio_samples
from storm_core.metrics.pose_error import mask_iou
from storm_core.pipeline.build import build_localizer
from storm_core.score_model.modes import find_modes
from storm_core.score_model.results import ScoreResult
from storm_core.score_model.selection import RULES, possible, select
from storm_core.simulation.mask_noise import disturbed_mask
from storm_core.types import Frame, Hint, Localization

MASKS = ("gt", "som", "disturbed")
"""Visible mask of the truth; found by STORM; the truth's, morphologically disturbed."""

RIGHT = 0.1
"""Share of the diameter below which an error counts as right."""

MEASURED = 0.1
"""Share of its silhouette of which depth must have been measured for a target to be seen by depth: BOP's bound for
visible instances, for a camera that measures nothing beside an occluder. Both figures are given."""

POINTS = 1024
"""Model points that errors are taken over."""


@dataclass(frozen=True, eq=False)
class Case:
    """One target: its frame, its mask (None: not found or unreadable) and its true pose.

    Attributes:
      measured: share of the object's silhouette that is in view and has depth; nan when nobody recorded the silhouette.
    """

    image: ImageFiles
    frame: Frame
    name: str
    mask: NDArray[np.bool_] | None
    truth: NDArray[np.float64]
    measured: float = float("nan")

    @property
    def key(self) -> str:
        return f"{self.image.scene_id}/{self.image.im_id}"


def cases(dataset: Dataset, config: StormConfig, models: dict[str, ObjectModel], masks: str, *, strength: float = 1.0,
          images: Sequence[int] = (), split: str = "") -> Iterator[Case]:
    """Every target of the dataset with a mask of the wanted kind.

    Args:
      strength: of the disturbance, see `disturbed_mask`. images: only these image ids; empty = all.
      split: train or test: only images that train or that validate in `storm train score`; empty = all.
    """
    localizer = build_localizer(config, models) if masks == "som" else None
    listed = {i: split_images(folder, dataset.annotations[i], split) if split else None
              for i, folder in dataset.scenes.items()}
    for image in dataset.images:
        wanted = listed[image.scene_id]
        if (images and image.im_id not in images) or (wanted is not None and image.im_id not in wanted):
            continue
        frame = read_image(image)
        scene = dataset.scenes[image.scene_id]
        annotated = dataset.annotations[image.scene_id].get(image.im_id, ())
        for obj_id, count in dataset.wanted[image.key].items():
            numbers = [k for k, a in enumerate(annotated) if a.obj_id == obj_id]
            numbers.sort(key=lambda k, a=annotated: -np.nan_to_num(a[k].visible, nan=1.0))
            numbers = sorted(numbers[:count])
            name, own = str(obj_id), [_own_mask(scene, image.im_id, k, frame) for k in numbers]
            measured = [measured_share(frame, mask, annotated[k].visible) for k, mask in zip(numbers, own, strict=True)]
            if localizer is not None:
                own = matched(own, searched(localizer, frame, models[name], len(numbers)))
            elif masks == "disturbed":
                own = [disturbed_mask(mask, np.random.default_rng([config.seed, image.scene_id, image.im_id, k]),
                                      strength) for k, mask in zip(numbers, own, strict=True)]
            for k, mask, share in zip(numbers, own, measured, strict=True):
                yield Case(image, frame, name, mask, annotated[k].cam_from_obj, share)


def measured_share(frame: Frame, mask: NDArray[np.bool_], visible: float) -> float:
    """Share of a silhouette that has depth, from its visible mask (H, W) and the share of it that is visible."""
    return visible * float((frame.depth[mask] > 0).mean()) if mask.any() else 0.0


def _own_mask(scene: Path, im_id: int, number: int, frame: Frame) -> NDArray[np.bool_]:
    """The visible mask (H, W) of one annotation."""
    mask = read_visible_mask(scene, im_id, number)
    if mask.shape != frame.depth.shape:
        raise DatasetError(f"{scene}: mask {number} of image {im_id} is {mask.shape}, its frame {frame.depth.shape}")
    return mask


def searched(localizer: Localizer, frame: Frame, model: ObjectModel, count: int) -> list[NDArray[np.bool_]]:
    """Masks (H, W) of at most `count` instances, found one after the other; what was found is out of the next's way."""
    out: list[NDArray[np.bool_]] = []
    while len(out) < count:
        found = localizer.localize(frame, model.name, Hint())
        if not isinstance(found, Localization):
            break
        out.append(found.mask)
        frame = without(frame, found.mask)
    return out


def matched(true: Sequence[NDArray[np.bool_]], found: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.bool_] | None]:
    """For each true mask the found one that covers it best, each given to one only; None where none is left.

    Only with two instances of one object in an image is there anything to choose.
    """
    left, out = list(range(len(found))), [None] * len(true)
    overlap = np.array([[mask_iou(a, b) for b in found] for a in true]).reshape(len(true), len(found))
    for t in np.argsort(-overlap.max(1, initial=0.0), kind="stable"):
        if left:
            best = max(left, key=lambda k, t=t: overlap[t, k])
            left.remove(best)
            out[t] = found[best]
    return out


def true_pose(path: Path, key: tuple[int, int], obj_id: int | None, near: NDArray[np.float64]
              ) -> NDArray[np.float64] | None:
    """The annotated pose (4, 4) of a BOP image that lies nearest to `near` (4, 4); None where there is none.

    Args:
      path: scene, split or dataset. key: scene and image. obj_id: of BOP; None: the object has none.
    """
    if obj_id is None or not path.is_dir():
        return None
    here = [a.cam_from_obj for a in _truth(path).get(key, ()) if a.obj_id == obj_id]
    return min(here, key=lambda pose: np.linalg.norm(pose[:3, 3] - near[:3, 3]), default=None)


@lru_cache(maxsize=2)
def _truth(path: Path) -> dict[tuple[int, int], tuple[Annotation, ...]]:
    """{(scene_id, im_id): annotations}; empty where nothing is annotated."""
    scenes = [s for s in scene_folders(path) if s.name.isdigit() and (s / "scene_gt.json").is_file()]
    return {(int(s.name), im_id): entries for s in scenes for im_id, entries in read_annotations(s).items()}


def true_errors(model: ObjectModel, poses: NDArray[np.float64], truth: NDArray[np.float64], *,
                symmetric: bool | None = None) -> NDArray[np.float64]:
    """ADD of poses (N, 4, 4) [m], or ADD-S. symmetric: which; None = ADD-S for models with declared symmetries."""
    vertices = model.eval_vertices
    points = vertices[np.linspace(0, len(vertices) - 1, min(POINTS, len(vertices))).astype(int)]
    if len(model.symmetries) > 1 if symmetric is None else symmetric:
        tree = cKDTree(points)
        return np.array([tree.query(transform(inverse(pose) @ truth, points))[0].mean() for pose in poses])
    return np.linalg.norm(transform(poses, points) - transform(truth, points), axis=-1).mean(-1)


def judged_record(record: dict[str, Any], model: ObjectModel, truth: NDArray[np.float64] | None) -> dict[str, Any]:
    """A results record with the modes of its particles, the true pose and their errors (None where it is unknown)."""
    modes = find_modes(model, np.asarray(record["sampled_poses"]), np.asarray(record["weights"]))
    errors = None if truth is None else true_errors(model, np.asarray(record["sampled_poses"]), truth)
    return record | {"mode_poses": np.array([m.cam_from_obj for m in modes]).reshape(-1, 4, 4),
                     "mode_weights": np.array([m.weight for m in modes]), "diameter": model.diameter,
                     "true_cam_from_obj": truth, "true_errors": errors}


def outcome_of(case: Case, model: ObjectModel, result: ScoreResult | None, seconds: float) -> dict[str, Any]:
    """Error [diameters] of what each rule chooses (inf: no pose), as plain numbers.

    `errors` takes declared symmetries; `errors_shape` takes ADD-S also where the bare shape has a symmetry that only a
    print breaks, which depth cannot see.
    """
    row: dict[str, Any] = {"image": case.key, "object": case.name, "measured": case.measured,
                           "ms": 1e3 * seconds, "found": result is not None}
    if result is None:
        nothing = {rule: float("inf") for rule in RULES}
        return row | {"errors": nothing, "errors_shape": nothing}
    for key, symmetric in (("errors", None), ("errors_shape", has_symmetric_shape(model))):
        errors = true_errors(model, result.cam_from_objs, case.truth, symmetric=symmetric) / model.diameter
        record = {"fitness": result.fitness, "true_errors": errors, **result.extras}
        row[key] = {rule: float(errors[select(record, rule)]) for rule in possible(record)}
    return row


def without_colors(model: ObjectModel) -> ObjectModel:
    """The bare shape, and a content hash of its own: what is cached of the coloured model knows its colours."""
    return replace(model, colors=None, sha256=f"{model.sha256}-bare")


_SYMMETRIC: dict[str, bool] = {}


def has_symmetric_shape(model: ObjectModel) -> bool:
    """Whether turns, declared or measured, leave the shape nearly as it is, colour ignored."""
    if model.sha256 not in _SYMMETRIC:
        _SYMMETRIC[model.sha256] = len(model.symmetries) > 1 or len(shape_symmetries(model)) > 1
    return _SYMMETRIC[model.sha256]


def recalls(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
    """Recall at RIGHT diameters per rule, over all targets and per object, and relative to the oracle.

    A target without a pose counts as wrong under every rule. `measured` holds the same of the targets that depth shows
    (MEASURED), None when there is none; `ci95_shape` holds the 95 % intervals of `recall_shape` (bootstrap).
    """
    seen = [row for row in rows if row["measured"] >= MEASURED]
    names = sorted({row["object"] for row in rows}, key=lambda n: (len(n), n))
    return _recalls(rows, seed) | {
        "measured": _recalls(seen, seed) if seen else None,
        "objects": {name: _share_right([row for row in rows if row["object"] == name]) for name in names}}


def _recalls(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    overall, by_shape = _share_right(rows), _share_right(rows, "errors_shape")
    found = [row for row in rows if row["found"]]
    draws = block_resamples(len(rows), seed=seed, block=1)
    right = {rule: np.array([row["errors_shape"][rule] < RIGHT for row in rows], float) for rule in by_shape}
    return {
        "targets": len(rows), "with_mask": len(found), "recall": overall, "of_oracle": _of_oracle(overall),
        "recall_shape": by_shape, "of_oracle_shape": _of_oracle(by_shape),
        "ci95_shape": {rule: interval(ratio_samples(draws, good, np.ones(len(rows)))) for rule, good in right.items()},
        "median_error": {rule: _finite(np.median([row["errors"][rule] for row in rows])) for rule in overall},
        "ms_p50": float(np.median([row["ms"] for row in found])) if found else None,
    }


def _share_right(rows: Sequence[Mapping[str, Any]], key: str = "errors") -> dict[str, float]:
    rules = [rule for rule in RULES if all(rule in row[key] for row in rows)]
    return {rule: float(np.mean([row[key][rule] < RIGHT for row in rows])) for rule in rules}


def _of_oracle(recall: Mapping[str, float]) -> dict[str, float | None]:
    best = recall.get("oracle", 0.0)
    return {rule: value / best if best > 0 else None for rule, value in recall.items()}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
