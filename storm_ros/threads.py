"""How many cores a thread's kernels may use. Six processes that each take all cores take them from each other."""

import contextlib
import os
from collections.abc import MutableMapping

from storm_ros.graph import NICE_AFTER_START

_SETTINGS = {
    # Idle OpenMP threads spin by default, on cores that other nodes need.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Our matrices are small: more threads only cost.
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def prepare_threads(env: MutableMapping[str, str] = os.environ) -> None:
    """Settings that libraries read when they are first imported; what the user has set stays."""
    for name, value in _SETTINGS.items():
        env.setdefault(name, value)


def be_nicer(by: int) -> None:
    """Lower the priority of every thread of this process; Linux keeps one for each."""
    if by <= 0:
        return
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, int(thread), min(19, os.getpriority(os.PRIO_PROCESS, int(thread)) + by))


def step_back() -> None:
    """Take the lower priority that the graph foresees for this process after its start; only the first call counts."""
    be_nicer(int(os.environ.pop(NICE_AFTER_START, "0")))


def use_threads(count: int) -> None:
    """Let the kernels called from this thread use `count` cores; 0 = all."""
    import cv2
    import numba

    most = numba.config.NUMBA_NUM_THREADS
    numba.set_num_threads(min(count, most) if count > 0 else most)
    cv2.setNumThreads(count if count > 0 else most)
