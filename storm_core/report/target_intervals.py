"""Confidence intervals of figures over the targets of single pictures."""

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.bootstrap import block_resamples, interval, ratio_samples, share_interval
from storm_core.metrics.scores import AUC_LIMIT_M
from storm_core.report.pose_table import RECALL_SHARE, JudgedTargets

Array = NDArray[np.float64]


def target_intervals(judged: JudgedTargets, diameter: float, seed: int) -> dict[str, list[float]]:
    """{figure: [low, high]}, 95 %, of one object with at least two images; {} with fewer.

    Whole images are drawn, in blocks of neighbours: targets of one image, and images of one sequence, are alike.
    """
    places = list(dict.fromkeys(judged.places))
    if len(places) < 2:
        return {}
    number = {place: k for k, place in enumerate(places)}
    image = np.array([number[place] for place in judged.places])
    resamples = block_resamples(len(places), seed=seed)
    counted = np.bincount(image).astype(float)
    out = {}
    for name, values in _values(judged, RECALL_SHARE * diameter).items():
        samples = ratio_samples(resamples, np.bincount(image, values), counted)
        share = name.endswith("_01d") and "auc" not in name
        found = share_interval(samples, len(resamples.lengths)) if share else interval(samples)
        if found is not None:
            out[name] = list(found)
    return out


def _values(judged: JudgedTargets, limit: float) -> dict[str, Array]:
    """Per target the value whose mean is the figure; a missing pose has an error of inf."""

    def area(errors: Array, to: float) -> Array:
        return np.clip(1.0 - errors / to, 0.0, None)

    add_m, adds_m = judged.add_m, judged.adds_m
    return {
        "add_auc": area(add_m, AUC_LIMIT_M), "adds_auc": area(adds_m, AUC_LIMIT_M),
        "add_auc_01d": area(add_m, limit), "adds_auc_01d": area(adds_m, limit),
        "ar_storm": (area(add_m, limit) + area(adds_m, limit)) / 2,
        "add_01d": (add_m < limit).astype(float), "adds_01d": (adds_m < limit).astype(float),
        "mssd_01d": (judged.mssd_m < limit).astype(float)}
