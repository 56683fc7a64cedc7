"""Fit the tracker's error model to how wrong it was on rendered sequences (`storm train covariance`).

Likelihood of the errors under a multivariate t distribution, whose heavy tails keep rare slips from deciding all; then
all errors are scaled together until the 95 % ellipsoids hold the truth in 95 % of the frames.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import chi2
from tqdm import tqdm

from storm_core.bags.true_poses import VISIBLE_SHARE
from storm_core.bop.dataset import Annotation, read_annotations
from storm_core.config import OnboardingConfig, TrackingConfig
from storm_core.errors import DatasetError
from storm_core.evaluation.images import read_image
from storm_core.evaluation.strata import find_benchmark
from storm_core.evaluation.system import sequence_images
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.mesh_io import load_models
from storm_core.geometry.pose import so3_log
from storm_core.geometry.symmetry import free_axis, nearest_equivalent, turned_to
from storm_core.metrics.covariance import LEVEL_95
from storm_core.metrics.tracking import WRONG_SHARE
from storm_core.tracking.tracker import RegionDepthTracker
from storm_core.tracking.uncertainty import Conditions, ErrorModel, Observation, turned_axes
from storm_core.types import Evidence, Frame, Registration, Track

Array = NDArray[np.float64]

FREEDOM = 5.0
"""Degrees of freedom of the t distribution."""

PRIOR = 0.02
"""Weight of the shipped parameters: log-likelihood per frame for a factor of e."""

GROUPS = {"all": slice(0, 6), "lateral": slice(0, 2), "depth": slice(2, 3), "rotation": slice(3, 6)}
"""Axes whose errors are looked at together."""

START = 1e-8
"""Variance of the pose a track starts from, the true one [m^2, rad^2]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """One object tracked from its true pose until the end or the loss of the track; N fits.

    Attributes:
      conditions: of the fits, stacked. rotations: (N, 3, 3) of cam_from_obj. new_key: (N,) a key frame was taken.
      errors: (N, 6) of the pose as an increment about the object centre, truth minus estimate [m, rad].
      counted: (N,) the object is visible and the pose not wrong beyond what a covariance is for.
    """

    stratum: str
    conditions: Conditions
    rotations: Array
    new_key: NDArray[np.bool_]
    errors: Array
    counted: NDArray[np.bool_]


class Batch:
    """Many runs side by side: at each step the next fit of every run that is still going, N fits in all.

    Attributes:
      errors: (N, 6). counted: (N,). dimensions: (N,) of the pose, 5 with a free axis. strata: (N,) names.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        runs = sorted(runs, key=lambda run: -len(run.errors))
        self._steps: list[tuple[Conditions, Array, Array]] = []
        going: list[list[tuple[Run, int]]] = []
        for k in range(len(runs[0].errors) if runs else 0):
            here = [run for run in runs if len(run.errors) > k]
            going.append([(run, k) for run in here])
            conditions = {f.name: np.stack([getattr(run.conditions, f.name)[k] for run in here])
                          for f in fields(Conditions)}
            self._steps.append((Conditions(**conditions), np.stack([run.rotations[k] for run in here]),
                                np.array([run.new_key[k] for run in here])))
        flat = [pair for step in going for pair in step]
        self.errors = np.array([run.errors[k] for run, k in flat]).reshape(-1, 6)
        self.counted = np.array([run.counted[k] for run, k in flat], bool)
        self.dimensions = np.array([5 if run.conditions.free.any() else 6 for run, _ in flat], int)
        self.strata = np.array([run.stratum for run, _ in flat], str)

    def covariances(self, model: ErrorModel) -> Array:
        """(N, 6, 6) about the object centre, as the tracker would have given them."""
        out = []
        key = np.repeat(START * np.eye(6)[None], len(self._steps[0][1]), 0)
        for conditions, rotations, new_key in self._steps:
            key = model.drifted(key[:len(rotations)], conditions.innovation, conditions.diameter)
            found = model.covariance(conditions, turned_axes(key, rotations))
            key = np.where(new_key[:, None, None], turned_axes(found, np.swapaxes(rotations, 1, 2)), key)
            out.append(found)
        return np.concatenate(out)

    def inside(self, model: ErrorModel) -> float:
        """Share of the counted fits whose 95 % ellipsoid holds the truth."""
        squared = squared_errors(self.errors, self.covariances(model))
        return float((squared <= chi2.ppf(LEVEL_95, self.dimensions))[self.counted].mean())


def squared_errors(errors: Array, covariances: Array, part: slice = slice(0, 6)) -> Array:
    """e^T P^-1 e (N,) of some of the six coordinates."""
    e, p = errors[:, part], covariances[:, part, part]
    return np.einsum("ni,ni->n", e, np.linalg.solve(p, e[..., None])[..., 0])


def fit(batch: Batch, start: ErrorModel) -> ErrorModel:
    """The error model under which the errors are likeliest, scaled to hold 95 % of them."""
    names = [f.name for f in fields(ErrorModel)]
    first = np.log([getattr(start, name) for name in names])
    counted = batch.counted

    def loss(logs: Array) -> float:
        model = ErrorModel(**dict(zip(names, np.exp(logs).tolist(), strict=True)))
        p = batch.covariances(model)[counted]
        far = np.log1p(squared_errors(batch.errors[counted], p) / FREEDOM)
        unlikely = 0.5 * np.linalg.slogdet(p)[1] + 0.5 * (FREEDOM + batch.dimensions[counted]) * far
        # A weak prior keeps parameters that the data do not decide where they were.
        return float(unlikely.mean() + PRIOR * ((logs - first) ** 2).sum())

    found = minimize(loss, first, method="L-BFGS-B", bounds=[(f - 4.0, f + 4.0) for f in first],
                     options={"maxiter": 40, "eps": 1e-3, "ftol": 1e-6}).x
    return calibrated(ErrorModel(**dict(zip(names, np.exp(found).tolist(), strict=True))), batch)


def calibrated(model: ErrorModel, batch: Batch) -> ErrorModel:
    """All errors scaled by one factor so that 95 % of the frames have the truth inside."""
    low, high = 0.05, 20.0
    for _ in range(14):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if batch.inside(scaled(model, middle)) < LEVEL_95 else (low, middle)
    return scaled(model, high)


def scaled(model: ErrorModel, factor: float) -> ErrorModel:
    """The model of errors `factor` times as large."""
    noise = {name: factor**2 * getattr(model, name) for name in ("geometry_noise", "texture_noise")}
    shared = {name: factor * getattr(model, name) for name in ("pixel", "blend", "print", "depth", "slip")}
    return replace(model, **noise, **shared)


def coverage(model: ErrorModel, batch: Batch) -> dict[str, dict[str, float]]:
    """"all" and every stratum -> group of axes -> share of the counted fits inside the 95 % ellipsoid of these axes.

    `median_level`: of the ellipsoid whose border the truth lies on; 0.5 where the whole distribution is right.
    """
    p, e, d = batch.covariances(model)[batch.counted], batch.errors[batch.counted], batch.dimensions[batch.counted]
    levels = {group: chi2.cdf(squared_errors(e, p, part), part.stop - part.start - (6 - d if part.stop == 6 else 0))
              for group, part in GROUPS.items()}
    strata = batch.strata[batch.counted]
    members = {"all": np.ones(len(e), bool)} | {name: strata == name for name in dict.fromkeys(strata.tolist())}
    return {name: {group: float((level[here] <= LEVEL_95).mean()) for group, level in levels.items()}
            | {"median_level": float(np.median(levels["all"][here])), "frames": int(here.sum())}
            for name, here in members.items()}


def collect(root: Path, workers: int) -> list[Run]:
    """Every target of every scene of a benchmark, tracked from its true pose.

    Raises:
      DatasetError: the folder is no benchmark of `storm simulate benchmark`, or holds no sequences.
    """
    benchmark = find_benchmark(root)
    if benchmark is None or all(scene.frames < 2 for scene in benchmark.scenes.values()):
        raise DatasetError(f"{root} holds no sequences with strata; make them with `storm simulate benchmark --suite "
                           "tracking --split val`")
    scenes = [s.scene for s in benchmark.scenes.values() if s.present]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = list(tqdm(pool.map(partial(runs_of, root), scenes), total=len(scenes), unit="scene", disable=None))
    return [run for runs in found for run in runs]


def runs_of(root: Path, scene: int) -> list[Run]:
    """One scene's target, tracked from its true pose, and again from there when the track is lost or wrong."""
    benchmark = find_benchmark(root)
    assert benchmark is not None
    about = benchmark.scenes[scene]
    folder = root / about.folder
    name = str(about.target)
    model = load_models(root / "models", (name,), max_faces=OnboardingConfig().max_faces)[name]
    truths = read_annotations(folder)
    runs: list[Run] = []
    seen: list[tuple[Observation, Array, bool]] = []
    latest: list[Observation] = []
    tracker = RegionDepthTracker({name: model}, TrackingConfig(), watch=latest.append)
    following = False
    for image in sequence_images(folder, about.rate_hz):
        frame = read_image(image)
        there = [a for a in truths.get(image.im_id, ()) if a.obj_id == about.target]
        if not following:
            following = _start(tracker, frame, name, there)
            continue
        latest.clear()
        track = tracker.track(frame)[name]
        wrong = False
        if isinstance(track, Track) and latest and there:
            error, visible = _error(model, track.cam_from_obj, there)
            wrong = bool(np.linalg.norm(error[:3]) + 0.5 * model.diameter * np.linalg.norm(error[3:])
                         > WRONG_SHARE * model.diameter)
            seen.append((latest[0], error, visible and not wrong))
        if wrong or not isinstance(track, Track):
            runs += _run(about.stratum, seen)
            seen, following = [], False
            tracker.stop(name)
    return runs + _run(about.stratum, seen)


def _start(tracker: RegionDepthTracker, frame: Frame, name: str, there: Sequence[Annotation]) -> bool:
    if not there or max(a.visible for a in there) < 0.5:
        return False
    best = max(there, key=lambda a: a.visible)
    tracker.start(frame, Registration(
        object_name=name, stamp_ns=frame.stamp_ns, cam_from_obj=best.cam_from_obj, covariance=START * np.eye(6),
        probability=1.0, evidence=Evidence()))
    return True


def _error(model: ObjectModel, estimate: Array, there: Sequence[Annotation]) -> tuple[Array, bool]:
    """Error (6,) against the nearest instance as an increment about the object centre, and whether that is visible."""
    center = model.center
    place = estimate[:3, :3] @ center + estimate[:3, 3]
    nearest = min(there, key=lambda a: np.linalg.norm(a.cam_from_obj[:3, :3] @ center + a.cam_from_obj[:3, 3] - place))
    truth = nearest_equivalent(nearest.cam_from_obj, model.symmetries, estimate)
    free = free_axis(model.symmetries)
    if free is not None:
        truth = turned_to(truth[None], estimate[None], *free)[0]
    shift = truth[:3, :3] @ center + truth[:3, 3] - place
    return np.concatenate([shift, so3_log(truth[:3, :3] @ estimate[:3, :3].T)]), not nearest.visible < VISIBLE_SHARE


def _run(stratum: str, seen: Sequence[tuple[Observation, Array, bool]]) -> list[Run]:
    if not seen:
        return []
    observations = [o for o, _, _ in seen]
    stacked = {f.name: np.stack([getattr(o.conditions, f.name) for o in observations]) for f in fields(Conditions)}
    return [Run(stratum=stratum, conditions=Conditions(**stacked), errors=np.stack([e for _, e, _ in seen]),
                rotations=np.stack([o.rotation for o in observations]), counted=np.array([c for _, _, c in seen]),
                new_key=np.array([o.new_key for o in observations]))]


def report(fitted: ErrorModel, shipped: ErrorModel, batch: Batch) -> dict[str, Any]:
    """What `storm train covariance` writes."""
    return {"parameters": {name: float(f"{value:.3g}") for name, value in asdict(fitted).items()},
            "fits": int(batch.counted.sum()), "wrong_or_hidden": int((~batch.counted).sum()),
            "coverage_95": coverage(fitted, batch), "coverage_95_shipped": coverage(shipped, batch)}
