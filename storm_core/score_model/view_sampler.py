"""Poses of one object from its mask without a trained network: viewpoint hypotheses that climb the depth's own score.

Particles start at the rotations and places that explain the mask best, instead of anywhere, and climb the analytic
score (point-to-plane Gauss-Newton steps, gates shrinking from a quarter of the diameter to a fortieth) half of the way.
There the best one's twins, which the shape alone cannot tell from it, take the place of the worst; then all go on.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig, ScoreModelConfig
from storm_core.errors import InputError
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import FrameFeatures, frame_features
from storm_core.evidence.verifier import DEFAULT
from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.onboard import Onboarded, onboard
from storm_core.refinement.icp import refine
from storm_core.score_model.fitness import explained_fitness, fitness_of
from storm_core.score_model.proposals import mask_proposals
from storm_core.score_model.results import ScoreResult
from storm_core.score_model.sampler import tempered
from storm_core.score_model.score import DepthScore
from storm_core.tracking.single_frame import single_frame_covariance
from storm_core.types import Frame, Registration

COARSE, FINE = (40, (0.25, 0.08)), (56, (0.06, 0.025))
"""Stages of the climb: crop [px], first and last gate [diameters]."""

COARSE_SHARE = 0.6
"""Of the steps."""


class ViewSampler:
    """Particles from masks. Their extras: score_norms (N,), explained (N,) fitness with the mask's part."""

    def __init__(self, models: dict[str, ObjectModel], config: ScoreModelConfig,
                 onboarding: OnboardingConfig | None = None) -> None:
        self._models, self._config = models, config
        self._onboarding = onboarding or OnboardingConfig()
        self._onboarded: dict[str, Onboarded] = {}

    def sample(self, frame: Frame, object_name: str, mask: NDArray[np.bool_]) -> ScoreResult | None:
        """Particles from a mask (H, W) alone; None when it holds hardly any measured depth."""
        if mask.shape != frame.depth.shape:
            raise InputError(f"the mask is {mask.shape}, its frame {frame.depth.shape}; they must be of one size")
        onboarded, features = self._of(object_name), frame_features(frame)
        model = onboarded.model
        start = mask_proposals(features, onboarded, mask, self._config.particles)
        if not len(start):
            return None
        score = DepthScore(frame, model)
        coarse = round(COARSE_SHARE * self._config.steps)
        half, first = climbed(features, score, model, start, COARSE, coarse)
        half = with_twins(features, model, half, onboarded.shape_symmetries)
        poses, second = climbed(features, score, model, half, FINE, self._config.steps - coarse)
        fitness = fitness_of(features, model, poses)
        explained = explained_fitness(features, model, poses, mask)
        pose = poses[int(explained.argmax())]
        evidence = to_evidence(compare(features, model, pose[None])[0])
        registration = Registration(
            object_name=object_name, stamp_ns=frame.stamp_ns, cam_from_obj=pose, evidence=evidence,
            covariance=single_frame_covariance(frame, model, pose), probability=DEFAULT.probability(evidence))
        scores = np.stack([first, second])
        return ScoreResult(
            cam_from_objs=poses, weights=tempered(explained), fitness=fitness, accepted=True, registration=registration,
            pose_history=np.stack([start, half, poses]), score_history=scores,
            extras={"score_norms": score_norms(scores, model.diameter), "explained": explained})

    def _of(self, name: str) -> Onboarded:
        if name not in self._onboarded:
            self._onboarded[name] = onboard(self._models[name], self._onboarding)
        return self._onboarded[name]


def climbed(features: FrameFeatures, score: DepthScore, model: ObjectModel, poses: NDArray[np.float64],
            stage: tuple[int, tuple[float, float]], steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses (N, 4, 4) after a stage, and the score (N, 6) that they followed first, at the stage's widest kernel."""
    side, gate = stage
    score.render(poses)
    followed = score(poses, gate[0] * model.diameter)[0]
    if steps == 0:
        return poses, followed
    return refine(features, model, poses, side=side, iterations=steps, gate=gate)[0], followed


def with_twins(features: FrameFeatures, model: ObjectModel, poses: NDArray[np.float64], turns: NDArray[np.float64]
               ) -> NDArray[np.float64]:
    """Poses (N, 4, 4) of which the worst, at most half of them, have become twins of the best; its likeliest ones.

    Args:
      turns: (S, 4, 4) obj -> obj near-symmetries of the shape, identity first.
    """
    if len(turns) < 2:
        return poses
    order = np.argsort(-fitness_of(features, model, poses), kind="stable")
    twins = poses[order[0]] @ turns[1:]
    twins = twins[np.argsort(-fitness_of(features, model, twins), kind="stable")[: len(poses) // 2]]
    out = poses.copy()
    out[order[len(poses) - len(twins):]] = twins
    return out


def score_norms(scores: NDArray[np.float64], diameter: float) -> NDArray[np.float64]:
    """Sum over the stages of |score x width| (N,) of scores (S, N, 6): shift [1/m], turn [1/rad]."""
    widths = np.array([gate[0] for _, gate in (COARSE, FINE)])[:, None, None]
    unit = np.array([diameter] * 3 + [2.0] * 3)
    return np.linalg.norm(scores * widths * unit, axis=2).sum(0)
