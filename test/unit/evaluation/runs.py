"""Made-up runs: a box on a known path, and what a system might have published about it."""

from collections.abc import Sequence

import numpy as np
import trimesh

from storm_core.bags.truth import Truth, TruthPose
from storm_core.geometry.pose import se3_exp
from storm_core.report.evaluate import Assessment, assess
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput, Transition
from test.synthetic import CAMERA, model_of

PERIOD_NS = 100_000_000
BOX = model_of(trimesh.creation.box(extents=(0.08, 0.12, 0.05)), "box", None)
HALF_TURN = model_of(trimesh.creation.box(extents=(0.08, 0.12, 0.05)), "box", None,
                     np.stack([np.eye(4), se3_exp([0, 0, 0, 0, 0, np.pi])]))
START = se3_exp([0.0, 0.02, 0.6, 0.4, 0.3, 0.1])


def path(frames: int) -> np.ndarray:
    """A smooth true motion (N, 4, 4) in view of the camera: some 4 mm and 1 degree per frame."""
    k = np.arange(frames) / 10.0
    twist = np.stack([0.05 * np.sin(k), 0.04 * np.cos(0.7 * k), 0.03 * np.sin(0.3 * k), 0.1 * np.sin(0.5 * k), 0 * k,
                      0.15 * np.sin(k)], 1)
    return se3_exp(twist) @ START


def noisy(poses: np.ndarray, seed: int = 0, metres: float = 0.0005, radians: float = 0.003) -> np.ndarray:
    """Poses with independent errors."""
    scale = np.array([metres] * 3 + [radians] * 3)
    about = poses.copy()
    about[:, :3, 3] = 0
    turn = se3_exp(np.random.default_rng(seed).normal(0, 1, (len(poses), 6)) * scale)
    about = turn @ about
    about[:, :3, 3] += poses[:, :3, 3]
    return about


def published(poses: Sequence[np.ndarray | None], *, trusted: Sequence[bool] | None = None,
              probability: Sequence[float] | float = 0.9, covariance: np.ndarray | None = None,
              transitions: dict[int, tuple[Transition, ...]] | None = None, pose_lag_ns: int = 0,
              ms: Sequence[float] | float = 10.0, state: str = "TRACKING") -> list[StepOutput]:
    """One output per pose; None = no pose. A pose that is not trusted is coasting."""
    n = len(poses)
    sure = [True] * n if trusted is None else list(trusted)
    chances = np.broadcast_to(probability, n)
    times = np.broadcast_to(ms, n)
    out = []
    for k, pose in enumerate(poses):
        stamp = (k + 10) * PERIOD_NS
        item = ObjectOutput(object_name="box", stamp_ns=stamp - pose_lag_ns, state=state, reason=Reason.VERIFIED,
                            cam_from_obj=pose, covariance=None if pose is None else covariance,
                            probability=float(chances[k]), trusted=sure[k] and pose is not None,
                            coasting=not sure[k] and pose is not None, evidence=Evidence())
        out.append(StepOutput(stamp_ns=stamp, objects=(item,), transitions=(transitions or {}).get(k, ()),
                              stage_ms={"total": float(times[k])}))
    return out


def truth_of(poses: np.ndarray, visible: Sequence[float] | None = None) -> Truth:
    """Every frame has one instance."""
    share = [1.0] * len(poses) if visible is None else visible
    return Truth(frames={"box": [(TruthPose(cam_from_obj=p, visible=float(v)),) for p, v in
                                 zip(poses, share, strict=True)]}, source="test")


def assessed(outputs: list[StepOutput], truth: Truth | None, model: object = BOX) -> Assessment:
    """The only object of a run."""
    return assess(outputs, truth, {"box": model}, camera=CAMERA)["box"]  # type: ignore[dict-item]


def findings(assessment: Assessment, level: str = "warning") -> set[str]:
    """Names of the findings of one level."""
    return {f["finding"] for f in assessment.suspicion if f["level"] == level}
