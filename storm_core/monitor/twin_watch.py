"""Does another turn of the object look better than the tracked one?

A can that is turned about its axis agrees with depth as well as before, and with colour nearly so: no threshold on the
pose alone can tell. Its twins can: poses that the shape cannot tell apart are drawn beside it, and how much better one
of them looks, to the verifier and to the small network together, is added up over frames (a one-sided CUSUM), so that
noise does not end a track and a print does.

Depth acquits a pose at once, and convicts it only by what a small error cannot explain. Twins are alike but for a
hundredth or two of the diameter; a tracked pose is off by as much, for several frames in the same direction, and then
depth may prefer a twin for no other reason.

What is left of a hidden object, or what is seen without depth, convicts no pose that was acquitted before. A pose that
is new there has never been acquitted: its twins are asked about all the same.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import FrameFeatures
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, from_rotation_translation, so3_exp, transform
from storm_core.geometry.symmetry import shape_symmetries
from storm_core.monitor.crop import crop_of
from storm_core.monitor.network import CropNetwork

SIDE = 40
"""Crop resolution [px] of the comparison: prints are coarse, and twins are many."""

EVERY = 3
"""While nothing is suspicious, every so many-th frame looks at the next twin. One that has looked better is looked at
in every frame, and all are after a registration and after a jump: that is when a pose becomes the wrong twin."""

AT_ONCE = 4
"""Twins of a new pose that are looked at in a frame which shows it badly."""

NEW = 45
"""Frames for which a pose that is seen badly is new; from then on it is looked at as others are."""

JUMP = 0.35
"""Turn [rad] between two frames after which all twins are looked at at once."""

SLACK = 0.3
"""Log-odds by which a twin may look better in a frame without being counted."""

EXCUSED = 1.5
"""Log-odds by which depth may prefer a twin in a frame without being counted: three times what convicts right poses of
plain cups and stones on the validation split."""

ASKED = 6
"""Twins that the network is asked about in one frame at most: those that look best to the verifier."""

LEAD = 2.0
"""Log-odds of the network by which a twin can lead or lag in one frame at most."""

FAR = 0.2
"""Displacement [diameters] from which a turn is watched. A twin looks better once the pose is more than half the way to
it: that of a nearer twin would convict poses that are within 0.1 diameter."""

OTHER = 0.35
"""A half turn [rad] this near to another turn is not watched beside it."""

LIMIT = 4.0
"""Sum of what is counted [log-odds] from which the tracked pose is the wrong one of the two."""

HIGHEST = 2 * LIMIT
"""Largest sum [log-odds]: a pose that has become right is believed within a few frames, however wrong it was before."""

PICTURE = ("contour", "edge", "hue", "color")
"""Features of the verifier that the picture alone decides."""


class TwinWatch:
    """Watches one object. Models without colour have nothing to tell twins apart by: they are never doubted."""

    def __init__(self, model: ObjectModel, network: CropNetwork | None = None) -> None:
        """network: None = the verifier alone. `turns` (N, 4, 4) obj -> obj are those that are watched."""
        self._model, self._network = model, network
        self.turns = _telling(model) if model.colors is not None else np.zeros((0, 4, 4))
        self.reset()

    def reset(self) -> None:
        """A new registration: nothing is known, and every twin is looked at first."""
        self._next = 0
        self._last: NDArray[np.float64] | None = None
        self._new()

    def _new(self) -> None:
        """The pose is another one than was looked at before: what was counted was about other turns."""
        self._sums = np.zeros(len(self.turns))
        self._frames, self._acquitted = 0, False

    def doubt(self, features: FrameFeatures, cam_from_obj: NDArray[np.float64],
              learned: float = float("nan"), clear: bool = True) -> float:
        """How much better the best twin of the pose (4, 4) has looked so far [log-odds], 0 when none has.

        learned: the network's log-odds of the pose itself; nan = it was not asked. clear: the object is seen well, with
        depth; otherwise this frame is asked only about a pose that never was.
        """
        count = len(self.turns)
        if self._jumped(cam_from_obj):
            self._new()
        self._last = cam_from_obj
        if count == 0 or (self._acquitted and not clear):
            return float(self._sums.max(initial=0.0))
        looked = self._due(clear)
        self._frames += 1
        self._acquitted |= clear
        if len(looked) == 0:
            return 0.0
        own = self._looks(features, cam_from_obj)
        picture, depth = (np.array([self._looks(features, cam_from_obj @ turn) for turn in self.turns[looked]]) - own).T
        better = picture + np.minimum(depth, 0.0) + np.maximum(depth - EXCUSED, 0.0)
        if self._network is not None and np.isfinite(learned):
            asked = np.argsort(-better)[:ASKED]
            said = [self._network.of_crop(crop_of(features.frame, self._model, cam_from_obj @ self.turns[k]))
                    for k in looked[asked]]
            better[asked] += np.clip(np.array(said) - learned, -LEAD, LEAD)
        self._sums[looked] = np.clip(self._sums[looked] + better - SLACK, 0.0, HIGHEST)
        return float(self._sums.max())

    def _due(self, clear: bool) -> NDArray[np.intp]:
        """Indices of the turns that are looked at in this frame."""
        count = len(self.turns)
        if self._frames == 0 or (clear and not self._acquitted):
            return np.arange(count)
        suspects = np.flatnonzero(self._sums > 0.0)
        others = 1 if self._frames % EVERY == 0 else 0
        if not clear and self._frames < NEW:
            suspects = suspects[np.argsort(-self._sums[suspects])][:AT_ONCE - 1]
            others = AT_ONCE - len(suspects)
        ahead = (self._next + np.arange(min(others, count))) % count
        self._next = (self._next + others) % count
        return np.union1d(suspects, ahead).astype(np.intp)

    def standing(self, cam_from_obj: NDArray[np.float64]) -> float:
        """What was counted against the pose (4, 4) so far, where the picture shows nothing; nan = nothing is known."""
        if self._jumped(cam_from_obj):
            self._new()
            self._last = None
            return float("nan")
        self._last = cam_from_obj
        return float(self._sums.max()) if len(self._sums) else float("nan")

    def _jumped(self, cam_from_obj: NDArray[np.float64]) -> bool:
        return self._last is None or angle_between(self._last, cam_from_obj) > JUMP

    def _looks(self, features: FrameFeatures, cam_from_obj: NDArray[np.float64]) -> NDArray[np.float64]:
        """How well a pose (4, 4) agrees with the picture, and with depth (2,) [log-odds]; together they rank poses."""
        # One pose at a time: a single pose is compared on the calling thread, and objects have threads of their own.
        table = compare(features, self._model, cam_from_obj[None], side=SIDE)
        terms = VERIFIER.terms(to_evidence(table[0]))
        picture = sum(terms[name] for name in PICTURE)
        return np.array([picture, VERIFIER.ranking(table)[0] - picture])


def _telling(model: ObjectModel) -> NDArray[np.float64]:
    """Turns (N, 4, 4) obj -> obj that are watched, of those that move some vertex by FAR.

    What the shape cannot tell apart, and half turns about the box axes: the bottom of a cup, seen where the pose shows
    its inside, is as good as something that hides it.
    """
    vertices = model.vertices.astype(float)
    half = so3_exp(np.pi * np.eye(3))
    flips = from_rotation_translation(half, model.center - half @ model.center)
    turns = shape_symmetries(model)
    for flip in flips:
        same = (turns[:, None] @ model.symmetries).reshape(-1, 4, 4)
        if angle_between(same, flip).min() > OTHER:
            turns = np.concatenate([turns, flip[None]])
    moved = np.linalg.norm(transform(turns[1:], vertices) - vertices, axis=-1).max(-1)
    return turns[1:][moved >= FAR * model.diameter]
