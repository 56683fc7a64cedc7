"""Things that hide a chosen share of an object: a sheet held before the camera, or a carton that stands in the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import inverse, so3_exp, transform
from storm_core.simulation.camera_path import CameraPath
from storm_core.simulation.objects import printed_box
from storm_core.simulation.scenarios import Motion, hand_with_sheet
from storm_core.simulation.scene import Body
from storm_core.simulation.shading import NO_SURFACE, draw_mesh

Pose = NDArray[np.float64]

_PROBE = (200, 150)
"""Size of the pictures in which visibility is tried out [px]."""
_SHEET_HALF = 0.10
"""Half width of the held sheet [m]."""
SIDES = {"right": 0.0, "below": np.pi / 2, "left": np.pi, "above": -np.pi / 2}
"""Where a held sheet comes from, and its turn about the optical axis [rad]: x points right in the picture, y down."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Tells how much of an object is visible, quickly: a small picture without colour."""

    camera: PinholeCamera

    def visible(self, world_from_cam: Pose, target: Body, others: Sequence[Body]) -> float | None:
        """Visible share of the part of the target that lies in the picture; None when none does."""
        camera = self.camera.resized(*_PROBE)
        cam_from_world = inverse(world_from_cam)
        mine, theirs = (np.zeros((camera.height, camera.width), np.float32) for _ in range(2))
        for depth, bodies in ((mine, (target,)), (theirs, others)):
            for body in bodies:
                vertices = transform(cam_from_world @ body.world_from_obj, body.model.vertices).astype(np.float32)
                draw_mesh(vertices, body.model.faces, camera.vector, depth, np.full(depth.shape, NO_SURFACE, np.int32))
        whole = int((mine > 0).sum())
        return float((mine > theirs).sum() / whole) if whole else None

    def worst(self, world_from_cam: Pose, target: Body, others: Sequence[Body]) -> int | None:
        """Index of the body that hides most of the target, None when nothing does."""
        left = [self.visible(world_from_cam, target, [other]) for other in others]
        hidden = [0.0 if share is None else 1.0 - share for share in left]
        return int(np.argmax(hidden)) if hidden and max(hidden) > 0 else None


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldSheet:
    """A clipboard in a hand, moved in the frame of the intended camera.

    Attributes:
      bodies: board, hand and sleeve. motion: of all of them.
    """

    bodies: tuple[Body, ...]
    motion: Motion


def held_sheet(path: CameraPath, target: Body, distance: float, probe: Probe, hidden: float,
               span: tuple[float, float], rng: np.random.Generator, side: str = "right") -> HeldSheet:
    """A sheet that comes in, hides the share `hidden` (0..1) of the target, and leaves again.

    Args:
      distance: of the target from the camera [m].
      span: when it hides most [s]; it takes 0.4 of that time to come in before, and to leave after.
      side: of the picture where it comes in, one of SIDES.
    """
    away = max(0.55 * distance, 0.2)
    turn = so3_exp([0.0, 0.0, SIDES[side]])
    bodies = tuple(hand_with_sheet(rng))
    middle = (span[0] + span[1]) / 2
    if hidden >= 1.0:
        reach = 0.0
    else:
        def visible(offset: float) -> float | None:
            pose = path.steady(middle) @ _at(offset, away, turn)
            return probe.visible(path.at(middle), target, [replace(b, world_from_obj=pose) for b in bodies])

        reach = bisected(visible, 1.0 - hidden, 0.0, _SHEET_HALF + 0.35)
    ease = 0.4 * (span[1] - span[0])
    whole = span[0] - ease, span[1] + ease
    track = PchipInterpolator([whole[0], *span, whole[1]], [reach + 0.5, reach, reach, reach + 0.5])
    return HeldSheet(bodies=bodies, motion=partial(_held, path, track, away, whole, turn))


def carton(world_from_cam: Pose, toward: Pose, target: Body, radius: float, tall: float, probe: Probe,
           hidden: float, rng: np.random.Generator) -> Body | None:
    """A printed carton on the table that hides the share `hidden` of the target; None when it cannot hide so much.

    Args:
      toward: unit vector on the table from the target to the camera (3,).
      radius, tall: footprint and height of the target [m].
    """
    size = (float(rng.uniform(0.16, 0.24)), 0.05, float(rng.uniform(0.9, 1.1) * max(0.20, tall + 0.12)))
    model = printed_box("carton", size, rng, tuple(rng.uniform(0.3, 0.9, 3)), tuple(rng.uniform(0.1, 0.9, 3)), 0.005)
    side = np.array([-toward[1], toward[0], 0.0]) * float(rng.choice([-1.0, 1.0]))
    middle = target.world_from_obj[:3, 3] + (radius + 0.045) * toward
    yaw = np.arctan2(toward[1], toward[0]) + np.pi / 2 + rng.uniform(-0.15, 0.15)
    body = Body(model=model, world_from_obj=np.eye(4), gloss=0.05)

    def placed(offset: float) -> Body:
        pose = np.eye(4)
        pose[:3, :3] = so3_exp([0, 0, yaw])
        pose[:3, 3] = *(middle + offset * side)[:2], size[2] / 2
        return replace(body, world_from_obj=pose)

    def visible(offset: float) -> float | None:
        return probe.visible(world_from_cam, target, [placed(offset)])

    least = visible(0.0)
    if least is None or least > 1.0 - hidden:
        return None
    return placed(bisected(visible, 1.0 - hidden, 0.0, size[0] / 2 + radius + 0.15))


def bisected(visible: Callable[[float], float | None], wanted: float, near: float, far: float) -> float:
    """Offset between `near`, where less is visible than wanted, and `far`, where more is."""
    for _ in range(14):
        middle = (near + far) / 2
        near, far = (middle, far) if (visible(middle) or 0.0) < wanted else (near, middle)
    return (near + far) / 2


def _at(offset: float, away: float, turn: NDArray[np.float64]) -> Pose:
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = *(offset * turn[:2, 0]), away
    return pose


def _held(path: CameraPath, track: PchipInterpolator, away: float, span: tuple[float, float],
          turn: NDArray[np.float64], t: float) -> Pose:
    if not span[0] <= t <= span[1]:
        # Out of the way entirely, so that no shadow lies on the table.
        return path.steady(t) @ _at(0.0, -5.0, turn)
    pose = _at(float(track(t)), away, turn)
    pose[:3, :3] = turn @ so3_exp([0.0, 0.0, 0.06 * np.sin(1.7 * t)])
    return path.steady(t) @ pose
