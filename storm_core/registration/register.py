"""Registration: localization -> hypotheses -> batched refinement -> render-and-compare -> verified pose or a reason."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig, RegistrationConfig
from storm_core.evidence.compare import TELLING_CONTRAST, compare, scores, to_evidence
from storm_core.evidence.features import FrameFeatures, frame_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.suppress import suppress
from storm_core.geometry.symmetry import canonical
from storm_core.onboarding.onboard import Onboarded, onboard
from storm_core.refinement.icp import refine
from storm_core.registration.decoys import decoy_margin, doubt
from storm_core.registration.duel import dueled, lead, tie, voted
from storm_core.registration.figure import figure_bonus
from storm_core.registration.hypotheses import poses_from_mask
from storm_core.registration.judge import Judge
from storm_core.registration.learned import LearnedHelp
from storm_core.registration.paint import paint_doubt
from storm_core.registration.picture_alone import picture_doubt
from storm_core.registration.polish import polish
from storm_core.registration.twins import resolve_twins, turned
from storm_core.som.blind import blind_candidates
from storm_core.som.scan import scan, scan_image
from storm_core.tracking.single_frame import single_frame_covariance
from storm_core.types import Evidence, Frame, Localization, Reason, Registration, RegistrationFailure

CONVINCING = 2.0
"""Log-odds from which a pose is not polished any more."""

LAST = 12
"""Candidates that the learned scorer compares in the end."""

SHAPE_ALONE = 0.5
"""Log-odds against a model without colours where no mask says that it is there: many a shape fits something. On twelve
validation models without their colours 13 % instead of 24 % of the absent ones are accepted, and none that is there is
lost; of cups, brackets and assemblies without colours 2 of 24 are."""

CUT_OFF = 2.0
"""Log-odds against a pose per share of its silhouette beyond the picture's border: nothing contradicts it there, and a
corner of something else suffices. Of 224 searches for absent validation objects 6 instead of 8 accept one, and of 345
right answers none is lost."""

MEASURED = 0.6
"""Share of a mask with depth below which its colours are searched as well."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One verified-or-not pose with its numbers.

    Attributes:
      doubts: log-odds (at most 0) in `probability` that come from others that look as good.
      paint: log-odds (at most 0) in it that come from another paint than the model's.
    """

    cam_from_obj: NDArray[np.float64]
    probability: float
    evidence: Evidence
    doubts: float = 0.0
    paint: float = 0.0


def distinct(cam_from_objs: NDArray[np.float64], model: ObjectModel, keep: int, distance: float,
             angle_deg: float) -> NDArray[np.float64]:
    """At most `keep` of the poses (N, 4, 4), best first, that look different.

    Args:
      distance: [diameters], angle_deg: two poses closer in both are one; so are poses that a declared symmetry maps
        onto each other.
    """
    poses = canonical(cam_from_objs, model.symmetries, cam_from_objs[0])
    return poses[suppress(poses, model.center, model.diameter, keep, distance=distance, angle_deg=angle_deg)]


def best_candidate(
    features: FrameFeatures,
    onboarded: Onboarded,
    poses: NDArray[np.float64],
    config: RegistrationConfig,
    mask: NDArray[np.bool_] | None = None,
    learned: LearnedHelp | None = None,
) -> Candidate | None:
    """Coarse-to-fine: refine all, keep the best distinct ones, refine finer, let colour settle twins, verify.

    ICP sees depth only, so every pose also competes as it was; where even the best is not convincing, the picture has
    its say too. mask: (H, W) where somebody says that the object is. learned: networks that propose and vote.
    """
    model = onboarded.model
    if len(poses) == 0:
        return None

    judge = Judge(features, model, mask)
    refined, _, _ = refine(features, model, poses, side=40, iterations=config.iterations, gate=(0.25, 0.08))
    poses, _ = judge.ordered(np.concatenate([refined, poses]), 40)
    if learned is not None:
        some = distinct(poses, model, learned.hypotheses, 0.08, 12.0)
        poses, _ = judge.ordered(np.concatenate([poses, learned.proposed(features.frame, model, some)]), 40)
    poses = distinct(poses, model, 6, 0.08, 12.0)
    refined, _, _ = refine(features, model, poses, side=72, iterations=config.iterations, gate=(0.08, 0.03))
    poses = distinct(judge.ordered(np.concatenate([refined, poses]), 72)[0], model, 6, 0.02, 3.0)
    twins = resolve_twins(features, model, poses, onboarded.shape_symmetries)
    twins = distinct(twins, model, 8, 0.02, 3.0)
    refined, _, _ = refine(features, model, twins, side=96, iterations=5, gate=(0.05, 0.025))
    twins, odds = judge.ordered(np.concatenate([refined, twins]), 96)
    if odds[0] < CONVINCING:
        some = distinct(twins, model, 4, 0.03, 4.0)
        if learned is not None:
            some = np.concatenate([some, learned.proposed(features.frame, model, some)])
        if model.colors is not None:
            some = distinct(judge.ordered(turned(model, some), 48)[0], model, 4, 0.03, 10.0)
        some, _ = polish(judge, some, side=48, rounds=6, samples=36, shift=0.04, turn_deg=5.0)
        twins = np.concatenate([twins, some])
    telling = to_evidence(compare(features, model, twins[:1], side=64)[0]).contrast >= TELLING_CONTRAST
    if not telling:
        # Nothing but the outline tells how a cup without print is turned; its axis is not that of its box.
        others, _, _ = refine(features, model, turned(model, twins[:1]), side=32, iterations=4, gate=(0.15, 0.05))
        others, _, _ = dueled(judge, others, 48)
        others, _, _ = refine(features, model, distinct(others, model, 4, 0.03, 10.0), side=96, iterations=5,
                              gate=(0.05, 0.025))
        twins = np.concatenate([twins, others])
    twins, odds, behind = dueled(judge, twins, 96)
    if learned is not None and learned.scorer is not None:
        twins, odds, behind = voted(twins[:LAST], odds[:LAST], behind[:LAST],
                                    learned.votes(features.frame, model, twins[:LAST]))
    pose = twins[0]
    row = compare(features, model, pose[None], side=96)[0]
    evidence = to_evidence(row)
    margin = decoy_margin(judge, pose, onboarded.shape_symmetries, evidence.contrast)
    evidence = replace(evidence, margin=margin)
    alike = onboarded.shape_symmetries if not telling else np.eye(4)[None]
    doubts = doubt(margin) + tie(lead(model, twins, behind, alike))
    certain = odds[0] + doubts - (SHAPE_ALONE if model.colors is None and mask is None else 0.0)
    certain += picture_doubt(features.frame, model, pose, row, side=96)
    certain += figure_bonus(features, model, pose, evidence, odds[0]) if mask is None else 0.0
    paint = 0.0
    if mask is None and certain > -np.inf:  # else nothing of it is in the picture
        paint = paint_doubt(features, model, pose, evidence)
        certain += paint - CUT_OFF * (1.0 - evidence.inside)
    probability = float(1 / (1 + np.exp(-np.clip(certain, -30, 30))))
    return Candidate(pose, probability, evidence, doubts, paint)


def rejection(candidate: Candidate, accept: float) -> Reason:
    """AMBIGUOUS when the pose would be accepted if only nothing else looked as good."""
    alone = _without(candidate, candidate.doubts)
    return Reason.AMBIGUOUS if alone >= accept else Reason.VERIFIER_REJECTED


def explanation(candidate: Candidate, accept: float) -> str:
    """Why a candidate below `accept` is refused, and what can be done about it."""
    told = f"probability {candidate.probability:.2f} < {accept}"
    if _without(candidate, candidate.paint) < accept:
        return told
    return told + "; its shape fits, its paint does not: if the mesh's colours are nominal only, leave them out"


def _without(candidate: Candidate, doubt: float) -> float:
    """The probability of a candidate if this doubt (log-odds) were not."""
    odds = np.log(max(candidate.probability, 1e-12) / max(1 - candidate.probability, 1e-12))
    return float(1 / (1 + np.exp(doubt - odds)))


class GeometricRegistrar:
    """The default Registrar: geometry and colour, no weights."""

    def __init__(
        self,
        models: dict[str, ObjectModel],
        config: RegistrationConfig,
        onboarding: OnboardingConfig,
        learned: LearnedHelp | None = None,
    ) -> None:
        """learned: networks that propose poses and vote; None = geometry and colour alone."""
        self._learned = learned
        self._config = config
        self._rotations = onboarding.rotations
        self._onboarded = {name: onboard(model, onboarding) for name, model in models.items()}

    def register(self, frame: Frame, localization: Localization) -> Registration | RegistrationFailure:
        name, stamp = localization.object_name, localization.stamp_ns
        onboarded = self._onboarded[name]
        features = frame_features(frame)
        poses, mask = localization.cam_from_objs, None
        if len(poses) == 0:
            # Without hypotheses the mask is all that is known: somebody has drawn it, or another program.
            mask = localization.mask
            poses = self._from_mask(features, onboarded, mask)
            if len(poses) == 0:
                return RegistrationFailure(
                    object_name=name,
                    stamp_ns=stamp,
                    reason=Reason.MASK_WITHOUT_DEPTH,
                    detail="fewer than 20 px of the mask have depth",
                )
        best = best_candidate(features, onboarded, poses, self._config, mask, self._learned)
        if best is None or best.probability < self._config.accept:
            return RegistrationFailure(
                object_name=name,
                stamp_ns=stamp,
                reason=Reason.VERIFIER_REJECTED if best is None else rejection(best, self._config.accept),
                detail="" if best is None else explanation(best, self._config.accept),
                probability=0.0 if best is None else best.probability,
                evidence=Evidence() if best is None else best.evidence,
            )
        return Registration(
            object_name=name,
            stamp_ns=stamp,
            cam_from_obj=best.cam_from_obj,
            covariance=single_frame_covariance(frame, onboarded.model, best.cam_from_obj),
            probability=best.probability,
            evidence=best.evidence,
        )

    def _from_mask(
        self, features: FrameFeatures, onboarded: Onboarded, mask: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        model, frame = onboarded.model, features.frame
        poses = poses_from_mask(frame, model, mask, self._rotations)
        if len(poses) > self._config.keep:
            table = compare(features, model, poses, side=40, tau=0.12 * model.diameter, mask=mask, contour=False)
            poses = poses[np.argsort(-scores(table), kind="stable")[: self._config.keep]]
        if (frame.depth[mask] > 0).mean() < MEASURED:
            judge = Judge(features, model, mask)
            image = scan_image(features, 0.1, 10.0, 4, mask)
            placed, _ = scan(image, onboarded.templates, model.diameter, model.center)
            if len(placed):
                placed = placed[suppress(placed, model.center, model.diameter, 10 * self._config.keep, distance=0.12)]
                placed, _ = judge.ordered(placed, 32)
            hidden = blind_candidates(judge, onboarded, image, mask)
            poses = np.concatenate([poses, placed[: self._config.keep], hidden])
        return poses
