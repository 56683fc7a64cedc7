"""Registration: localization -> hypotheses -> batched refinement -> render-and-compare -> verified pose or a reason."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig, RegistrationConfig
from storm_core.evidence.compare import compare, scores, to_evidence
from storm_core.evidence.features import FrameFeatures, frame_features
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.suppress import suppress
from storm_core.onboarding.onboard import Onboarded, onboard
from storm_core.refinement.icp import refine
from storm_core.registration.hypotheses import poses_from_mask
from storm_core.registration.twins import resolve_twins
from storm_core.tracking.single_frame import single_frame_covariance
from storm_core.types import Evidence, Frame, Localization, Reason, Registration, RegistrationFailure


@dataclass(frozen=True, eq=False)
class Candidate:
    """One verified-or-not pose with its numbers."""

    cam_from_obj: NDArray[np.float64]
    probability: float
    evidence: Evidence


def best_candidate(
    features: FrameFeatures, onboarded: Onboarded, poses: NDArray[np.float64], config: RegistrationConfig
) -> Candidate | None:
    """Coarse-to-fine: refine all, keep the best distinct ones, refine finer, let colour settle twins, verify."""
    model = onboarded.model
    if len(poses) == 0:
        return None
    poses, _, _ = refine(features, model, poses, side=40, iterations=config.iterations, gate=(0.25, 0.08))
    odds = VERIFIER.table_log_odds(compare(features, model, poses, side=40))
    poses = poses[np.argsort(-odds, kind="stable")]
    poses = poses[suppress(poses, model.center, model.diameter, 6, distance=0.08, angle_deg=12.0)]
    poses, _, _ = refine(features, model, poses, side=72, iterations=config.iterations, gate=(0.08, 0.03))
    twins = resolve_twins(features, model, poses, onboarded.shape_symmetries)[:6]
    twins, _, _ = refine(features, model, twins, side=96, iterations=5, gate=(0.05, 0.025))
    table = compare(features, model, twins, side=96)
    best = int(VERIFIER.table_log_odds(table).argmax())
    evidence = to_evidence(table[best])
    return Candidate(twins[best], VERIFIER.probability(evidence), evidence)


class GeometricRegistrar:
    """The default Registrar: geometry and colour, no weights."""

    def __init__(
        self, models: dict[str, ObjectModel], config: RegistrationConfig, onboarding: OnboardingConfig
    ) -> None:
        self._config = config
        self._rotations = onboarding.rotations
        self._onboarded = {name: onboard(model, onboarding) for name, model in models.items()}

    def register(self, frame: Frame, localization: Localization) -> Registration | RegistrationFailure:
        name, stamp = localization.object_name, localization.stamp_ns
        onboarded = self._onboarded[name]
        features = frame_features(frame)
        poses = localization.cam_from_objs
        if len(poses) == 0:
            poses = self._from_mask(features, onboarded.model, localization.mask)
            if len(poses) == 0:
                return RegistrationFailure(
                    object_name=name,
                    stamp_ns=stamp,
                    reason=Reason.MASK_WITHOUT_DEPTH,
                    detail="fewer than 20 px of the mask have depth",
                )
        best = best_candidate(features, onboarded, poses, self._config)
        if best is None or best.probability < self._config.accept:
            return RegistrationFailure(
                object_name=name,
                stamp_ns=stamp,
                reason=Reason.VERIFIER_REJECTED,
                detail="" if best is None else f"probability {best.probability:.2f} < {self._config.accept}",
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

    def _from_mask(self, features: FrameFeatures, model: ObjectModel, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        poses = poses_from_mask(features.frame, model, mask, self._rotations)
        if len(poses) <= self._config.keep:
            return poses
        score = scores(compare(features, model, poses, side=40, tau=0.12 * model.diameter, mask=mask, contour=False))
        return poses[np.argsort(-score, kind="stable")[: self._config.keep]]
