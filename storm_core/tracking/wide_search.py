"""After a step that leaves time for it a doubted alignment competes with others from elsewhere; the verifier decides.

Contour and depth alone believe a wrong turn of the same outline. The verifier sees hue, print, normals and edges, too.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from storm_core.config import TrackingConfig
from storm_core.evidence.compare import compare
from storm_core.evidence.features import bare_features
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.render_compare.choice import Proposals
from storm_core.tracking.following import Found, believed, good, score, seen_to_move
from storm_core.tracking.optimise import align
from storm_core.tracking.reseed import proposed, search, surprise
from storm_core.tracking.state import TrackState
from storm_core.types import Frame

LEISURE = 0.2
"""Time [s] between frames from which there is time to look for the object among large turns, and reason for it."""

SIDE = 48
"""Crop resolution [px] at which poses are compared."""

ACCEPTED, LEAD = 2.0, 1.0
"""Log-odds from which a pose is not doubted, and by which another must be better."""

ELSEWHERE = 0.15
"""Innovation [diameters] against a pose from which another is no variant of it: of those the alignment knows best."""

UNLIKELY = 2.0
"""Log-odds that an innovation of one diameter outweighs."""


def searched_widely(
    frame: Frame, state: TrackState, predicted: NDArray[np.float64], found: Found, dt: float, config: TrackingConfig,
    propose: Proposals | None = None,
) -> Found:
    """What was found, unless the verifier doubts it and prefers what another start led to.

    Args:
      predicted: (4, 4) by constant velocity. dt: since the last frame [s]. propose: moves the starts, where there is a
        learned refiner.
    """
    model, look = state.model, found.look
    features = bare_features(frame)
    if VERIFIER.table_log_odds(compare(features, model, found.fit.cam_from_obj[None], side=SIDE))[0] > ACCEPTED:
        return found
    bases = [predicted, *seen_to_move(frame, state)]
    starts = [*bases, state.cam_from_obj, *search(frame, model, look, found.fit.view, bases, wide=True)]
    if propose is not None:
        starts += proposed(frame, model, propose, starts)
    fits = [found.fit, *(align(frame, model, start, look.posterior, config.iterations, look.key, view=state.view)
                         for start in starts)]
    poses = np.stack([fit.cam_from_obj for fit in fits])
    unforeseen = np.array([min(surprise(model, base, pose) for base in bases) for pose in poses])
    merit = VERIFIER.ranking(compare(features, model, poses, side=SIDE)) - UNLIKELY * unforeseen
    fitting = np.array([score(frame, state, look, fit) for fit in fits])
    elsewhere = np.array([surprise(model, poses[0], pose) > ELSEWHERE for pose in poses])
    rivals = elsewhere & (fitting >= fitting[0]) & (unforeseen <= believed(dt, config)) & (merit >= merit[0] + LEAD)
    if not rivals.any():
        return found
    best = int(np.argmax(np.where(rivals, merit, -np.inf)))
    other = Found(fits[best], float(unforeseen[best]), bases[min(1, len(bases) - 1)], look)
    return replace(other, good=good(state, other))
