"""Faults of the tracked pose: every function takes the poses that were fed so far and returns those of the fault.

Poses are cam_from_obj (N, 4, 4) [m]; what differs from the input is inside the event's span only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.evaluation.failures.causes import Cause, FaultEvent
from storm_core.evaluation.failures.labels import pose_errors
from storm_core.evaluation.failures.twins import half_turn, texture_turn
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import inverse, so3_exp
from storm_core.types import Frame

Array = NDArray[np.float64]

NEIGHBOUR_M = 1.0
"""Things farther from the object than this are no neighbours that a pose slips to [m]."""
CLEARLY_WRONG = 0.2
"""Error [diameters] that a wrong place must have to be taken for one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Around:
    """What the first frame of an event shows.

    Attributes:
      cam_from_obj: true pose (4, 4). others: true centres of other objects (K, 3) in the camera [m].
    """

    frame: Frame
    cam_from_obj: Array
    others: Array


def inject_pose_fault(fed: Array, event: FaultEvent, model: ObjectModel, around: Around) -> Array | None:
    """The faulty poses; None when the cause does not apply: the object has no such twin, or nothing is beside it.

    Args:
      fed: (N, 4, 4) poses of the healthy stream.
    """
    rng = event.rng()
    match event.cause:
        case Cause.DRIFT:
            steps = np.arange(1, len(event.span) + 1) / len(event.span)
            return _shifted(fed, event, steps[:, None] * event.size * model.diameter * _direction(rng))
        case Cause.JUMP:
            offset = about_center(model, so3_exp(_direction(rng) * rng.uniform(0.0, 0.5)))
            shift = np.tile(event.size * model.diameter * _direction(rng), (len(event.span), 1))
            return _shifted(_followed_by(fed, event, offset), event, shift)
        case Cause.WRONG_OBJECT:
            offset = _onto_neighbour(model, around, rng)
        case Cause.FLIP:
            offset = half_turn(model, around.cam_from_obj, around.frame.camera)
        case Cause.TEXTURE_TURN:
            offset = texture_turn(model, around.cam_from_obj, around.frame.camera, rng)
        case Cause.EQUIVALENT:
            offset = None if len(model.symmetries) < 2 else model.symmetries[rng.integers(1, len(model.symmetries))]
        case _:
            return fed
    return None if offset is None else _followed_by(fed, event, offset)


def about_center(model: ObjectModel, rotation: Array) -> Array:
    """obj -> obj transform (4, 4): a turn (3, 3) about the centre of the bounding box."""
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = model.center - rotation @ model.center
    return out


def _followed_by(fed: Array, event: FaultEvent, offset: Array) -> Array:
    """The fault moves with the object: a pose that is wrong by an obj -> obj transform (4, 4)."""
    out = fed.copy()
    out[event.first:event.last + 1] = fed[event.first:event.last + 1] @ offset
    return out


def _shifted(fed: Array, event: FaultEvent, shift: Array) -> Array:
    """shift: (frames of the event, 3) in the camera [m]."""
    out = fed.copy()
    out[event.first:event.last + 1, :3, 3] += shift
    return out


def _direction(rng: np.random.Generator) -> Array:
    v = rng.standard_normal(3)
    return v / np.linalg.norm(v)


def _onto_neighbour(model: ObjectModel, around: Around, rng: np.random.Generator) -> Array | None:
    """Turned anyhow, with the centre where another object has it, or on another surface of the picture."""
    center = around.cam_from_obj[:3, :3] @ model.center + around.cam_from_obj[:3, 3]
    places = [place for place in around.others
              if 0.3 * model.diameter < np.linalg.norm(place - center) < NEIGHBOUR_M]
    place = min(places, key=lambda p: float(np.linalg.norm(p - center))) if places else _surface(model, around, rng)
    if place is None:
        return None
    wrong = np.eye(4)
    wrong[:3, :3] = so3_exp(_direction(rng) * rng.uniform(0.0, np.pi)) @ around.cam_from_obj[:3, :3]
    wrong[:3, 3] = place - wrong[:3, :3] @ model.center
    if pose_errors(model, wrong[None], around.cam_from_obj[None])[0] < CLEARLY_WRONG:
        return None
    return inverse(around.cam_from_obj) @ wrong


def _surface(model: ObjectModel, around: Around, rng: np.random.Generator) -> Array | None:
    """A point (3,) beside the object that depth shows, a little behind its surface as a real object's centre is [m]."""
    depth, camera = around.frame.depth, around.frame.camera
    center = around.cam_from_obj[:3, :3] @ model.center + around.cam_from_obj[:3, 3]
    v, u = np.nonzero((depth > 0.6 * center[2]) & (depth < 1.6 * center[2]))
    z = depth[v, u].astype(float)
    points = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], 1)
    away = np.linalg.norm(points - center, axis=1)
    points = points[(away > 0.8 * model.diameter) & (away < 3.0 * model.diameter)]
    if not len(points):
        return None
    return points[rng.integers(len(points))] * (1.0 + 0.25 * model.diameter / center[2])
