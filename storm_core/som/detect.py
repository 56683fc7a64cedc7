"""SOM, default backend: training-free RGB-D detection from the CAD model, verified by render-and-compare."""

import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig, SomConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.explained import without
from storm_core.evidence.features import FrameFeatures, frame_features
from storm_core.evidence.silhouette import modal_mask
from storm_core.evidence.texture import is_textured
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.suppress import suppress
from storm_core.onboarding.onboard import Onboarded, onboard
from storm_core.refinement.icp import refine
from storm_core.registration.judge import Judge
from storm_core.registration.twins import resolve_twins
from storm_core.som.blind import blind_candidates
from storm_core.som.scan import MAX_SEEDS, ScanImage, scan, scan_image
from storm_core.types import Frame, Hint, Localization, NotFound, Reason

PLACED = 900
"""Template placements ranked by all their pixels."""

CONVINCING = 0.6
"""Probability above which a cheap search near the last pose ends the search."""

FLAT = 0.015
"""Thickness [m] up to which an object that lies on a table is part of the table's plane."""

HIDDEN_EVERY, HIDDEN_PART = 6, 8
"""Every so many-th search of the whole image, for an object that was seen before, also looks where depth is missing,
and does such a part of that: all of it takes so long that an object that comes back meanwhile waits for a second."""

LIVE_SEEDS, LIVE_PLACED, LIVE_REFINED, LIVE_LEAST = 175, 250, 12, 0.4
"""A live search uses fewer seeds, placements and candidates, and leaves to the next one, which uses other seeds, what
does not look at least so probable. In 37 % of the time it finds 96 % of what 700 seeds and all candidates find: 81
instead of 84 of 116 objects in single frames of the validation sequences."""

HYPOTHESES = 8
"""Poses handed to registration."""

MOST_INSTANCES = 20
"""Instances of an object after which nobody looks for another."""


class GeometricLocalizer:
    """Metric seed scan -> short refinement -> verifier. Finds the best instance of one object, or all of them."""

    def __init__(self, models: dict[str, ObjectModel], config: SomConfig, onboarding: OnboardingConfig) -> None:
        self._config = config
        self._onboarded = {name: onboard(model, onboarding) for name, model in models.items()}
        self._telling: dict[str, bool] = {}
        self._tried: dict[str, int] = {}

    def localize(self, frame: Frame, object_name: str, hint: Hint) -> Localization | NotFound:
        if hint.mask is not None:
            return self._from_mask(frame, object_name, hint.mask)
        onboarded, features = self._onboarded[object_name], frame_features(frame)
        if hint.cam_from_obj is not None:
            return self._live(features, onboarded, hint)
        poses, probable = _judged(features, onboarded, self.candidates(features, onboarded, hint))
        if len(poses) == 0 or probable.max() < CONVINCING:
            hidden, _ = _judged(features, onboarded, self.hidden_candidates(features, onboarded, hint))
            if len(hidden):
                poses, probable = _likeliest(features, onboarded.model, np.concatenate([poses, hidden]))
        return _answer(features, onboarded.model, poses, probable, self._config.uncertain)

    def localize_all(self, frame: Frame, object_name: str, hint: Hint) -> list[Localization] | NotFound:
        """Every instance, in the order in which they are found; the best of nothing but uncertain answers alone.

        Each is searched in what the earlier ones leave of the frame.
        """
        found: list[Localization] = []
        while len(found) < MOST_INSTANCES:
            answer = self.localize(frame, object_name, hint)
            if isinstance(answer, NotFound):
                return found or answer
            sure = answer.probability >= self._config.accept
            if sure or not found:
                found.append(answer)
            if not sure or hint.mask is not None:
                break
            frame = without(frame, answer.mask)
        return found

    def _live(self, features: FrameFeatures, onboarded: Onboarded, hint: Hint) -> Localization | NotFound:
        """Around the last pose, and when nothing convincing is there, the whole image.

        A live search comes back soon, and the first to answer counts: what is hidden now may soon not be, so that only
        some searches also look where depth is missing.
        """
        name = onboarded.model.name
        found = self._around(features, onboarded, hint)
        if not isinstance(found, Localization):
            tried, least = self._tried.get(name, 0), max(self._config.uncertain, LIVE_LEAST)
            poses = self.live_candidates(features, onboarded, hint, tried)
            found = _answer(features, onboarded.model, *_judged(features, onboarded, poses), least)
            if not isinstance(found, Localization) and tried % HIDDEN_EVERY == HIDDEN_EVERY - 1:
                poses = self.hidden_candidates(features, onboarded, hint, HIDDEN_PART, tried // HIDDEN_EVERY)
                found = _answer(features, onboarded.model, *_judged(features, onboarded, poses), least)
            self._tried[name] = tried + 1
        if isinstance(found, Localization):
            self._tried[name] = 0
        return found

    def _around(self, features: FrameFeatures, onboarded: Onboarded, hint: Hint) -> Localization | NotFound:
        """The object within a quarter of its diameter of the last pose, if it is convincing there."""
        model = onboarded.model
        shifts = np.stack(np.meshgrid(*[[-0.25, 0.0, 0.25]] * 3), -1).reshape(-1, 3) * model.diameter
        poses = np.repeat(hint.cam_from_obj[None], len(shifts), 0)
        poses[:, :3, 3] += shifts
        poses, _, _ = refine(features, model, poses, side=40, iterations=8, gate=(0.25, 0.06))
        return _answer(features, model, *_likeliest(features, model, poses), CONVINCING)

    def candidates(self, features: FrameFeatures, onboarded: Onboarded, hint: Hint) -> NDArray[np.float64]:
        """Refined distinct candidate poses (K, 4, 4), best first."""
        image = self._scan_image(features, onboarded, hint, MAX_SEEDS)
        return self._refined(features, onboarded, image, PLACED, self._config.max_candidates)

    def live_candidates(
        self, features: FrameFeatures, onboarded: Onboarded, hint: Hint, draw: int
    ) -> NDArray[np.float64]:
        """The same at a third of the cost, from the seeds of this draw."""
        image = self._scan_image(features, onboarded, hint, LIVE_SEEDS, draw)
        return self._refined(features, onboarded, image, LIVE_PLACED, min(LIVE_REFINED, self._config.max_candidates))

    def _scan_image(
        self, features: FrameFeatures, onboarded: Onboarded, hint: Hint, seeds: int, draw: int = 0
    ) -> ScanImage:
        return scan_image(
            features,
            self._config.min_depth,
            self._config.max_depth,
            4,
            _region(features.frame, hint),
            on_plane=onboarded.model.thickness < FLAT,
            most=seeds,
            draw=draw,
        )

    def _refined(
        self, features: FrameFeatures, onboarded: Onboarded, image: ScanImage, placed: int, most: int
    ) -> NDArray[np.float64]:
        """At most so many poses (K, 4, 4), best first, from so many placements of the scan."""
        model = onboarded.model
        poses, _ = scan(image, onboarded.templates, model.diameter, model.center)
        poses = poses[suppress(poses, model.center, model.diameter, placed, distance=0.12, angle_deg=20.0)]
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
                5 * most,
                distance=0.15,
                angle_deg=20.0,
                quota=8,
            )
        ]
        poses, _, _ = refine(features, model, poses, side=32, iterations=6, gate=(0.3, 0.1))
        odds = VERIFIER.ranking(compare(features, model, poses, side=40))
        poses = poses[np.argsort(-odds, kind="stable")]
        poses = poses[suppress(poses, model.center, model.diameter, most, distance=0.1, angle_deg=15.0)]
        return refine(features, model, poses, side=56, iterations=6, gate=(0.1, 0.04))[0]

    def hidden_candidates(
        self, features: FrameFeatures, onboarded: Onboarded, hint: Hint, part: int = 1, draw: int = 0
    ) -> NDArray[np.float64]:
        """Distinct candidate poses (K, 4, 4) where depth is missing, best first; see `blind_candidates`.

        None where the model's colours tell nothing: what has no depth then proves nothing, and is never accepted.
        """
        model = onboarded.model
        if model.sha256 not in self._telling:
            self._telling[model.sha256] = is_textured(model)
        if not self._telling[model.sha256]:
            return np.zeros((0, 4, 4))
        region = _region(features.frame, hint)
        reach = self._config.min_depth, self._config.max_depth
        image = scan_image(features, *reach, 4, region)
        judge = Judge(features, onboarded.model)
        return blind_candidates(judge, onboarded, image, region, part=part, draw=draw, reach=reach)[:HYPOTHESES]

    def _from_mask(self, frame: Frame, name: str, mask: NDArray[np.bool_]) -> Localization | NotFound:
        if not mask.any():
            return NotFound(
                object_name=name, stamp_ns=frame.stamp_ns, reason=Reason.MASK_EMPTY, detail="the mask hint has no pixel"
            )
        return Localization(
            object_name=name, stamp_ns=frame.stamp_ns, mask=mask, cam_from_objs=np.zeros((0, 4, 4)), probability=1.0
        )


def _judged(
    features: FrameFeatures, onboarded: Onboarded, cam_from_objs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The likeliest of the poses (N, 4, 4) and their probabilities.

    Where none is convincing, their twins by the symmetries of the shape alone are candidates as well.
    """
    model = onboarded.model
    if len(cam_from_objs) == 0:
        return cam_from_objs, np.zeros(0)
    poses, probable = _likeliest(features, model, cam_from_objs)
    if probable.max() < CONVINCING and model.colors is not None and len(onboarded.shape_symmetries) > 1:
        twins = resolve_twins(features, model, poses, onboarded.shape_symmetries, side=64)
        turned, likelier = _likeliest(features, model, twins[:HYPOTHESES])
        # So many tries make something look fair by chance: only a convincing one counts.
        if likelier.max() >= CONVINCING:
            return turned, likelier
    return poses, probable


def _answer(
    features: FrameFeatures,
    model: ObjectModel,
    cam_from_objs: NDArray[np.float64],
    probable: NDArray[np.float64],
    least: float,
) -> Localization | NotFound:
    """What to say about poses (N, 4, 4) with these probabilities (N,); NotFound below the probability `least`."""
    frame = features.frame
    if len(cam_from_objs) == 0:
        return NotFound(
            object_name=model.name,
            stamp_ns=frame.stamp_ns,
            reason=Reason.NO_CANDIDATE,
            detail="no template is supported by the image",
        )
    # Registration refines them all, and may prefer another than the first: any of them may be the object.
    probability = float(probable.max())
    if probability < least:
        return NotFound(
            object_name=model.name,
            stamp_ns=frame.stamp_ns,
            reason=Reason.VERIFIER_REJECTED,
            detail=f"the best candidate has probability {probability:.2f}",
            probability=probability,
        )
    mask = modal_mask(frame, model, cam_from_objs[probable.argmax()])
    if not mask.any():
        return NotFound(object_name=model.name, stamp_ns=frame.stamp_ns, reason=Reason.MASK_EMPTY)
    return Localization(
        object_name=model.name, stamp_ns=frame.stamp_ns, mask=mask, cam_from_objs=cam_from_objs, probability=probability
    )


def _likeliest(
    features: FrameFeatures, model: ObjectModel, cam_from_objs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most HYPOTHESES of the poses (N, 4, 4), best first, and their probabilities."""
    table = compare(features, model, cam_from_objs, side=64)
    order = np.argsort(-VERIFIER.ranking(table), kind="stable")[:HYPOTHESES]
    return cam_from_objs[order], np.array([VERIFIER.probability(to_evidence(row)) for row in table[order]])


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
