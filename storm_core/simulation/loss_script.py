"""A long sequence of scripted losses out of a short clip and its layers: what is shown when, and what is due when."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

KINDS = ("occlusion", "exit", "jump", "fast")
"""A clipboard before it; out of the picture; suddenly elsewhere; the camera six times as fast."""

FAST = 6
"""Frames of the clip between two shown frames during fast motion."""

CALM_S, OCCLUSION_S, EXIT_S, FAST_S = (1.3, 2.3), (0.4, 1.5), (0.5, 2.0), (0.3, 0.7)
"""Shortest and longest time of each phase [s]."""


@dataclass(frozen=True)
class Shown:
    """One frame of the sequence: a frame of the clip in one of its layers (see scenarios.ARC_LAYERS)."""

    layer: str
    index: int

    @property
    def visible(self) -> bool:
        """The target can be seen."""
        return self.layer in ("shown", "moved")


@dataclass(frozen=True)
class Loss:
    """One event.

    Attributes:
      kind: one of KINDS. start: its first frame. due: the frame from which on the target can be followed again.
      end: the frame at which the next event begins.
    """

    kind: str
    start: int
    due: int
    end: int


@dataclass(frozen=True, eq=False)
class LossScript:
    """frames: what is shown. losses: in order. resets: frames at which a user resets the object."""

    frames: tuple[Shown, ...]
    losses: tuple[Loss, ...]
    resets: tuple[int, ...]


def loss_script(events: int, clip_frames: int, rate_hz: float, seed: int, reset_every: int = 5) -> LossScript:
    """Every kind equally often, in random order and at random times; a pure function of its arguments.

    Args:
      events: number of losses. clip_frames: length of every layer of the clip.
      reset_every: in every so many-th calm phase a user resets the object once.
    """
    rng = np.random.default_rng([seed, events])
    kinds = [KINDS[k % len(KINDS)] for k in range(events)]
    rng.shuffle(kinds)
    frames: list[Shown] = []
    losses: list[Loss] = []
    resets: list[int] = []
    place = _bouncing(clip_frames)
    next(place)
    layer = "shown"

    def show(span: tuple[float, float], in_layer: str, step: int = 1) -> int:
        start = len(frames)
        for _ in range(max(1, round(rng.uniform(*span) * rate_hz))):
            frames.append(Shown(in_layer, place.send(step)))
        return start

    show(CALM_S, layer)
    for number, kind in enumerate(kinds):
        match kind:
            case "occlusion":
                start, layer = show(OCCLUSION_S, "hidden"), "shown"
            case "exit":
                start, layer = show(EXIT_S, "gone"), "shown"
            case "jump":
                start, layer = len(frames), "moved" if layer == "shown" else "shown"
            case _:
                start = show(FAST_S, layer, FAST)
        due = show(CALM_S, layer)
        losses.append(Loss(kind, start, due, len(frames)))
        if number % reset_every == reset_every - 1:
            # After the recovery has been judged: a second calm phase is the reset's own.
            resets.append(show(CALM_S, layer))
            losses[-1] = Loss(kind, start, due, resets[-1])
    return LossScript(tuple(frames), tuple(losses), tuple(resets))


def _bouncing(count: int) -> Iterator[int]:
    """A place that walks to and fro between 0 and count - 1 by the steps sent to it."""
    at, direction, step = 0, 1, 0
    while True:
        for _ in range(step):
            if not 0 <= at + direction < count:
                direction = -direction
            at += direction
        step = yield at
