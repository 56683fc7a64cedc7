"""What training runs share that may be cut into slices: numbered batches, the rate of a step, what a slice did."""

import contextlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Set
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

from storm_core.errors import BackendError, ConfigError, WeightsError
from storm_core.parallel import on_one_thread

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Outcome:
    """What a call of `train` did: steps in all, steps now, seconds, the last validation, where the weights are."""

    step: int
    steps_now: int
    seconds: float
    validation: dict[str, float]
    weights: Path


class Stop:
    """Whether SIGINT or SIGTERM asked the run to end after its step; a second one ends it at once."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextlib.contextmanager
def finishing_steps() -> Iterator[Stop]:
    """Within the block SIGINT and SIGTERM only set a flag, so that a run keeps what it has learned.

    Outside the main thread, which alone may catch signals, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class RateArguments(Protocol):
    """The part of the training arguments that decides the learning rate."""

    @property
    def learning_rate(self) -> float: ...

    @property
    def warmup(self) -> int: ...

    @property
    def decay(self) -> int: ...

    @property
    def steps(self) -> int: ...


def require_torch(what: str) -> Any:
    """The torch module, or one error that says what needs it and how to get it."""
    try:
        import torch
    except ImportError as error:
        raise BackendError(f"training the {what} needs torch, which is not installed; run `make full` or "
                           "`pip install torch==2.13.0` (inference works without)") from error
    return torch


def load_checkpoint(file: Path, device: str, seed: int, keys: Set[str]) -> dict[str, Any]:
    """What a run kept under `keys`, tensors on `device`.

    Raises:
      WeightsError: the file is damaged or no checkpoint. ConfigError: the run has another seed.
    """
    torch = require_torch("model")
    try:
        kept = torch.load(file, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, AttributeError, TypeError,
            pickle.UnpicklingError) as error:
        raise damaged_checkpoint(file, error) from error
    if not isinstance(kept, dict) or not keys <= kept.keys():
        raise damaged_checkpoint(file, "it lacks what a run keeps")
    if kept.get("seed", seed) != seed:  # checkpoints of earlier versions have none
        raise ConfigError(f"{file} is of a run with training.seed={kept['seed']}, not {seed}; keep the seed of its "
                          "config")
    return kept


def damaged_checkpoint(file: Path, why: Exception | str) -> WeightsError:
    """The error to raise for a checkpoint that nothing can go on from."""
    reason = why if isinstance(why, str) else type(why).__name__
    return WeightsError(f"the checkpoint {file} is damaged ({reason}); remove the folder and start anew, with "
                        "training.init=<weights of that folder> to keep what was learned")


def learning_rate(arguments: RateArguments, number: int) -> float:
    """Learning rate of a step: warm-up, constant, and linearly down to a twentieth over the last `decay` steps."""
    rise = min(1.0, (number + 1) / max(arguments.warmup, 1))
    fall = min(1.0, max((arguments.steps - number) / max(arguments.decay, 1), 0.05))
    return arguments.learning_rate * rise * fall


@contextlib.contextmanager
def numbered_batches(make: Callable[[int], BatchT], workers: int, numbers: range
                     ) -> Iterator[Iterator[tuple[int, BatchT]]]:
    """(number, batch) in order, made by this process or ahead of time by others; the same batches either way.

    Other processes get a core each, and torch the rest: threads that wait for each other on a busy core made a step of
    a small network three times as slow.
    """
    if workers == 0:
        yield ((number, make(number)) for number in numbers)
        return
    torch = require_torch("model")
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, min(threads, len(os.sched_getaffinity(0)) - workers)))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        yield _ahead(pool, make, numbers, 3 * workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    on_one_thread()


def _ahead(pool: ProcessPoolExecutor, make: Callable[[int], BatchT], numbers: range, depth: int
           ) -> Iterator[tuple[int, BatchT]]:
    waiting: list[tuple[int, Future[BatchT]]] = []
    for number in numbers:
        waiting.append((number, pool.submit(make, number)))
        if len(waiting) > depth:
            done, future = waiting.pop(0)
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()
