"""Poses of one object from its mask, or from a pose, by sampling with the trained score network."""

import numpy as np
from numpy.typing import NDArray

from storm_core.config import ScoreModelConfig
from storm_core.errors import InputError
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import FrameFeatures, frame_features
from storm_core.evidence.verifier import DEFAULT
from storm_core.geometry.mesh import ObjectModel
from storm_core.models.sharing import OnePerProcess, state_of
from storm_core.score_model import polish
from storm_core.score_model.annealing import Path, anneal
from storm_core.score_model.clouds import scene_points
from storm_core.score_model.fitness import explained_fitness, fitness_of
from storm_core.score_model.modes import local_spread, sight_limit
from storm_core.score_model.network_score import NetworkScore, Runtime
from storm_core.score_model.particles import Particles, noisy, particles_of, uniform_particles
from storm_core.score_model.results import ScoreResult
from storm_core.score_model.selection import select
from storm_core.score_model.surroundings import near_pose
from storm_core.score_model.weights import load_weights, weights_file
from storm_core.tracking.uncertainty import left_covariance
from storm_core.types import Frame, Registration

MARGIN = 0.01
"""Gain in fitness that a sampled pose needs to replace a given one."""

MIN_FITNESS = 0.2
"""Fitness below which no pose is supported by the image."""

TEMPERATURE = 0.3
"""Factor of expected error (natural logarithm) that changes a particle's weight by a factor of e."""

_RUNTIMES: OnePerProcess[Runtime] = OnePerProcess()


class NetworkRefiner:
    """The ScoreRefiner with the trained network.

    Its results carry extras: expected_errors (N,) [diameters], score_norms (N,), latent_distances (N,), explained (N,)
    fitness with the mask's part, scene_latent (3, C), object_latents (N, 3, C).
    """

    def __init__(self, models: dict[str, ObjectModel], config: ScoreModelConfig, seed: int = 0,
                 runtime: Runtime | None = None) -> None:
        """runtime: weights in memory; None = load what `config` names (WeightsError when it is not there)."""
        self._models, self._config, self._seed = models, config, seed
        self._runtime = runtime or _shared_runtime(config)

    def refine(self, frame: Frame, registration: Registration) -> ScoreResult:
        """Particles around a registered pose, and the pose itself where no particle fits better.

        The seed and the frame's stamp decide the noise: the same input gives the same particles.
        """
        model = self._models[registration.object_name]
        mask = near_pose(frame, model, registration.cam_from_obj)
        result = self._sample(frame, model, mask, registration)
        if result is None:
            return _kept(registration)
        return result

    def sample(self, frame: Frame, object_name: str, mask: NDArray[np.bool_]) -> ScoreResult | None:
        """Particles from a mask (H, W) alone; None when it holds hardly any measured depth."""
        if mask.shape != frame.depth.shape:
            raise InputError(f"the mask is {mask.shape}, its frame {frame.depth.shape}; they must be of one size")
        return self._sample(frame, self._models[object_name], mask, None)

    def _sample(self, frame: Frame, model: ObjectModel, mask: NDArray[np.bool_], given: Registration | None
                ) -> ScoreResult | None:
        config, schedule = self._config, self._runtime.weights.schedule
        rng = np.random.default_rng([self._seed, frame.stamp_ns % 2**63])
        network = self._runtime.weights.network
        seen = scene_points(frame.depth, mask, frame.camera, model.diameter, network.scene_points, rng)
        if seen is None:
            return None
        score = NetworkScore(self._runtime, seen, model, frame.camera)
        first = 1.0 if given is None else config.start
        if given is None:
            start = uniform_particles(config.particles, schedule.shift_high, rng)
        else:
            at = particles_of(given.cam_from_obj[None], seen.origin, model.center, model.diameter)
            start = noisy(at, config.particles, *schedule.widths(first), rng)
        path = anneal(score, start, schedule, rng, sampler=config.sampler, steps=config.steps, first_level=first,
                      render_interval=config.render_interval)
        features = frame_features(frame)
        particles = self._polished(score, features, model, path.particles, seen.origin)
        extras = judged(score, path, particles)
        poses = score.poses(particles)
        fitness = fitness_of(features, model, poses)
        extras["explained"] = explained_fitness(features, model, poses, mask)
        errors = np.log(extras["expected_errors"])
        weights = np.exp((errors.min() - errors) / TEMPERATURE)
        weights /= weights.sum()
        chosen = select({"fitness": fitness, **extras}, config.selection)
        accepted = given is None or _is_better(features, model, poses[chosen], given.cam_from_obj)
        pose = poses[chosen] if accepted or given is None else given.cam_from_obj
        widths = schedule.widths(path.levels)[:, None].repeat(3, -1) * np.repeat([model.diameter, 1.0], 3)
        return ScoreResult(
            cam_from_objs=poses, weights=weights, fitness=fitness, accepted=bool(accepted),
            pose_history=np.stack([score.poses(p) for p in path.history]), score_history=path.scores / widths,
            extras=extras, registration=_registration(features, model, frame.stamp_ns, pose, poses, weights, given))

    def _polished(self, score: NetworkScore, features: FrameFeatures, model: ObjectModel, particles: Particles,
                  origin: NDArray[np.float64]) -> Particles:
        if self._config.polish == "svd":
            score.render(particles)
            return polish.aligned_latents(score, particles)
        if self._config.polish == "icp":
            return particles_of(polish.icp(features, model, score.poses(particles)), origin, model.center,
                                model.diameter)
        return particles


def judged(score: NetworkScore, path: Path, particles: Particles) -> dict[str, NDArray[np.float64]]:
    """What the network thinks of particles at the end of their path; see `NetworkRefiner`."""
    score.render(particles)
    _, expected = score.evaluate(particles, 0.0)
    scene, objects = score.latents(particles)
    return {"expected_errors": expected, "score_norms": np.linalg.norm(path.scores, axis=2).sum(0),
            "latent_distances": np.linalg.norm(scene - objects, axis=1).mean(-1), "scene_latent": scene,
            "object_latents": objects}


def _is_better(features: FrameFeatures, model: ObjectModel, pose: NDArray[np.float64], given: NDArray[np.float64]
               ) -> bool:
    new, old = fitness_of(features, model, np.stack([pose, given]))
    return bool(new > max(old + MARGIN, MIN_FITNESS))


def _shared_runtime(config: ScoreModelConfig) -> Runtime:
    """The network that the configuration names, one for all who use it."""
    key = config.device, state_of(weights_file(config.weights))
    return _RUNTIMES.get(key, lambda: Runtime(load_weights(config.weights), config.device))


def _registration(features: FrameFeatures, model: ObjectModel, stamp_ns: int, pose: NDArray[np.float64],
                  poses: NDArray[np.float64], weights: NDArray[np.float64], given: Registration | None) -> Registration:
    """The chosen pose with the spread of the particles of its own mode.

    A given pose that all particles have left keeps its covariance: they say nothing about it.
    """
    center = pose[:3, :3] @ model.center + pose[:3, 3]
    spread = local_spread(model, pose, poses, weights)
    if spread is None:
        assert given is not None, "a chosen particle is near itself"
        covariance = given.covariance
    else:
        covariance = left_covariance(spread + sight_limit(model, center), center)
    evidence = to_evidence(compare(features, model, pose[None])[0])
    return Registration(object_name=model.name if given is None else given.object_name, stamp_ns=stamp_ns,
                        cam_from_obj=pose, covariance=0.5 * (covariance + covariance.T), evidence=evidence,
                        probability=DEFAULT.probability(evidence) if given is None else given.probability)


def _kept(registration: Registration) -> ScoreResult:
    """The given pose alone, where there is no depth to sample from."""
    pose = registration.cam_from_obj[None]
    unknown = np.full(1, np.nan)
    return ScoreResult(cam_from_objs=pose, weights=np.ones(1), fitness=unknown, accepted=False,
                       registration=registration, pose_history=pose[None], score_history=np.zeros((0, 1, 6)),
                       extras={"expected_errors": unknown, "score_norms": unknown, "latent_distances": unknown,
                               "explained": unknown})
