"""Points of interest of a whole frame, and the rigid motion between two frames that they agree on.

What the camera did between two frames moves everything that lies still: where the object itself says too little (a
jump, an occlusion, a can without print), the scene around it says where it went. ORB features, P3P in RANSAC.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import from_rotation_translation
from storm_core.types import Frame

COUNT = 600
"""Landmarks per frame."""

REACH = 3.0
"""Distance [px] up to which a landmark agrees with a motion."""

TRIALS = 300
MIN_AGREEING = 12
MIN_SHARE = 0.2
"""Landmarks that must agree on a motion, and their share of the matches: fewer agree by chance."""


KEPT = 16
"""Frames, and pairs of frames, whose landmarks are remembered."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Attributes: pixels (N, 2), descriptors (N, 32) uint8, points (N, 3) [m] in the camera frame; z = 0: no depth."""

    pixels: NDArray[np.float64]
    descriptors: NDArray[np.uint8]
    points: NDArray[np.float64]


@lru_cache(maxsize=KEPT)
def landmarks(frame: Frame) -> Landmarks:
    """The landmarks of a frame, found once for all objects."""
    detector = cv2.ORB_create(nfeatures=COUNT, scaleFactor=1.3, nlevels=5, fastThreshold=10)
    found, descriptors = detector.detectAndCompute(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), None)
    if descriptors is None:
        return Landmarks(np.zeros((0, 2)), np.zeros((0, 32), np.uint8), np.zeros((0, 3)))
    pixels = np.array([point.pt for point in found], float)
    u, v = np.rint(pixels).astype(int).T
    z, cam = frame.depth[v, u].astype(float), frame.camera
    points = np.stack([(pixels[:, 0] - cam.cx) / cam.fx * z, (pixels[:, 1] - cam.cy) / cam.fy * z, z], 1)
    return Landmarks(pixels, descriptors, points)


@lru_cache(maxsize=KEPT)
def matches(before: Frame, now: Frame) -> NDArray[np.int64]:
    """(M, 2) indices of landmarks that are each other's most similar ones, those with depth in `before` only."""
    a, b = landmarks(before), landmarks(now)
    if min(len(a.pixels), len(b.pixels)) == 0:
        return np.zeros((0, 2), np.int64)
    found = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(a.descriptors, b.descriptors)
    pairs = np.array([(m.queryIdx, m.trainIdx) for m in found], np.int64).reshape(-1, 2)
    return pairs[a.points[pairs[:, 0], 2] > 0]


@lru_cache(maxsize=KEPT)
def scene_motion(before: Frame, now: Frame) -> NDArray[np.float64] | None:
    """now_from_before (4, 4): how most of the scene moved in the camera frame; None when too little agrees."""
    return motion(landmarks(before), landmarks(now), matches(before, now), now.camera)


def motion(
    before: Landmarks,
    now: Landmarks,
    pairs: NDArray[np.int64],
    camera: PinholeCamera,
    *,
    agreeing: int = MIN_AGREEING,
) -> NDArray[np.float64] | None:
    """The rigid motion (4, 4) that most pairs (M, 2) agree on; None when fewer than `agreeing` do."""
    if len(pairs) < agreeing:
        return None
    points, pixels = before.points[pairs[:, 0]], now.pixels[pairs[:, 1]]
    found, turn, shift, inliers = cv2.solvePnPRansac(
        points, pixels, camera.matrix, None, iterationsCount=TRIALS, reprojectionError=REACH, flags=cv2.SOLVEPNP_AP3P
    )
    if not found or inliers is None or len(inliers) < max(agreeing, MIN_SHARE * len(pairs)):
        return None
    good = inliers[:, 0]
    turn, shift = cv2.solvePnPRefineLM(points[good], pixels[good], camera.matrix, None, turn, shift)
    pose = from_rotation_translation(cv2.Rodrigues(turn)[0], shift[:, 0])
    return pose if np.isfinite(pose).all() else None
