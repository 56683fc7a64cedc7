"""Real time without waiting: frames arrive by their stamps on a virtual clock that the processing time drives.

As in the nodes the newest frame wins: a frame that arrives while another one is processed waits, and is dropped when a
newer one arrives before its turn. So a slow pipeline sees fewer frames, and what it publishes is late.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from storm_core.types import Frame, StepOutput

Clock = Callable[[], float]


@dataclass
class _Worker:
    """free_at: virtual time at which the last frame was done [s]."""

    step: Callable[[Frame], StepOutput]
    clock: Clock
    free_at: float = float("-inf")

    def process(self, frame: Frame, arrived_s: float) -> StepOutput:
        """The output, with `end_to_end` from arrival to result in its stage_ms."""
        begin = self.clock()
        output = self.step(frame)
        self.free_at = max(self.free_at, arrived_s) + self.clock() - begin
        return replace(output, stage_ms=output.stage_ms | {"end_to_end": (self.free_at - arrived_s) * 1e3})


def in_real_time(frames: Iterable[Frame], step: Callable[[Frame], StepOutput], *, speed: float = 1.0,
                 clock: Clock = time.perf_counter) -> Iterator[StepOutput]:
    """One output per frame, in order; without objects for a frame that was dropped.

    Args:
      frames: in the order of their stamps; reading them costs no virtual time.
      step: the pipeline. speed: recorded seconds per virtual second; 2 = twice as fast as recorded.
      clock: [s], for measuring how long a step takes.
    """
    worker = _Worker(step, clock)
    waiting: Frame | None = None
    start_ns = 0
    for frame in frames:
        if waiting is None:
            start_ns, waiting = frame.stamp_ns, frame
            continue
        arrived_s, waited_since_s = ((f.stamp_ns - start_ns) * 1e-9 / speed for f in (frame, waiting))
        if worker.free_at <= arrived_s:
            yield worker.process(waiting, waited_since_s)
        else:
            yield StepOutput(stamp_ns=waiting.stamp_ns, objects=(), transitions=(), stage_ms={})
        waiting = frame
    if waiting is not None:
        yield worker.process(waiting, (waiting.stamp_ns - start_ns) * 1e-9 / speed)
