"""What a tracker's answer is worth: the same frames and the same rules for everybody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.benchmarks.clip import Clip
from storm_core.benchmarks.protocol import Answer, Pose, asked
from storm_core.metrics.scores import auc, quantile, quantiles, recall
from storm_core.report.frame_errors import object_errors
from storm_core.report.main_figures import RECALL_SHARE
from storm_core.types import Evidence, ObjectOutput, Reason

MM_PER_M = 1e3


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseErrors:
    """Errors (N,) [m] in the frames whose truth is good and where the object is visible; inf without a pose."""

    add_m: NDArray[np.float64]
    adds_m: NDArray[np.float64]
    mssd_m: NDArray[np.float64]


def pose_errors(clip: Clip, frames: Sequence[int], poses: Sequence[Pose | None]) -> PoseErrors:
    """Errors of the poses of these frames of a clip."""
    items = [ObjectOutput(object_name=clip.model.name, stamp_ns=clip.stamps_ns[k], state="", reason=Reason.PUBLISHED,
                          cam_from_obj=pose, covariance=None, probability=float("nan"), trusted=pose is not None,
                          coasting=False, evidence=Evidence())
             for k, pose in zip(frames, poses, strict=True)]
    errors = object_errors(items, [clip.truths[k] for k in frames], clip.model)
    return PoseErrors(add_m=errors.add_m[errors.accurate], adds_m=errors.adds_m[errors.accurate],
                      mssd_m=errors.mssd_m[errors.accurate])


def stride_figures(clip: Clip, answer: Answer, stride: int) -> dict[str, Any]:
    """The row of one tracker at one stride. A frame without an answer counts as a failure.

    Keys: ms {p50, p95, n}, stages_ms, add_auc, adds_auc, add_01d, adds_01d, mssd_mm {p50, p95}, frames (that count),
    answered (share of all asked frames with a pose).
    """
    frames = list(asked(len(clip), stride))
    poses = [answer.poses.get((stride, k)) for k in frames]
    errors = pose_errors(clip, frames, poses)
    small = RECALL_SHARE * clip.model.diameter
    return {
        "ms": times(answer.ms, stride),
        "stages_ms": {name: times(ms, stride) for name, ms in answer.stages.items()},
        "add_auc": auc(errors.add_m), "adds_auc": auc(errors.adds_m),
        "add_01d": recall(errors.add_m, small), "adds_01d": recall(errors.adds_m, small),
        "mssd_mm": {key: MM_PER_M * value for key, value in quantiles(errors.mssd_m, p50=0.5, p95=0.95).items()},
        "frames": len(errors.add_m), "answered": float(np.mean([p is not None for p in poses])) if poses else 0.0}


def times(ms: Mapping[tuple[int, int], float], stride: int) -> dict[str, float]:
    """Quantiles over the frames of one stride."""
    values = [value for (s, _), value in ms.items() if s == stride]
    return {**quantiles(values, p50=0.5, p95=0.95), "n": len(values)}


def pooled_median(answers: Sequence[Answer], stride: int) -> float:
    """Median time over the frames of several clips [ms]."""
    return quantile([v for a in answers for (s, _), v in a.ms.items() if s == stride], 0.5)
