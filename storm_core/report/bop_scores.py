"""The scores of BOP from measured errors: average recall of localization, average precision of detection."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.models import EvalModel
from storm_core.metrics.detection import MILLIMETRES, Detected, detection_ap
from storm_core.metrics.localization import PIXELS, SHARES, Sought, average_recall
from storm_core.metrics.vsd import TAUS
from storm_core.report.pose_measure import PoseErrors

Array = NDArray[np.float64]

REFERENCE_WIDTH = 640.0
"""The thresholds of MSPD are for images of this width [px]."""
_MM_PER_M = 1e3


def bop19(errors: Sequence[PoseErrors], models: Mapping[int, EvalModel], metrics: Collection[str]) -> dict[str, float]:
    """Average recalls over all targets of the groups: ar_vsd, ar_mssd, ar_mspd, and their mean ar.

    nan stands for what is not among the `metrics`, and for no targets. An image that cannot be used counts as failed.
    """
    def recall(name: str, thresholds: Array) -> float:
        if name not in metrics:
            return float("nan")
        return average_recall([Sought(errors=_localized(e, models[e.group.obj_id], name), visible=e.group.visible,
                                      wanted=e.group.wanted) for e in errors], thresholds)

    out = {"ar_vsd": recall("vsd", SHARES), "ar_mssd": recall("mssd", SHARES), "ar_mspd": recall("mspd", PIXELS)}
    return {"ar": sum(out.values()) / 3, **out}


def bop24(errors: Sequence[PoseErrors], models: Mapping[int, EvalModel],
          metrics: Collection[str]) -> dict[int, dict[str, float]]:
    """Average precisions of each object: ap_mssd, ap_mspd, ap_mssd_mm, and ap, the mean of the first two.

    nan as in `bop19`; an object without a visible instance is nan and no part of the mean over objects.
    """
    out: dict[int, dict[str, float]] = {}
    for obj_id in dict.fromkeys(e.group.obj_id for e in errors):
        mine = [e for e in errors if e.group.obj_id == obj_id and len(e.group.instances)]
        model = models[obj_id]
        scores = {"ap_mssd": _ap(mine, [_mssd(e, model) / model.diameter for e in mine], SHARES, "mssd" in metrics),
                  "ap_mspd": _ap(mine, [_mspd(e) for e in mine], PIXELS, "mspd" in metrics),
                  "ap_mssd_mm": _ap(mine, [_mssd(e, model) * _MM_PER_M for e in mine], MILLIMETRES, "mssd" in metrics)}
        out[obj_id] = {"ap": (scores["ap_mssd"] + scores["ap_mspd"]) / 2, **scores}
    return out


def mean_over_objects(objects: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Mean of each figure over the objects that have it; nan when none has."""
    out = {}
    for key in next(iter(objects.values()), {}):
        known = [scores[key] for scores in objects.values() if not np.isnan(scores[key])]
        out[key] = float(np.mean(known)) if known else float("nan")
    return out


def _ap(errors: Sequence[PoseErrors], values: Sequence[Array], thresholds: Array, measured: bool) -> float:
    if not measured:
        return float("nan")
    kept = [e.group.detected for e in errors]
    return detection_ap([Detected(scores=np.array([p.score for p in e.group.estimates], float)[k], errors=v[k],
                                  visible=e.group.visible) for e, v, k in zip(errors, values, kept, strict=True)],
                        thresholds)


def _localized(errors: PoseErrors, model: EvalModel, name: str) -> Array:
    """Errors (E, G) or (E, G, T) in the unit of the thresholds; the largest possible (VSD 1) for images that cannot be
    used, whose targets fail."""
    if name == "mssd":
        return _mssd(errors, model) / model.diameter
    if name == "mspd":
        return _mspd(errors)
    group = errors.group
    count = min(len(group.estimates), group.wanted)
    return np.ones((count, len(group.instances), len(TAUS))) if errors.vsd is None else errors.vsd


def _mssd(errors: PoseErrors, model: EvalModel) -> Array:
    """[m]; inf where, as in BOP, the origins are a diameter apart or more."""
    group = errors.group
    apart = np.linalg.norm(group.poses[:, None, :3, 3] - group.truths[None, :, :3, 3], axis=-1)
    return np.where(apart < model.diameter, errors.mssd_m, np.inf)


def _mspd(errors: PoseErrors) -> Array:
    """[px] as in an image of the reference width; inf where the image cannot be used."""
    if errors.mspd_px is None or errors.camera is None:
        return np.full_like(errors.mssd_m, np.inf)
    return errors.mspd_px * (REFERENCE_WIDTH / errors.camera.width)
