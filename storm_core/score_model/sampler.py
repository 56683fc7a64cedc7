"""Annealed Langevin particles on SE(3): from one registered pose to a distribution, without training.

Each step moves every particle by xi = a P s + sqrt(2 a (1 - a / 2)) P^(1/2) z: s the score at the current noise level,
P the inverse curvature (likelihood and prior), z standard normal. On a Gaussian posterior the particles keep exactly
its covariance P for any step size a, so the spread after the last level is the uncertainty.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.config import ScoreModelConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import FrameFeatures, features_around
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import se3_exp, so3_log
from storm_core.geometry.symmetry import shape_symmetries
from storm_core.registration.judge import Judge
from storm_core.score_model.fitness import fitness_of
from storm_core.score_model.modes import sight_limit
from storm_core.score_model.noise import levels, perturbed
from storm_core.score_model.results import ScoreResult
from storm_core.score_model.score import DepthScore
from storm_core.score_model.twins import share_out, twin_shares
from storm_core.tracking.depth import measurement_sigma
from storm_core.tracking.histogram import ColorModel, count
from storm_core.tracking.optimise import align, tolerance
from storm_core.tracking.sparse_model import rendered_view
from storm_core.tracking.uncertainty import left_covariance
from storm_core.types import Frame, Registration

START_SHIFT, START_TURN = 0.05, 0.15
"""First noise level: diameters, radians."""

ROOM = 0.25
"""How far from the given pose the image is prepared for particles [diameters]: five standard deviations."""

LAST_LEVEL = 0.02
"""Last noise level relative to the first."""

STEP = 0.5
RENDER_INTERVAL = 3
POLISH_STEPS, POLISHED = 4, 4
"""Noise-free steps at the last level, for the best particles."""

ALIGN_ITERATIONS = 6

MARGIN = 0.03
"""Gain in fitness a refined pose needs to replace the given one. Of 196 registered validation objects 9 gain so much,
and all of their poses get better; with 0.02 12 of 15 do, with 0.004 41 of 85."""

MIN_FITNESS = 0.2
"""Fitness below which no pose is supported by the image: being less wrong is no improvement."""

TEMPERATURE = 0.02
"""Fitness difference that changes a particle's weight by a factor of e."""


class LangevinRefiner:
    """The default ScoreRefiner: an analytic noise-conditioned score, no weights."""

    def __init__(self, models: dict[str, ObjectModel], config: ScoreModelConfig, seed: int = 0) -> None:
        self._models, self._config, self._seed = models, config, seed
        self._turns: dict[str, NDArray[np.float64]] = {}

    def refine(self, frame: Frame, registration: Registration) -> ScoreResult:
        """Particles around a registered pose and its twins, and the pose itself where no particle fits better.

        A twin is the pose after a turn that the shape, or a declared symmetry, maps onto itself; the particles are
        shared out over the twins that the image allows. The refined pose and its covariance stay with the given mode.

        The seed and the frame's stamp decide the noise: the same input gives the same particles.
        """
        model = self._models[registration.object_name]
        rng = np.random.default_rng([self._seed, registration.stamp_ns % 2**63])
        score = DepthScore(frame, model)
        n, steps = self._config.particles, self._config.steps
        poses = np.concatenate(
            [
                registration.cam_from_obj[None],
                perturbed(
                    registration.cam_from_obj, model.center, n - 1, START_SHIFT * model.diameter, START_TURN, rng
                ),
            ]
        )
        sensor = measurement_sigma(float(center_of(model, poses[:1])[0, 2]))
        history, score_history = [poses.copy()], []
        for i, level in enumerate(levels(steps, 1.0, LAST_LEVEL)):
            if i % RENDER_INTERVAL == 0:
                score.render(poses)
            width = float(np.hypot(sensor, level * START_SHIFT * model.diameter))
            poses, s = self._step(score, model, poses, registration.cam_from_obj, width, rng)
            history.append(poses.copy())
            score_history.append(s)
        radius = 0.5 * float(np.linalg.norm(model.size)) + ROOM * model.diameter
        features = features_around(frame, center_of(model, registration.cam_from_obj[None])[0], radius)
        fitness = fitness_of(features, model, poses)
        best = poses[np.argsort(-fitness, kind="stable")[:POLISHED]]
        polished = self._polish(score, model, best, registration, sensor)
        candidates = np.concatenate(
            [registration.cam_from_obj[None], polished, self._with_contour(frame, model, polished[:2])]
        )
        rank = fitness_of(features, model, candidates)
        chosen = int(np.argmax(rank))
        accepted = chosen > 0 and rank[chosen] > max(rank[0] + MARGIN, MIN_FITNESS)
        pose = candidates[chosen if accepted else 0]
        weights = tempered(fitness)
        refined = self._registration(features, model, registration, pose, poses, weights)
        shape = self._shape(model)
        turns = (shape[:, None] @ model.symmetries[None]).reshape(-1, 4, 4)
        if len(turns) > 1:
            shares = twin_shares(Judge(features, model), pose, shape).repeat(len(model.symmetries))
            poses, weights = share_out(poses, weights, turns, shares / len(model.symmetries), rng)
            fitness = fitness_of(features, model, poses)
        return ScoreResult(
            cam_from_objs=poses,
            weights=weights,
            fitness=fitness,
            accepted=bool(accepted),
            pose_history=np.stack(history),
            score_history=np.stack(score_history),
            registration=refined,
        )

    def _shape(self, model: ObjectModel) -> NDArray[np.float64]:
        if model.name not in self._turns:
            self._turns[model.name] = shape_symmetries(model)
        return self._turns[model.name]

    def _step(
        self,
        score: DepthScore,
        model: ObjectModel,
        poses: NDArray[np.float64],
        prior_pose: NDArray[np.float64],
        width: float,
        rng: np.random.Generator | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One Langevin step of all particles (without noise when rng is None), and the scores (N, 6)."""
        s, curvature, _ = score(poses, width)
        information = prior_information(model)
        s = s - tangent(model, prior_pose, poses) @ information
        inverse_curvature = np.linalg.inv(curvature + information)
        xi = STEP * (inverse_curvature @ s[..., None])[..., 0]
        if rng is not None:
            root = np.linalg.cholesky(inverse_curvature)
            noise = rng.normal(size=(len(poses), 6, 1))
            xi = xi + np.sqrt(2 * STEP * (1 - STEP / 2)) * (root @ noise)[..., 0]
        return moved(model, poses, xi), s

    def _polish(
        self,
        score: DepthScore,
        model: ObjectModel,
        poses: NDArray[np.float64],
        registration: Registration,
        sensor: float,
    ) -> NDArray[np.float64]:
        score.render(poses)
        for _ in range(POLISH_STEPS):
            poses, _ = self._step(score, model, poses, registration.cam_from_obj, 1.5 * sensor, None)
        return poses

    def _with_contour(self, frame: Frame, model: ObjectModel, poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Poses (N, 4, 4) after a joint alignment of depth and silhouette: depth alone slides along flat sides."""
        out = []
        for pose in poses:
            view = rendered_view(model, pose, frame.camera)
            colors = ColorModel(count(frame, view, tolerance(model.diameter)))
            out.append(align(frame, model, pose, colors.posterior, ALIGN_ITERATIONS, gates=(0.1, 0.06)).cam_from_obj)
        return np.stack(out)

    def _registration(
        self,
        features: FrameFeatures,
        model: ObjectModel,
        given: Registration,
        pose: NDArray[np.float64],
        poses: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> Registration:
        """The registration with the chosen pose and the particles' covariance around it."""
        center = center_of(model, pose[None])[0]
        offsets = tangent(model, pose, poses)
        spread = (offsets * weights[:, None]).T @ offsets
        # Few effective particles understate the spread; a Wishart-like correction, bounded.
        effective = 1.0 / np.sum(weights**2)
        spread *= min(effective / max(effective - 1.0, 0.5), 2.0)
        covariance = left_covariance(spread + sight_limit(model, center), center)
        table = compare(features, model, pose[None])
        return Registration(
            object_name=given.object_name,
            stamp_ns=given.stamp_ns,
            cam_from_obj=pose,
            covariance=0.5 * (covariance + covariance.T),
            probability=given.probability,
            evidence=to_evidence(table[0]),
        )


def tempered(fitness: NDArray[np.float64], temperature: float = TEMPERATURE) -> NDArray[np.float64]:
    """Probabilities (N,), sum 1, of poses with given fitness."""
    weights = np.exp((fitness - fitness.max()) / temperature)
    return weights / weights.sum()


def prior_information(model: ObjectModel) -> NDArray[np.float64]:
    """(6, 6) information of the given pose at the first noise level."""
    return np.diag([1 / (START_SHIFT * model.diameter) ** 2] * 3 + [1 / START_TURN**2] * 3)


def center_of(model: ObjectModel, poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Object centres (N, 3) of poses (N, 4, 4) in the camera frame [m]."""
    return poses[:, :3, :3] @ model.center + poses[:, :3, 3]


def moved(model: ObjectModel, poses: NDArray[np.float64], xi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N, 4, 4) after left increments (N, 6) at their object centres: turn about the centre, then shift."""
    centers = center_of(model, poses)
    turns = se3_exp(np.concatenate([np.zeros_like(xi[:, :3]), xi[:, 3:]], 1))[:, :3, :3]
    out = poses.copy()
    out[:, :3, :3] = turns @ poses[:, :3, :3]
    out[:, :3, 3] = centers + xi[:, :3] - out[:, :3, :3] @ model.center
    return out


def tangent(model: ObjectModel, pose: NDArray[np.float64], poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Increments (N, 6) at the object centre that lead from `pose` (4, 4) to poses (N, 4, 4); inverse of `moved`."""
    turns = so3_log(poses[:, :3, :3] @ pose[:3, :3].T)
    return np.concatenate([center_of(model, poses) - center_of(model, pose[None]), turns], 1)
