"""How far the learned refiner brings hypotheses: errors before and after, by the size of the disturbance.

Views are of procedural objects that no training has seen (`--split val` or `test`), or targets of a BOP dataset. Every
method starts from the same disturbed poses. ICP follows depth from there; the hybrid lets ICP polish what the refiner
says and keeps whichever the verifier prefers. Its control has as many candidates from turns that nobody has learned.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.features import bare_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.metrics.bootstrap import block_resamples, share_interval
from storm_core.refinement.icp import refine as icp
from storm_core.registration.judge import Judge
from storm_core.render_compare.motion import moved
from storm_core.render_compare.refiner import Hypotheses, PairRefiner, PairScorer
from storm_core.training.refiner_scenes import random_rgbd_view
from storm_core.training.score_batches import errors_of
from storm_core.types import Frame

Poses = NDArray[np.float64]

RIGHT = 0.1
"""Mean point error below which a pose counts as right [diameters]."""

SHIFT_PER_TURN = 0.15 / 45
"""Shift that goes with a turn [diameters per degree], as far as 0.2."""


FAN_DEG = 30.0
"""Turn between the starts of the control [deg]."""


@dataclass(frozen=True, eq=False)
class Case:
    """One object in one frame, with its true pose (4, 4)."""

    frame: Frame
    model: ObjectModel
    cam_from_obj: Poses


Method = Callable[[Case, Poses], Poses]
"""Disturbed poses (N, 4, 4) of a case -> what is made of them (N, 4, 4)."""


def procedural_cases(split: str, count: int, seed: int) -> Iterator[Case]:
    """Views of procedural objects of a split."""
    for k in range(count):
        view = random_rgbd_view(split, 400, np.random.default_rng([seed, 11, k]))
        frame = Frame(rgb=view.rgb, depth=view.depth, camera=view.camera, stamp_ns=0)
        yield Case(frame, view.model, view.cam_from_obj)


def methods(refiner: PairRefiner | None, iterations: int) -> dict[str, Method]:
    """What is compared: nothing, ICP, the refiner alone, and both."""

    def polished(case: Case, poses: Poses) -> Poses:
        features = bare_features(case.frame)
        poses, _, _ = icp(features, case.model, poses, side=40, iterations=8, gate=(0.25, 0.08))
        poses, _, _ = icp(features, case.model, poses, side=72, iterations=8, gate=(0.08, 0.03))
        return poses

    def learned(case: Case, poses: Poses) -> Poses:
        assert refiner is not None
        return refiner.refine(case.frame, [Hypotheses(case.model, poses)], iterations)[0]

    def hybrid(case: Case, poses: Poses) -> Poses:
        """Of each start, the best of ICP, refiner, and ICP after the refiner."""
        first = learned(case, poses)
        return _best(case, [polished(case, poses), first, polished(case, first)])

    def fan(case: Case, poses: Poses) -> Poses:
        """Of each start, the best of three times ICP: from it, and from it turned either way about some axis."""
        axes = np.random.default_rng(len(poses)).normal(size=(len(poses), 3))
        turns = np.radians(FAN_DEG) * axes / np.linalg.norm(axes, axis=1, keepdims=True)
        still = np.zeros((len(poses), 3))
        return _best(case, [polished(case, moved(poses, case.model.center, still, so3_exp(sign * turns)))
                            for sign in (0.0, 1.0, -1.0)])

    geometric: dict[str, Method] = {"start": lambda _, poses: poses, "icp": polished, "3 x icp": fan}
    return geometric if refiner is None else geometric | {"refiner": learned, "refiner + icp": hybrid}


def _best(case: Case, candidates: list[Poses]) -> Poses:
    """Of each start's candidates, K times (N, 4, 4), the one (N, 4, 4) that the verifier prefers."""
    poses = np.stack(candidates)
    rank, _ = Judge(bare_features(case.frame), case.model).judge(poses.reshape(-1, 4, 4), 64)
    return poses[rank.reshape(len(poses), -1).argmax(0), np.arange(poses.shape[1])]


def disturbed(case: Case, turn_deg: float, count: int, rng: np.random.Generator) -> Poses:
    """Poses (count, 4, 4) turned by exactly so much about random axes, and shifted."""
    axes, shifts = rng.normal(size=(count, 3)), rng.normal(size=(count, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    shifts *= min(SHIFT_PER_TURN * turn_deg, 0.2) / np.linalg.norm(shifts, axis=1, keepdims=True)
    return moved(np.repeat(case.cam_from_obj[None], count, 0), case.model.center, shifts * case.model.diameter,
                 so3_exp(axes * np.radians(turn_deg)))


def errors(cases: list[Case], ways: Mapping[str, Method], turns_deg: tuple[float, ...], count: int,
           seed: int) -> dict[str, dict[float, NDArray[np.float64]]]:
    """Mean point errors [diameters] (cases, count) by method and turn of the disturbance."""
    out: dict[str, dict[float, list[NDArray[np.float64]]]] = {name: {t: [] for t in turns_deg} for name in ways}
    for k, case in enumerate(cases):
        for turn in turns_deg:
            starts = disturbed(case, turn, count, np.random.default_rng([seed, k, int(turn)]))
            for name, way in ways.items():
                found = errors_of(case.model, case.cam_from_obj, way(case, starts)) / case.model.diameter
                out[name][turn].append(found)
    return {name: {turn: np.stack(rows) for turn, rows in parts.items()} for name, parts in out.items()}


def recall(rows: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Share of right poses with its 95 % interval over views drawn again, and the median error [diameters].

    Args:
      rows: errors (views, starts) [diameters].
    """
    share = (rows < RIGHT).mean(1)
    samples = block_resamples(len(share), seed=seed, block=1).sums(share) / len(share)
    return {"right": float(share.mean()), "interval": share_interval(samples, len(share)),
            "median": float(np.median(rows))}


def scorer_figures(cases: list[Case], scorer: PairScorer, turns_deg: tuple[float, ...], count: int,
                   seed: int) -> dict[str, float]:
    """How often the first choice among disturbed poses and the truth is right: by the scorer, the verifier, by both."""
    right: dict[str, list[bool]] = {"scorer": [], "verifier": [], "both": []}
    for k, case in enumerate(cases):
        rng = np.random.default_rng([seed, k])
        poses = np.concatenate([disturbed(case, turn, count, rng) for turn in (3.0, *turns_deg)])
        error = errors_of(case.model, case.cam_from_obj, poses) / case.model.diameter
        score = scorer.score(case.frame, Hypotheses(case.model, poses)).astype(float)
        rank, _ = Judge(bare_features(case.frame), case.model).judge(poses, 64)
        for name, value in (("scorer", score), ("verifier", rank), ("both", score + rank)):
            right[name].append(bool(error[int(np.argmax(value))] < RIGHT))
    return {name: float(np.mean(rows)) for name, rows in right.items()}
