"""A made-up run with everything a report can show: losses, coasting, wrong poses, suspicion, confidence intervals."""

from typing import Any

import numpy as np

from storm_core.bags.truth import Truth, TruthPose
from storm_core.geometry.pose import se3_exp
from storm_core.report.evaluate import assess
from storm_core.report.frame_errors import ObjectErrors
from storm_core.report.results import results_head, stage_times
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput, Transition
from test.synthetic import textured_box

BOX = textured_box()
PERIOD_NS = 33_333_333


def output(k: int, pose: np.ndarray | None, state: str = "TRACKING", *, before: str = "", probability: float = 0.9,
           name: str = "box") -> StepOutput:
    """One frame of one object; trusted when TRACKING, coasting when SUSPECT. before: the state it came from, if it
    changed."""
    item = ObjectOutput(
        object_name=name, stamp_ns=k * PERIOD_NS, state=state, reason=Reason.VERIFIED if pose is not None else
        Reason.OCCLUDED, cam_from_obj=pose, covariance=None if pose is None else 1e-5 * np.eye(6),
        probability=probability, trusted=state == "TRACKING" and pose is not None,
        coasting=state == "SUSPECT" and pose is not None, evidence=Evidence(inlier=0.8))
    changes = (Transition(object_name=name, stamp_ns=k * PERIOD_NS, before=before, after=state,
                          reason=Reason.OCCLUDED),) if before else ()
    return StepOutput(stamp_ns=k * PERIOD_NS, objects=(item,), transitions=changes,
                      stage_ms={"track": 8.0 + k % 5, "monitor": 3.0, "total": 12.0 + k % 7})


def make_run(frames: int = 200, seed: int = 0) -> tuple[dict[str, Any], list[StepOutput], dict[str, ObjectErrors]]:
    """(results, outputs, errors): tracked with noise, hidden for a tenth, found again, one pose in between wrong."""
    rng = np.random.default_rng(seed)
    hidden = range(2 * frames // 5, frames // 2)
    outputs, truths = [], []
    before = "VERIFYING"
    for k in range(frames):
        true = se3_exp([0.1 * np.sin(k / 40), 0.0, 0.7, 0.0, 0.01 * k, 0.0])
        state = "SUSPECT" if k in hidden and k < hidden.start + 5 else "LOST" if k in hidden else "TRACKING"
        error = np.r_[rng.normal(0, 1e-3, 3), rng.normal(0, 2e-3, 3)]
        if k == 3 * frames // 4:
            error[0] += 0.5 * BOX.diameter
        pose = None if state == "LOST" else se3_exp(error) @ true
        outputs.append(output(k, pose, state, before=before if before != state else "",
                              probability=float(rng.beta(8, 1))))
        truths.append((TruthPose(cam_from_obj=true, visible=0.0 if k in hidden else 0.9),))
        before = state
    assessed = assess(outputs, Truth(frames={"box": truths}, source="test"), {"box": BOX}, seed=seed)["box"]
    results = results_head("replay", "1.2.3", path="data/test/scene <7>", sha256="ab" * 32, frames=frames, seed=seed)
    results |= {"truth": "test", "objects": {"box": assessed.figures},
                "stages_ms": stage_times([o.stage_ms for o in outputs]),
                "latency": {"clock": "total", "p50": 14.0, "p95": 18.0, "p99": 18.0, "max": 18.0, "n": frames,
                            "drops": 0, "period_ms": 1e-6 * PERIOD_NS, "deadline_misses": 0.0, "over_100ms": 0.0,
                            "too_old": None}}
    assert assessed.errors is not None
    return results, outputs, {"box": assessed.errors}
