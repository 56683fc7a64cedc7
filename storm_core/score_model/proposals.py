"""Where particles may start that know a mask only: rotations whose render explains it, in places that it allows."""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import compare
from storm_core.evidence.compare import scores as geometric_scores
from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.suppress import suppress
from storm_core.onboarding.onboard import Onboarded
from storm_core.registration.given_mask import mask_agreement
from storm_core.registration.hypotheses import poses_from_mask
from storm_core.registration.register import distinct
from storm_core.score_model.fitness import MASK_WEIGHT
from storm_core.som.scan import scan, scan_image

NEAREST, FARTHEST = 0.1, 10.0
"""Depths that are looked at [m]."""

STRIDE = 4
"""Seeds in the mask: every so many pixels of half the resolution."""

PLACED, PLACED_APART = 400, 0.12
"""Placements of templates that are looked at, and how far apart: their number, diameters."""

SIDE, TOLERANCE = 32, 0.12
"""Of the glance that ranks proposals: crop [px], depth error that counts as agreeing [diameters]."""

BEST = 300
APART, APART_DEG = 0.08, 20.0
"""Particles start in different places: diameters, degrees, of the best BEST proposals."""


def mask_proposals(features: FrameFeatures, onboarded: Onboarded, mask: NDArray[np.bool_], count: int
                   ) -> NDArray[np.float64]:
    """At most `count` different poses (K, 4, 4), best first; none where hardly any depth was measured in the mask.

    Two ways to place a rotation: its render's centroid on the mask's, which is right where nothing is hidden, and one
    of its points with its normal on a measured one, which a half-hidden object allows, too.
    """
    model, frame = onboarded.model, features.frame
    centred = poses_from_mask(frame, model, mask, len(onboarded.templates.rotations))
    if not len(centred):
        return centred
    image = scan_image(features, NEAREST, FARTHEST, STRIDE, mask)
    placed, _ = scan(image, onboarded.templates, model.diameter, model.center)
    placed = placed[suppress(placed, model.center, model.diameter, PLACED, distance=PLACED_APART)]
    poses = np.concatenate([centred, placed.reshape(-1, 4, 4)])
    table = compare(features, model, poses, side=SIDE, tau=TOLERANCE * model.diameter, mask=mask, contour=False)
    rank = geometric_scores(table) + MASK_WEIGHT * mask_agreement(table, poses, model, frame.camera, mask, SIDE)
    return distinct(poses[np.argsort(-rank, kind="stable")[:BEST]], model, count, APART, APART_DEG)
