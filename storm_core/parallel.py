"""Independent pieces of work on the threads of this process."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def on_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """[function(item) for item in items], on as many threads as compiled code of the calling thread may use.

    Worth it only where `function` spends its time in compiled code that releases the interpreter (nogil). It must not
    call kernels that are parallel themselves: numba's thread pool takes one caller at a time.
    """
    import numba

    work = list(items)
    threads = min(len(work), numba.get_num_threads())
    if threads < 2:
        return [function(item) for item in work]
    # Every thread takes the next piece as it becomes free, the calling one too: handing pieces over one by one costs
    # more of the interpreter's time than a piece does.
    out: list[Any] = [None] * len(work)
    waiting = iter(range(len(work)))

    def take() -> None:
        for k in waiting:
            out[k] = function(work[k])

    others = [_pool(numba.get_num_threads() - 1).submit(take) for _ in range(threads - 1)]
    try:
        take()
    finally:
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()
    return out


def on_one_thread() -> None:
    """From now on this process computes with one thread: as many processes as cores share the machine."""
    import cv2
    import numba

    numba.set_num_threads(1)
    cv2.setNumThreads(1)


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    """One pool per size for the whole process; its threads live as long as the process."""
    return ThreadPoolExecutor(threads, thread_name_prefix="storm")
