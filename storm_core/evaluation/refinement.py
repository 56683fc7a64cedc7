"""What refinement does to registrations: errors before and after, and whether the modes are the declared symmetries."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.evaluation.dataset import Dataset
from storm_core.evaluation.images import ImageFiles, read_image
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between
from storm_core.metrics.bootstrap import block_resamples, interval, quantile_samples, ratio_samples
from storm_core.metrics.pose_error import mssd
from storm_core.score_model.modes import find_modes, is_near
from storm_core.score_model.results import ScoreResult
from storm_core.types import Frame

RIGHT = 0.1
"""MSSD, as share of the diameter, below which a pose counts as right."""

COMPLETE = 0.9
"""Share of the declared symmetries that modes must reach: those of a continuous axis are declared in steps."""

FIGURES = ("shift_mm", "turn_deg", "mssd_mm")


def targets(dataset: Dataset, every: int = 1) -> Iterator[tuple[ImageFiles, Frame, str, list[NDArray[np.float64]]]]:
    """(image, frame, object, true poses) of every object that the targets of every N-th image name."""
    for image in dataset.images[::every]:
        frame = read_image(image)
        annotated = dataset.annotations[image.scene_id].get(image.im_id, ())
        for obj_id in dataset.wanted[image.key]:
            yield image, frame, str(obj_id), [a.cam_from_obj for a in annotated if a.obj_id == obj_id]


def pose_errors(model: ObjectModel, cam_from_obj: NDArray[np.float64], truths: Sequence[NDArray[np.float64]]
                ) -> dict[str, float]:
    """Errors of one pose (4, 4) against the instance that it lies nearest to, over the declared symmetries.

    shift_mm: of the object's centre. turn_deg: the least over the symmetries. mssd_mm: largest surface distance (BOP).
    """
    points = model.eval_vertices[:: max(1, len(model.eval_vertices) // 500)]
    return min((_errors(model, points, cam_from_obj, truth) for truth in truths), key=lambda e: e["mssd_mm"])


def _errors(model: ObjectModel, points: NDArray[np.float64], pose: NDArray[np.float64], truth: NDArray[np.float64]
            ) -> dict[str, float]:
    equal = truth @ model.symmetries
    shift = (pose - truth)[:3, :3] @ model.center + (pose - truth)[:3, 3]
    return {"shift_mm": 1e3 * float(np.linalg.norm(shift)),
            "turn_deg": float(np.degrees(angle_between(pose[:3, :3], equal[:, :3, :3]).min())),
            "mssd_mm": 1e3 * mssd(pose, truth, points, model.symmetries)}


def judged_modes(model: ObjectModel, result: ScoreResult, truths: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Modes of a result: how many, how many are right, the share of the declared symmetries that have one, and whether
    both agree: every mode is a declared symmetry of a true pose, and every declared symmetry has its mode."""
    modes = find_modes(model, result.cam_from_objs, result.weights)
    right = [pose_errors(model, m.cam_from_obj, truths)["mssd_mm"] < 1e3 * RIGHT * model.diameter for m in modes]
    found = result.registration.cam_from_obj @ model.symmetries
    # A mode is where its particles are: those of a continuous axis form a ring, which modes cut into pieces.
    members = np.concatenate([m.members for m in modes])
    near = np.stack([is_near(model, pose, found) for pose in result.cam_from_objs[members]])
    covered = float(near.any(0).mean())
    return {"modes": len(modes), "modes_right": int(sum(right)), "symmetries": len(model.symmetries),
            "symmetries_found": covered, "agree": all(right) and covered >= COMPLETE}


def missed(image: ImageFiles, name: str, reason: str) -> dict[str, Any]:
    """A target without a registration: a failure with and without refinement."""
    return {"image": f"{image.scene_id}/{image.im_id}", "object": name, "found": False, "reason": reason,
            "before": None, "after": None, "accepted": False, "ms": None, "modes": None}


def summary(rows: Sequence[Mapping[str, Any]], models: Mapping[str, ObjectModel], seed: int) -> dict[str, Any]:
    """Figures before and after over the same targets, and the difference, each with its 95 % interval (bootstrap).

    Medians are over the targets that were registered; `success` (MSSD below 0.1 diameters) counts the others as
    failures. `modes_agree` is over registered targets whose pose is right.
    """
    found = [row for row in rows if row["found"]]
    out: dict[str, Any] = {"targets": len(rows), "registered": len(found),
                           "accepted": sum(row["accepted"] for row in found)}
    success = np.array([[_right(row[when], models[row["object"]]) for when in ("before", "after")] for row in rows],
                       float)
    draws = block_resamples(len(rows), seed=seed, block=1)
    samples = [ratio_samples(draws, column, np.ones(len(rows))) for column in success.T]
    out["success"] = _pair(success.mean(0), samples)
    if not found:
        return out
    draws = block_resamples(len(found), seed=seed, block=1)
    for figure in FIGURES:
        values = np.array([[row[when][figure] for when in ("before", "after")] for row in found])
        out[figure] = _pair(np.median(values, axis=0), [quantile_samples(draws, column, 0.5) for column in values.T])
    for key, chosen in (("modes_agree", found), ("modes_agree_symmetric", [
            row for row in found if row["modes"]["symmetries"] > 1])):
        good = [row["modes"]["agree"] for row in chosen if _right(row["after"], models[row["object"]])]
        out[key] = {"targets": len(good), "share": float(np.mean(good)) if good else None}
    out["ms_p50"] = float(np.median([row["ms"] for row in found]))
    return out


def _right(errors: Mapping[str, float] | None, model: ObjectModel) -> bool:
    return errors is not None and errors["mssd_mm"] < 1e3 * RIGHT * model.diameter


def _pair(values: NDArray[np.float64], samples: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    before, after = (float(v) for v in values)
    return {"before": before, "after": after, "difference": after - before,
            "interval_before": interval(samples[0]), "interval_after": interval(samples[1]),
            "interval_difference": interval(samples[1] - samples[0])}
