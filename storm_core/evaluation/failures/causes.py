"""What can go wrong with a tracked pose or with the pictures it is judged by, and when it does in one clip."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from storm_core.errors import ConfigError


class Cause(str, Enum):
    """One labelled fault. The value is its name on the command line and in results.

    Of the pose: DRIFT (grows linearly), JUMP, WRONG_OBJECT (sits on a neighbour), FLIP (half a turn), TEXTURE_TURN (the
    shape agrees, the print does not), EQUIVALENT (a declared symmetry: control, no failure).
    Of the pictures: OCCLUSION (part of the object), HIDDEN (all of it), EXIT (the camera turns away and back), FROZEN,
    DEPTH_LOSS, BLUR, TIME_OFFSET (depth older than colour).
    """

    NONE = "none"
    DRIFT = "drift"
    JUMP = "jump"
    WRONG_OBJECT = "wrong_object"
    FLIP = "flip"
    TEXTURE_TURN = "texture_turn"
    EQUIVALENT = "equivalent"
    OCCLUSION = "occlusion"
    HIDDEN = "hidden"
    EXIT = "exit"
    FROZEN = "frozen"
    DEPTH_LOSS = "depth_loss"
    BLUR = "blur"
    TIME_OFFSET = "time_offset"


POSE_CAUSES = (Cause.DRIFT, Cause.JUMP, Cause.WRONG_OBJECT, Cause.FLIP, Cause.TEXTURE_TURN, Cause.EQUIVALENT)

SIZES: dict[Cause, tuple[float, float]] = {
    Cause.DRIFT: (0.3, 0.6), Cause.JUMP: (0.3, 1.0), Cause.OCCLUSION: (0.3, 0.6), Cause.HIDDEN: (1.0, 1.0),
    Cause.DEPTH_LOSS: (0.5, 1.0), Cause.BLUR: (7.0, 21.0), Cause.TIME_OFFSET: (2.0, 4.0)}
"""Range that the size of an event is drawn from: offset at the end [diameters], covered share of the silhouette, share
of the depth image, length [px at 640 px width], age of depth [frames]. Other causes have no size."""

FIRST_SHARE, LENGTH_SHARE = (0.3, 0.45), 0.35
"""Where in the clip an event begins, and how long it is, as shares of the clip."""

MIN_FRAMES = 12
"""Shorter clips have no room for frames before, in and after an event."""


@dataclass(frozen=True, kw_only=True)
class FaultEvent:
    """One fault in one clip.

    Attributes:
      first, last: positions in the clip, both inclusive; no event: first = frames, last = frames - 1.
      size: see SIZES, nan without one. seed: of everything else that is drawn for it.
    """

    cause: Cause
    first: int
    last: int
    size: float
    seed: tuple[int, ...]

    @property
    def span(self) -> range:
        return range(self.first, self.last + 1)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(list(self.seed))


def plan_event(cause: Cause, frames: int, seed: tuple[int, ...]) -> FaultEvent:
    """When and how much, drawn from the seed and the cause; the same for the same arguments.

    Raises:
      ConfigError: the clip is too short.
    """
    if frames < MIN_FRAMES:
        raise ConfigError(f"a clip of {frames} frames is too short for an event; the failure benchmark needs at least "
                          f"{MIN_FRAMES} annotated frames of an object in a row")
    seed = (*seed, list(Cause).index(cause))
    if cause is Cause.NONE:
        return FaultEvent(cause=cause, first=frames, last=frames - 1, size=float("nan"), seed=seed)
    rng = np.random.default_rng(list(seed))
    first = round(rng.uniform(*FIRST_SHARE) * frames)
    low, high = SIZES.get(cause, (float("nan"), float("nan")))
    size = low + (high - low) * rng.random()
    return FaultEvent(cause=cause, first=first, last=first + max(5, round(LENGTH_SHARE * frames)) - 1,
                      size=float(round(size) if cause is Cause.TIME_OFFSET else size), seed=(*seed, 1))


def causes_of(names: list[str]) -> tuple[Cause, ...]:
    """Causes by name, `none` always among them; all when no name is given.

    Raises:
      ConfigError: an unknown name (lists the known ones).
    """
    known = {cause.value: cause for cause in Cause}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"unknown cause {unknown[0]!r}; known: {', '.join(known)}")
    return tuple(cause for cause in Cause if not names or cause is Cause.NONE or cause.value in names)
