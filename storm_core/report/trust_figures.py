"""Does the system know when it is right? Losses noticed, probabilities that hold, covariances that fit."""

from typing import Any

import numpy as np

from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.calibration import calibration, precision_recall
from storm_core.metrics.covariance import NEES_95, nees
from storm_core.metrics.loss_detection import carried, delays, false_reregistrations, losses, withdrawals
from storm_core.metrics.scores import quantiles
from storm_core.metrics.tracking import WRONG_SHARE
from storm_core.report.frame_errors import ObjectErrors, TruthMatch
from storm_core.report.main_figures import RECALL_SHARE
from storm_core.report.series import ObjectSeries

NEES_EDGES = range(31)


def loss_figures(series: ObjectSeries, errors: ObjectErrors, match: TruthMatch, diameter: float) -> dict[str, Any]:
    """`loss` and `false_reregistrations` of one object.

    A loss: a held pose has MSSD > 0.2 diameter, or its object is hidden (less than 10 % visible) or gone. Detected:
    trust is withdrawn before the pose is right again. `precision`: share of all withdrawals of trust that were right.
    Latencies are those of detected losses.
    """
    wrong = series.published & errors.judged & (match.mssd_m > WRONG_SHARE * diameter)
    bad, known = wrong | errors.hidden, errors.judged | errors.hidden
    trusted = carried(series.trusted, series.answered)
    held = trusted | carried(series.coasting, series.answered)
    found = losses(trusted, held, bad, known)
    verdicts = withdrawals(trusted, bad, known, series.commanded)
    frames, seconds = delays(found, series.stamps_ns)
    right = series.published & errors.judged & ~bad
    return {
        "loss": {"events": len(found), "detected": len(frames),
                 "precision": sum(verdicts) / len(verdicts) if verdicts else float("nan"),
                 "recall": len(frames) / len(found) if found else float("nan"), "withdrawals": len(verdicts),
                 **{f"latency_frames_{k}": v for k, v in quantiles(frames, p50=0.5, p95=0.95).items()},
                 **{f"latency_s_{k}": v for k, v in quantiles(seconds, p50=0.5, p95=0.95).items()}},
        "false_reregistrations": None if series.reregistered is None else false_reregistrations(
            series.reregistered, series.published, right, errors.hidden)}


def probability_figures(series: ObjectSeries, errors: ObjectErrors, match: TruthMatch,
                        model: ObjectModel) -> dict[str, Any]:
    """`calibration` and `precision_recall` of one object; nothing where the system publishes no probabilities.

    Right: within 0.1 diameter, by ADD, or ADD-S for objects with declared symmetries. All published poses count whose
    rightness can be judged, coasting ones too.
    """
    error = match.add_m if len(model.symmetries) == 1 else match.adds_m
    counted = series.published & errors.judged & np.isfinite(series.probability)
    if not counted.any():
        return {}
    right = error[counted] < RECALL_SHARE * model.diameter
    c = calibration(series.probability[counted], right)
    curve = precision_recall(series.probability[counted], right, int(errors.accurate.sum()))
    return {"calibration": {"ece": c.ece, "brier": c.brier, "n": int(counted.sum()),
                            "bins": [{"p": p, "right": share, "n": int(n)} for p, share, n
                                     in zip(c.p.tolist(), c.right.tolist(), c.n, strict=True)]},
            "precision_recall": {"probability": curve.probability.tolist(), "precision": curve.precision.tolist(),
                                 "recall": curve.recall.tolist(), "ap": curve.ap}}


def covariance_figures(series: ObjectSeries, errors: ObjectErrors, match: TruthMatch) -> dict[str, Any]:
    """`nees` of one object's trusted poses; nothing where the system publishes no covariance.

    `coverage_95`: share within the 95 % ellipsoid. `improper`: poses whose covariance is not positive definite.
    `histogram`: number of poses from each edge to the next, the last from the last edge on.
    """
    counted = series.trusted & errors.accurate & np.isfinite(series.covariance).all((1, 2))
    if not counted.any():
        return {}
    values = nees(series.cam_from_obj[counted], match.truth[counted], series.covariance[counted])
    known = values[np.isfinite(values)]
    measured = len(known) > 0
    return {"nees": {"mean": float(known.mean()) if measured else float("nan"),
                     **quantiles(known, p50=0.5, p95=0.95),
                     "coverage_95": float((known <= NEES_95).mean()) if measured else float("nan"),
                     "n": len(known), "improper": int(counted.sum()) - len(known),
                     "histogram": {"edges": list(NEES_EDGES), "n": np.histogram(
                         known, [*NEES_EDGES, np.inf])[0].tolist()}}}
