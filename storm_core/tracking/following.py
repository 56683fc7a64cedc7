"""The best alignment of one object in one frame: which starts are tried, and which of the results is believed."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from storm_core.config import TrackingConfig
from storm_core.render_compare.choice import Proposals
from storm_core.tracking.modalities import MEASURED, UNDECIDED
from storm_core.tracking.motion import predict
from storm_core.tracking.optimise import MOTION_PRIOR, Fit, align, center_of, tolerance
from storm_core.tracking.reseed import Look, proposed, search, surprise
from storm_core.tracking.state import TrackState
from storm_core.types import Frame

Pose = NDArray[np.float64]

USUAL, USUAL_CONTRAST = 0.7, 0.4
"""Shares of an object's usual agreement with depth, and of its usual contrast, below which other starts are tried, and
none is believed that stays below them."""

LONG_STEP = 0.1
"""Time [s] between frames after which constant velocity is no longer taken on trust."""

SURPRISE = 0.5
"""Fit quality that an innovation of one diameter outweighs: of equal fits the expected one is right."""

LIKENESS = 0.3
"""Fit quality that the remembered texture, where it is seen again, is worth."""

SCENE_PRIOR = (0.02, 0.01)
"""Standard deviation [diameters, rad] of the pose that the scene's motion foresees for an object that lies still."""

ALL_THERE = 0.85
"""Share of the surface that agrees with depth, colour left aside, from which on the object is where it should be."""

UNMOVED = 0.1
"""Innovation [diameters] below which an object is where it should be."""

SUDDEN = 0.05
"""Innovation [diameters] from which an alignment may have rolled: the shift of the picture that nobody foresaw can be
taken for a turn of the print. The expected turn, at the place that was found, competes with it."""

SEARCHED_AT_ONCE, SEARCH_EVERY = 3, 4
"""Coasted frames that are searched one after the other, and every so many-th of the rest: an object that stays hidden
is worth less than the cores that its search would take from everything else."""

BLIND = Look(UNDECIDED, None)
"""A frame in which colour says nothing."""


@dataclass(frozen=True, eq=False)
class Found:
    """The alignment of one frame.

    Attributes:
      innovation: against the motion model that foresaw it best. base: the pose that the scene's motion foresaw, or else
        constant velocity. look: what it was aligned with. good: it fits about as well as the object's fits have done.
    """

    fit: Fit
    innovation: float
    base: NDArray[np.float64]
    look: Look
    good: bool = True


def expected(state: TrackState, dt: float, config: TrackingConfig) -> Pose:
    """Where constant velocity puts the object, or the last pose when the configuration says so."""
    if not config.motion_prior:
        return state.cam_from_obj
    return predict(state.cam_from_obj, state.model.center, state.velocity, dt)


def believed(dt: float, config: TrackingConfig) -> float:
    """Largest innovation [diameters] that is believed: what nobody foresaw grows like a random walk."""
    return config.max_innovation * max(1.0, float(np.sqrt(max(dt, 0.0) / LONG_STEP)))


def best_fit(
    frame: Frame, state: TrackState, look: Look, predicted: Pose, dt: float, config: TrackingConfig,
    propose: Proposals | None = None,
) -> Found:
    """The best alignment of this frame. propose: moves the starts of a search, where there is a learned refiner.

    One alignment from constant velocity while that is certain enough. After a long step, a coasted frame or a fit
    that left a direction open, the motion of the scene competes with it; where all are poor, a search does.
    """
    limit = believed(dt, config)
    simple = dt <= LONG_STEP and not state.unsure and look is not BLIND
    bases = [predicted] if simple else [predicted, *seen_to_move(frame, state)]
    found = _chosen(frame, state, look, bases, bases, config.iterations)
    if found.fit.depth_share < MEASURED and simple:
        state.unsure, simple = True, False
        bases += seen_to_move(frame, state)
        found = _chosen(frame, state, look, bases, bases, config.iterations)
    if simple and found.innovation > SUDDEN:
        found = _unrolled(frame, state, look, bases, found, config.iterations)
    if good(state, found) and found.innovation <= limit:
        return found
    if simple:
        bases += seen_to_move(frame, state)
    if found.fit.depth_share >= MEASURED and look is not BLIND:
        # Depth where the object was expected, and no contrast: the light has changed, not the place.
        dark = _chosen(frame, state, BLIND, bases, bases, config.iterations)
        if dark.fit.inlier > max(ALL_THERE, found.fit.inlier) and dark.innovation < UNMOVED:
            return dark
    if state.coasted > SEARCHED_AT_ONCE and state.coasted % SEARCH_EVERY:
        return replace(found, good=False)
    starts = [*(bases[1:] if simple else []), state.cam_from_obj]
    starts += search(frame, state.model, look, found.fit.view, bases)
    if propose is not None:
        starts += proposed(frame, state.model, propose, [*bases, *starts])
    other = _chosen(frame, state, look, starts, bases, config.iterations)
    better = score(frame, state, look, other.fit) > score(frame, state, look, found.fit)
    chosen = other if better or found.innovation > limit else found
    return replace(chosen, good=good(state, chosen))


def _unrolled(
    frame: Frame, state: TrackState, look: Look, bases: list[Pose], found: Found, iterations: int
) -> Found:
    """The better of what was found and the alignment from there with the turn that was expected."""
    start = bases[0].copy()
    start[:3, 3] += center_of(state.model, found.fit.cam_from_obj) - center_of(state.model, start)
    other = _chosen(frame, state, look, [start], bases, iterations)
    return max(found, other, key=lambda one: score(frame, state, look, one.fit) - SURPRISE * one.innovation)


def good(state: TrackState, found: Found) -> bool:
    """What is not hidden fits about as well as the object's fits have done."""
    fit = found.fit
    if found.look is not BLIND and fit.lines and fit.contrast < USUAL_CONTRAST * state.contrast:
        return False
    return fit.measured < MEASURED or explained(fit) >= USUAL * state.explained


def explained(fit: Fit) -> float:
    """Share of the surface that agrees, of what is neither hidden nor without depth; 1 when all of it is."""
    return fit.inlier / (fit.inlier + fit.behind) if fit.inlier + fit.behind > 0.02 else 1.0


def seen_to_move(frame: Frame, state: TrackState) -> list[Pose]:
    """Where the landmarks of the scene, and those on the object, say that it is."""
    turned = state.last.turned(frame, state.model)
    return carried(frame, state) + ([] if turned is None else [turned])


def carried(frame: Frame, state: TrackState) -> list[Pose]:
    """Where the object is if it moved with the scene; none when the scene does not say.

    An anchor gives way to the last frame once that is recognised better.
    """
    pose = state.anchor.carried(frame)
    if pose is None and state.anchor is not state.last:
        pose = state.last.carried(frame)
        if pose is not None:
            state.anchor = state.last
    return [] if pose is None else [pose]


def _chosen(
    frame: Frame, state: TrackState, look: Look, starts: list[Pose], bases: list[Pose], iterations: int
) -> Found:
    """The best alignment from several starts; `bases` are the expected ones: constant velocity, then the scene's motion
    and that of the object's landmarks as far as they are known."""
    best: tuple[float, Found] | None = None
    for start in starts:
        held = state.unsure and len(bases) > 1 and start is bases[1]
        fit = align(
            frame, state.model, start, look.posterior, iterations, look.key,
            view=state.view, prior=SCENE_PRIOR if held else MOTION_PRIOR,
        )
        unforeseen = min(surprise(state.model, base, fit.cam_from_obj) for base in bases)
        merit = score(frame, state, look, fit) - SURPRISE * unforeseen if len(starts) > 1 else 0.0
        if best is None or merit > best[0]:
            best = merit, Found(fit, unforeseen, bases[min(1, len(bases) - 1)], look)
    assert best is not None
    return best[1]


def score(frame: Frame, state: TrackState, look: Look, fit: Fit) -> float:
    """What ranks alignments of one object in one frame: contour and depth, and the texture seen before."""
    if look.key is None:
        return fit.quality
    return fit.quality + LIKENESS * look.key.likeness(frame, fit.cam_from_obj, 2 * tolerance(state.model.diameter))
