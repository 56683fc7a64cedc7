"""Other starts for an alignment: where an object may have gone when the expected place does not fit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.turn import angle_kernel
from storm_core.kernels import njit
from storm_core.render_compare.choice import Proposals
from storm_core.tracking.histogram import color_bin
from storm_core.tracking.landmarks import landmarks, matches, motion, scene_motion
from storm_core.tracking.optimise import center_of, moved, rank
from storm_core.tracking.sparse_model import SparseView
from storm_core.tracking.texture import KeyFrame
from storm_core.types import Frame

Pose = NDArray[np.float64]

REACH = 1.6
"""How far around the expected place the object is looked for [diameters]."""

CELLS = 10
"""Cells of the search grid per diameter."""

SPREAD = 0.6
"""Depth around the expected centre at which a pixel may be the object's [diameters]."""

PLACES = 3
"""Places that the search keeps."""

FAN_SHIFT, FAN_TURN = 0.2, 0.35
"""Steps of the fan of starts around a pose [diameters, rad]."""

WIDE_TURNS = (0.35, 0.8, 1.3)
"""Turns of the fan of a wide search [rad]."""

ALIGNED, WIDE_ALIGNED = 4, 12
"""Starts of a search, and of a wide one, that are worth an alignment."""

PROPOSED = 6
"""Starts that the learned refiner moves, where there is one."""

OBJECT_AGREEING = 8
"""Landmarks of the object alone that must agree on its motion."""


@dataclass(frozen=True, eq=False)
class Look:
    """What an object is recognised by in one frame: foreground probability of colours (4096,), remembered texture."""

    posterior: NDArray[np.float32]
    key: KeyFrame | None


@dataclass(frozen=True, eq=False)
class Seen:
    """An object's pose in a frame."""

    frame: Frame
    cam_from_obj: Pose

    def carried(self, frame: Frame) -> Pose | None:
        """Where it is now if it moved with the scene; None when the scene does not say how it moved."""
        moved_by = scene_motion(self.frame, frame)
        return None if moved_by is None else np.ascontiguousarray(moved_by @ self.cam_from_obj)

    def expected(self, frame: Frame) -> Pose:
        """Where it is now if it stands still: as far as the camera's motion is known, or else the scene shows it."""
        camera_motion = frame.camera_motion(self.frame)
        carried = self.carried(frame) if camera_motion is None else camera_motion @ self.cam_from_obj
        return self.cam_from_obj if carried is None else carried

    def turned(self, frame: Frame, model: ObjectModel) -> Pose | None:
        """Where the landmarks on the object itself say that it is now; None when too few agree."""
        before, pairs = landmarks(self.frame), matches(self.frame, frame)
        near = np.linalg.norm(before.points[pairs[:, 0]] - center_of(model, self.cam_from_obj), axis=1)
        pairs = pairs[near < 0.5 * model.diameter]
        moved_by = motion(before, landmarks(frame), pairs, frame.camera, agreeing=OBJECT_AGREEING)
        return None if moved_by is None else np.ascontiguousarray(moved_by @ self.cam_from_obj)


def surprise(model: ObjectModel, expected: Pose, found: Pose) -> float:
    """Pose change in diameters: shift of the centre plus the turn seen at half a diameter."""
    return surprise_kernel(model.center, model.diameter, expected, found)


@njit(cache=True)
def surprise_kernel(center, diameter, expected, found):
    """See `surprise`."""
    square = 0.0
    for i in range(3):
        shift = found[i, 3] - expected[i, 3]
        for k in range(3):
            shift += (found[i, k] - expected[i, k]) * center[k]
        square += shift * shift
    return np.sqrt(square) / diameter + 0.5 * angle_kernel(expected, found)


def search(frame: Frame, model: ObjectModel, look: Look, view: SparseView, bases: list[Pose], *, wide: bool = False
           ) -> list[Pose]:
    """The most promising starts around poses that were expected, best first.

    Args:
      view: of the object at one of the bases or nearby. wide: with large turns, at every place that was found.
    """
    places = [place for base in bases for place in _places(frame, model, look, view, base)]
    turns = WIDE_TURNS if wide else (FAN_TURN,)
    around = [*bases, *(places if wide else places[:1])]
    starts = [*places, *(start for base in around for start in fan(model, base, turns))]
    rough = rank(frame, model, view, np.array(starts), look.posterior)
    return [starts[k] for k in np.argsort(rough)[::-1][: WIDE_ALIGNED if wide else ALIGNED]]


def proposed(frame: Frame, model: ObjectModel, propose: Proposals, starts: list[Pose]) -> list[Pose]:
    """Where the learned refiner moves the first of the starts: turns too large for an alignment."""
    return [np.ascontiguousarray(pose) for pose in propose(frame, model, np.array(starts[:PROPOSED]))]


def fan(model: ObjectModel, base: Pose, turns: tuple[float, ...] = (FAN_TURN,)) -> list[Pose]:
    """A step along and about each axis of the camera from a pose; turns: sizes of those about it [rad]."""
    pivot = center_of(model, base)
    steps = [FAN_SHIFT * model.diameter * axis for axis in np.eye(6)[:3]]
    steps += [turn * axis for axis in np.eye(6)[3:] for turn in turns]
    return [moved(base, pivot, sign * step) for step in steps for sign in (-1.0, 1.0)]


def _places(frame: Frame, model: ObjectModel, look: Look, view: SparseView, base: Pose) -> list[Pose]:
    """The pose moved to where its colours and its distance appear in its shape, best first."""
    center = center_of(model, base)
    if center[2] <= 0.02:
        return []
    found = places_kernel(
        frame.rgb, frame.depth, look.posterior, view.depth, view.crop, center_of(model, view.cam_from_obj),
        frame.camera.vector, center, model.diameter, REACH, CELLS, SPREAD, PLACES,
    )
    out = []
    for shift in found:
        pose = base.copy()
        pose[:3, 3] += shift
        out.append(pose)
    return out


@njit(cache=True)
def places_kernel(
    rgb, depth_image, posterior, rendered, crop, drawn, cam, center, diameter, reach, cells, spread, count
):
    """Shifts (<= count, 3) [m] of an object at `center` to the places that fit its silhouette best.

    The picture around the centre becomes a grid of cells that say how much they look like the object: by colour, and
    by lying at its distance. The silhouette, with a rim that must not look like it, is tried at every cell.
    drawn: object centre (3,) [m] that the crop `rendered` was drawn around.
    """
    h, w = depth_image.shape
    pixel = diameter * cam[0] / center[2] / cells
    u0, v0 = cam[0] * center[0] / center[2] + cam[2], cam[1] * center[1] / center[2] + cam[3]
    half = int(np.ceil(reach * cells)) + cells
    n = 2 * half + 1
    cell, near = np.zeros((n, n)), np.zeros((n, n))
    for j in range(n):
        for i in range(n):
            x, y = int(np.floor(u0 + (i - half) * pixel + 0.5)), int(np.floor(v0 + (j - half) * pixel + 0.5))
            if x < 0 or y < 0 or x >= w or y >= h:
                cell[j, i] = -0.5
                continue
            like = 2.0 * posterior[color_bin(rgb, y, x)] - 1.0
            z = depth_image[y, x]
            if z > 0:
                fits = abs(z - center[2]) < spread * diameter
                like = 0.5 * like + (0.5 if fits else -0.5)
                near[j, i] = z if fits else 0.0
            cell[j, i] = like
    # Silhouette of the object on the same grid, around its own centre, from the rendered crop.
    du, dv = cam[0] * drawn[0] / drawn[2] + cam[2], cam[1] * drawn[1] / drawn[2] + cam[3]
    m = cells
    side = rendered.shape[0]
    shape = np.zeros((2 * m + 1, 2 * m + 1))
    inner, surface = 0.0, 0.0
    for j in range(2 * m + 1):
        for i in range(2 * m + 1):
            a = int(np.floor((du + (i - m) * pixel - crop[4]) / crop[6] + 0.5))
            b = int(np.floor((dv + (j - m) * pixel - crop[5]) / crop[6] + 0.5))
            if a >= 0 and b >= 0 and a < side and b < side and rendered[b, a] > 0:
                shape[j, i] = 1.0
                inner += 1.0
                surface += rendered[b, a]
    out = np.zeros((count, 3))
    if inner < 4:
        return out[:0]
    surface = surface / inner - drawn[2]
    rim = 0.0
    for j in range(1, 2 * m):
        for i in range(1, 2 * m):
            if shape[j, i] == 0 and (shape[j - 1, i] == 1 or shape[j + 1, i] == 1 or shape[j, i - 1] == 1
                                     or shape[j, i + 1] == 1):
                shape[j, i] = -1.0
                rim += 1.0
    last = half - m
    score = np.full((2 * last + 1, 2 * last + 1), -1e9)
    for dj in range(-last, last + 1):
        for di in range(-last, last + 1):
            total, edge = 0.0, 0.0
            for j in range(2 * m + 1):
                for i in range(2 * m + 1):
                    if shape[j, i] > 0:
                        total += cell[half + dj + j - m, half + di + i - m]
                    elif shape[j, i] < 0:
                        edge += cell[half + dj + j - m, half + di + i - m]
            score[last + dj, last + di] = total / inner - edge / max(rim, 1.0)
    kept = 0
    values = np.empty((2 * m + 1) ** 2)
    while kept < count:
        k = np.argmax(score)
        bj, bi = k // (2 * last + 1), k % (2 * last + 1)
        if score[bj, bi] <= 0.0:
            break
        # The new distance: that of the measured surface there.
        used = 0
        for j in range(2 * m + 1):
            for i in range(2 * m + 1):
                z = near[half + bj - last + j - m, half + bi - last + i - m]
                if shape[j, i] > 0 and z > 0:
                    values[used] = z
                    used += 1
        z = np.median(values[:used]) - surface if used > 3 else center[2]
        out[kept, 0] = (u0 + (bi - last) * pixel - cam[2]) / cam[0] * z - center[0]
        out[kept, 1] = (v0 + (bj - last) * pixel - cam[3]) / cam[1] * z - center[1]
        out[kept, 2] = z - center[2]
        kept += 1
        for j in range(max(0, bj - 3), min(2 * last + 1, bj + 4)):
            for i in range(max(0, bi - 3), min(2 * last + 1, bi + 4)):
                score[j, i] = -1e9
    return out[:kept]
