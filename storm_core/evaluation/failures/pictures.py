"""Faults of the pictures: frames in, frames out, with the truth about them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.evaluation.failures.causes import Cause, FaultEvent
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import bare_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.rendering.raster import NumbaRenderer
from storm_core.simulation.faults import blur, delay_depth, freeze, lose_depth, occlude
from storm_core.types import Frame

Array = NDArray[np.float64]

RAMP = 4
"""Frames in which an occluder arrives, and leaves."""
NEARER = 0.75
"""Depth of the occluder / depth of the nearest point of the object."""
AWAY, BACK = 0.4, 0.6
"""Shares of an EXIT at which the camera has turned away, and begins to turn back."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pictures:
    """Frames of one clip with their truth.

    Attributes:
      truths: (N, 4, 4) cam_from_obj. visible: (N,) share of the silhouette. stale: (N,) repeats of an earlier picture.
      depth_truths: (N, 4, 4) where the object was when depth was measured; None: as in `truths`.
    """

    frames: Sequence[Frame]
    truths: Array
    visible: Array
    stale: NDArray[np.bool_]
    depth_truths: Array | None = None


def inject_picture_fault(clip: Pictures, event: FaultEvent, model: ObjectModel) -> Pictures:
    """The clip with the fault; faults of the pose leave it as it is."""
    span, rng, frames = event.span, event.rng(), clip.frames
    match event.cause:
        case Cause.OCCLUSION | Cause.HIDDEN:
            return _occluded(clip, event, model)
        case Cause.EXIT:
            return _left(clip, event, model)
        case Cause.FROZEN:
            stale = clip.stale.copy()
            stale[event.first:event.last + 1] = True
            return replace(clip, frames=list(freeze(frames, span)), stale=stale)
        case Cause.DEPTH_LOSS:
            return replace(clip, frames=list(lose_depth(frames, span, share=event.size,
                                                        seed=int(rng.integers(2**31)))))
        case Cause.BLUR:
            length = max(3, round(event.size * frames[0].camera.width / 640))
            return replace(clip, frames=list(blur(frames, span, length=length, angle=rng.uniform(0, np.pi))))
        case Cause.TIME_OFFSET:
            late, by = clip.truths.copy(), round(event.size)
            late[span.start:span.stop] = clip.truths[np.maximum(np.arange(span.start, span.stop) - by, 0)]
            return replace(clip, frames=list(delay_depth(frames, span, by=by)), depth_truths=late)
    return clip


def _occluded(clip: Pictures, event: FaultEvent, model: ObjectModel) -> Pictures:
    """A flat thing comes in from one side, covers `size` of the silhouette, stays with the object and goes back."""
    frames, visible, rng = list(clip.frames), clip.visible.copy(), event.rng()
    side, color = int(rng.integers(4)), tuple(int(c) for c in rng.integers(40, 200, 3))
    for k in event.span:
        here = min(1.0, (k - event.first + 1) / RAMP, (event.last - k + 1) / RAMP) * event.size
        frame = frames[k]
        r = NumbaRenderer().render(model, clip.truths[k][None], frame.camera)
        v, u = np.nonzero(r.mask[0])
        if not len(v):
            continue
        box = covering_box(u, v, here, side, frame.camera.width, frame.camera.height)
        near = float(r.depth[0][v, u].min())
        frames[k] = next(occlude([frame], range(1), box=box, distance=NEARER * near, color=color))
        covered = (u >= box[0]) & (u < box[2]) & (v >= box[1]) & (v < box[3])
        seen = 1.0 if np.isnan(visible[k]) else visible[k]
        visible[k] = seen * (1.0 - covered.mean())
    return replace(clip, frames=frames, visible=visible)


def covering_box(u: NDArray[np.int64], v: NDArray[np.int64], share: float, side: int, width: int,
                 height: int) -> tuple[int, int, int, int]:
    """Half-open box [px] that covers a share of the pixels (u, v) from the left, right, top or bottom (side 0-3)."""
    margin = 0.1 * max(np.ptp(u), np.ptp(v)) + 2
    x0, x1, y0, y1 = u.min() - margin, u.max() + 1 + margin, v.min() - margin, v.max() + 1 + margin
    if share < 1.0:
        along = np.sort(u if side < 2 else v)
        n = round(share * (len(along) - 1))
        edge = along[n] if side in (0, 2) else along[len(along) - 1 - n]
        x1, x0 = (edge if side == 0 else x1), (edge if side == 1 else x0)
        y1, y0 = (edge if side == 2 else y1), (edge if side == 3 else y0)
    return (max(0, round(x0)), max(0, round(y0)), min(width, round(x1)), min(height, round(y1)))


def _left(clip: Pictures, event: FaultEvent, model: ObjectModel) -> Pictures:
    """The camera turns away until the object has left by the nearer side, waits and turns back.

    A turn about the optical centre moves pixels by a homography, so pictures and depth are exact; what was never in
    the picture is black and without depth, on the side away from the object.
    """
    frames, truths, visible = list(clip.frames), clip.truths.copy(), clip.visible.copy()
    steps = np.linspace(0, 1, len(event.span) + 2)[1:-1]
    progress = np.interp(steps, [0, AWAY, BACK, 1], [0, 1, 1, 0])
    full = _angle_to_leave(frames[event.first], truths[event.first], model)
    for k, share in zip(event.span, progress, strict=True):
        frames[k], turn = turned_camera(frames[k], share * full)
        truths[k] = turn @ truths[k]
        table = compare(bare_features(frames[k]), model, truths[k][None], contour=False)
        inside = to_evidence(table[0]).inside if truths[k, 2, 3] > 0 else 0.0
        seen = 1.0 if np.isnan(visible[k]) else visible[k]
        visible[k] = seen * (0.0 if np.isnan(inside) else inside)
    return replace(clip, frames=frames, truths=truths, visible=visible)


def _angle_to_leave(frame: Frame, cam_from_obj: Array, model: ObjectModel) -> float:
    """Turn about the y axis of the camera [rad] after which the object is out of the picture."""
    camera = frame.camera
    center = cam_from_obj[:3, :3] @ model.center + cam_from_obj[:3, 3]
    bearing, half = np.arctan2(center[0], center[2]), np.arctan2(0.6 * model.diameter, center[2])
    if bearing < 0:
        return float(-np.arctan2(camera.cx, camera.fx) - half - bearing)
    return float(np.arctan2(camera.width - camera.cx, camera.fx) + half - bearing)


def turned_camera(frame: Frame, angle: float) -> tuple[Frame, Array]:
    """What the camera sees when it turns about its optical centre so that things move by `angle` about y [rad].

    Returns the frame and new_cam_from_old_cam (4, 4).
    """
    turn = np.eye(4)
    turn[:3, :3] = so3_exp([0.0, angle, 0.0])
    k = frame.camera.matrix
    homography = k @ turn[:3, :3] @ np.linalg.inv(k)
    size = (frame.camera.width, frame.camera.height)
    v, u = np.indices(frame.depth.shape)
    x, y = (u - frame.camera.cx) / frame.camera.fx, (v - frame.camera.cy) / frame.camera.fy
    row = turn[2, :3]
    depth = (frame.depth * np.maximum(row[0] * x + row[1] * y + row[2], 0.0)).astype(np.float32)
    return replace(frame, rgb=cv2.warpPerspective(frame.rgb, homography, size, flags=cv2.INTER_LINEAR),
                   depth=cv2.warpPerspective(depth, homography, size, flags=cv2.INTER_NEAREST)), turn
