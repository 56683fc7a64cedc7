"""How many cores a thread's kernels may use. Six processes that each take all cores take them from each other."""

import os
from collections.abc import MutableMapping

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


def use_threads(count: int) -> None:
    """Let the kernels called from this thread use `count` cores; 0 = all."""
    import cv2
    import numba

    most = numba.config.NUMBA_NUM_THREADS
    numba.set_num_threads(min(count, most) if count > 0 else most)
    cv2.setNumThreads(count if count > 0 else most)
