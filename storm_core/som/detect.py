"""SOM, default backend: training-free RGB-D detection from the CAD model, verified by render-and-compare."""

import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig, SomConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import FrameFeatures, frame_features
from storm_core.evidence.silhouette import modal_mask
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.suppress import suppress
from storm_core.onboarding.onboard import Onboarded, onboard
from storm_core.refinement.icp import refine
from storm_core.registration.judge import Judge
from storm_core.som.blind import blind_candidates
from storm_core.som.scan import scan, scan_image
from storm_core.types import Frame, Hint, Localization, NotFound, Reason

PLACED = 900
"""Template placements ranked by all their pixels."""

CONVINCING = 0.6
"""Probability above which a cheap search near the last pose ends the search."""

FLAT = 0.015
"""Thickness [m] up to which an object that lies on a table is part of the table's plane."""

THOROUGH_EVERY = 4
"""Every so many-th full search for an object that was seen before also looks where depth is missing."""

HYPOTHESES = 8
"""Poses handed to registration."""


class GeometricLocalizer:
    """Metric seed scan -> short refinement -> verifier. Finds the best instance of one object."""

    def __init__(self, models: dict[str, ObjectModel], config: SomConfig, onboarding: OnboardingConfig) -> None:
        self._config = config
        self._onboarded = {name: onboard(model, onboarding) for name, model in models.items()}
        self._cheap_searches: dict[str, int] = {}

    def localize(self, frame: Frame, object_name: str, hint: Hint) -> Localization | NotFound:
        onboarded = self._onboarded[object_name]
        features = frame_features(frame)
        if hint.mask is not None:
            return self._from_mask(frame, object_name, hint.mask)
        thorough = True
        if hint.cam_from_obj is not None:
            found = self._again(features, onboarded, hint)
            tried = self._cheap_searches.get(object_name, 0)
            self._cheap_searches[object_name] = 0 if isinstance(found, Localization) else tried + 1
            if isinstance(found, Localization) or tried % self._config.full_search_every:
                return found
            # A live search comes back soon, and the first to answer counts: what is hidden now may soon not be.
            thorough = tried // self._config.full_search_every % THOROUGH_EVERY == THOROUGH_EVERY - 1
        poses = self.candidates(features, onboarded, hint)
        found = self._answer(features, onboarded, poses, CONVINCING) if len(poses) else None
        if isinstance(found, Localization):
            return found
        if thorough:
            poses = np.concatenate([poses, self.hidden_candidates(features, onboarded, hint)])
        if len(poses) == 0:
            return NotFound(
                object_name=object_name,
                stamp_ns=frame.stamp_ns,
                reason=Reason.NO_CANDIDATE,
                detail="no template is supported by the depth image",
            )
        return self._answer(features, onboarded, poses, self._config.uncertain)

    def _answer(
        self, features: FrameFeatures, onboarded: Onboarded, poses: NDArray[np.float64], least: float
    ) -> Localization | NotFound:
        """The verifier's choice among candidates; NotFound below the probability `least`."""
        frame, object_name = features.frame, onboarded.model.name
        table = compare(features, onboarded.model, poses, side=64)
        order = np.argsort(-VERIFIER.ranking(table), kind="stable")[:HYPOTHESES]
        # Registration refines them all, and may prefer another than the first: any of them may be the object.
        probable = [VERIFIER.probability(to_evidence(row)) for row in table[order]]
        probability = max(probable)
        best = poses[order[int(np.argmax(probable))]]
        if probability < least:
            return NotFound(
                object_name=object_name,
                stamp_ns=frame.stamp_ns,
                reason=Reason.VERIFIER_REJECTED,
                detail=f"best of {len(poses)} candidates has probability {probability:.2f}",
                probability=probability,
            )
        mask = modal_mask(frame, onboarded.model, best)
        if not mask.any():
            return NotFound(object_name=object_name, stamp_ns=frame.stamp_ns, reason=Reason.MASK_EMPTY)
        return Localization(
            object_name=object_name,
            stamp_ns=frame.stamp_ns,
            mask=mask,
            cam_from_objs=poses[order],
            probability=probability,
        )

    def _again(self, features: FrameFeatures, onboarded: Onboarded, hint: Hint) -> Localization | NotFound:
        """The cheap searches when the last pose is known: around that pose, then its rotation anywhere.

        Only a convincing answer counts; anything less is left to a full search.
        """
        model = onboarded.model
        last = hint.cam_from_obj
        shifts = np.stack(np.meshgrid(*[[-0.25, 0.0, 0.25]] * 3), -1).reshape(-1, 3) * model.diameter
        poses = np.repeat(last[None], len(shifts), 0)
        poses[:, :3, 3] += shifts
        poses, _, _ = refine(features, model, poses, side=40, iterations=8, gate=(0.25, 0.06))
        found = self._answer(features, onboarded, poses, CONVINCING)
        if isinstance(found, Localization):
            return found
        trace = np.einsum("tij,ij->t", onboarded.templates.rotations, last[:3, :3])
        near = np.nonzero(trace > 1 + 2 * np.cos(np.deg2rad(45.0)))[0]
        poses = self.candidates(features, onboarded, hint, near)
        return self._answer(features, onboarded, poses, CONVINCING) if len(poses) else found

    def candidates(
        self, features: FrameFeatures, onboarded: Onboarded, hint: Hint, subset: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Refined distinct candidate poses (K, 4, 4), best first. subset: templates to try (None = all)."""
        model = onboarded.model
        flat = model.size.min() < FLAT
        region = _region(features.frame, hint)
        image = scan_image(features, self._config.min_depth, self._config.max_depth, 4, region, on_plane=flat)
        poses, _ = scan(image, onboarded.templates, model.diameter, model.center, subset=subset)
        poses = poses[suppress(poses, model.center, model.diameter, PLACED, distance=0.12, angle_deg=20.0)]
        if len(poses) == 0:
            return poses
        # The scan's sparse points rank well within one place, badly between places: rank anew by all pixels.
        odds = VERIFIER.ranking(compare(features, model, poses, side=32, tau=0.1 * model.diameter))
        poses = poses[np.argsort(-odds, kind="stable")]
        poses = poses[
            suppress(
                poses,
                model.center,
                model.diameter,
                5 * self._config.max_candidates,
                distance=0.15,
                angle_deg=20.0,
                quota=8,
            )
        ]
        poses, _, _ = refine(features, model, poses, side=32, iterations=6, gate=(0.3, 0.1))
        odds = VERIFIER.ranking(compare(features, model, poses, side=40))
        poses = poses[np.argsort(-odds, kind="stable")]
        poses = poses[
            suppress(poses, model.center, model.diameter, self._config.max_candidates, distance=0.1, angle_deg=15.0)
        ]
        return refine(features, model, poses, side=56, iterations=6, gate=(0.1, 0.04))[0]

    def hidden_candidates(self, features: FrameFeatures, onboarded: Onboarded, hint: Hint) -> NDArray[np.float64]:
        """Distinct candidate poses (K, 4, 4) where depth is missing, best first."""
        region = _region(features.frame, hint)
        image = scan_image(features, self._config.min_depth, self._config.max_depth, 4, region)
        return blind_candidates(Judge(features, onboarded.model), onboarded, image, region)[:HYPOTHESES]

    def _from_mask(self, frame: Frame, name: str, mask: NDArray[np.bool_]) -> Localization | NotFound:
        if not mask.any():
            return NotFound(
                object_name=name, stamp_ns=frame.stamp_ns, reason=Reason.MASK_EMPTY, detail="the mask hint has no pixel"
            )
        return Localization(
            object_name=name, stamp_ns=frame.stamp_ns, mask=mask, cam_from_objs=np.zeros((0, 4, 4)), probability=1.0
        )


def _region(frame: Frame, hint: Hint) -> NDArray[np.bool_] | None:
    """(H, W) bool where seeds may lie, or None for everywhere."""
    if hint.box is None and hint.point is None:
        return None
    region = np.zeros(frame.depth.shape, bool)
    if hint.box is not None:
        x0, y0, x1, y1 = (max(0, round(v)) for v in hint.box)
        region[y0:y1, x0:x1] = True
    else:
        u, v = (round(c) for c in hint.point)
        reach = frame.depth.shape[1] // 12
        region[max(0, v - reach) : v + reach, max(0, u - reach) : u + reach] = True
    return region
