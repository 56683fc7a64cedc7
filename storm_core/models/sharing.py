"""One copy per process of what takes memory: networks that several stages use."""

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class OnePerProcess(Generic[T]):
    """The same object for the same key as long as anybody holds it; it is freed with its last user."""

    def __init__(self) -> None:
        self._there: WeakValueDictionary[Hashable, T] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What this key stands for; made, by one thread only, where nobody holds it."""
        with self._lock:
            found = self._there.get(key)
            if found is None:
                found = self._there[key] = make()
            return found


def state_of(file: Path) -> tuple[str, int, int]:
    """Part of a key: a file that is written anew is another one. One that is missing has size and time 0."""
    try:
        stat = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), stat.st_size, stat.st_mtime_ns
