"""Shared memory that killed processes left behind: 70 MB each, which Fast DDS itself never gives back."""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")

_SETTLED = 1.0
"""Age of a lock file from which on its owner has surely locked it [s]."""

_LOCK_FILE = re.compile(r"fast(dds|rtps)_[0-9a-f]{16}_el")


def abandoned_segments(folder: Path = SHARED_MEMORY) -> tuple[Path, ...]:
    """Segments of Fast DDS whose process is gone.

    A living participant holds an exclusive lock on the file beside its segment; the kernel drops it with the process.
    """
    return tuple(lock.with_name(lock.name.removesuffix("_el")) for lock in _lock_files(folder) if _unlocked(lock))


def remove_abandoned(folder: Path = SHARED_MEMORY) -> int:
    """Delete them; returns the bytes given back."""
    freed = 0
    for segment in abandoned_segments(folder):
        freed += size_of(segment)
        with contextlib.suppress(OSError):
            segment.unlink(missing_ok=True)
            segment.with_name(f"{segment.name}_el").unlink()
    return freed


def size_of(segment: Path) -> int:
    """Bytes that a segment occupies; 0 when only its lock file is left, or when it has gone meanwhile."""
    try:
        return segment.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _lock_files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if not _LOCK_FILE.fullmatch(entry.name):
                continue
            # Other users' segments are theirs to remove; a participant that starts right now may not hold its lock yet.
            status = entry.stat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > _SETTLED:
                yield Path(entry.path)


def _unlocked(path: Path) -> bool:
    try:
        with open(path) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
