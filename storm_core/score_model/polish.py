"""What may follow the last step of a sampler: ICP against the depth image, or one alignment of the latents."""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.features import FrameFeatures
from storm_core.geometry.mesh import ObjectModel
from storm_core.refinement.icp import refine
from storm_core.score_model.network_score import NetworkScore
from storm_core.score_model.particles import Particles

ICP_ITERATIONS = 12
ICP_GATE = (0.06, 0.025)
ICP_SIDE = 56


def icp(features: FrameFeatures, model: ObjectModel, cam_from_objs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N, 4, 4) after projective point-to-plane ICP."""
    return refine(features, model, cam_from_objs, side=ICP_SIDE, iterations=ICP_ITERATIONS, gate=ICP_GATE)[0]


def aligned_latents(score: NetworkScore, particles: Particles) -> Particles:
    """Particles turned so that their latents lie on the scene's: the rotation that minimises sum |Q z_o - z_s|^2.

    Kabsch's solution. Only for particles that are nearly right: what is visible changes with the turn.
    """
    scene, objects = score.latents(particles)
    u, _, vt = np.linalg.svd(scene @ np.swapaxes(objects, 1, 2))
    proper = np.ones((len(particles), 3))
    proper[:, 2] = np.linalg.det(u @ vt)
    turns = (u * proper[:, None]) @ vt
    return Particles(particles.centers, turns @ particles.turns)
