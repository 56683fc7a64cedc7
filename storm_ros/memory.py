"""What the C library does with freed memory.

Images come and go at 30 Hz: giving each one's pages back to the system and asking for them again cost all nodes in one
process 0.03 to 0.05 cores of 0.39 (with a process each there was nothing to be seen).
"""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 512 << 20
"""Freed memory that stays with the process [bytes]; nodes never have as much."""


def give_back() -> None:
    """Return all freed memory to the system after all: something large is gone for good."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> None:
    """Freed memory is used again instead of returned; nothing where the C library is not glibc."""
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_MMAP_THRESHOLD, _KEPT)
