"""One inference thread with a mailbox. Inference never runs on the executor, and the newest item wins."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from storm_core.errors import StormError

T = TypeVar("T")


class Worker(Generic[T]):
    """Handles items one after the other in a thread of its own.

    The mailbox has one slot per key: a newer item replaces an unhandled older one (counted in `dropped`), and keys are
    served in the order in which they became full.
    """

    def __init__(self, name: str, handle: Callable[[T], None], on_error: Callable[[StormError], None],
                 on_fatal: Callable[[BaseException], None], on_start: Callable[[], None] = lambda: None) -> None:
        """
        Args:
          name: of the thread.
          handle: called with each item in the thread.
          on_error: an item could not be handled for a named reason; the worker goes on.
          on_fatal: anything else; the worker ends.
          on_start: called first in the thread.
        """
        self.dropped = 0
        self._handle, self._on_error, self._on_fatal, self._on_start = handle, on_error, on_fatal, on_start
        self._slots: OrderedDict[Hashable, T] = OrderedDict()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: T, key: Hashable = None) -> None:
        """Leave an item; never blocks."""
        with self._changed:
            if key in self._slots:
                self.dropped += 1
            self._slots[key] = item
            self._changed.notify()

    def discard(self, key: Hashable) -> None:
        """Take an unhandled item back."""
        with self._changed:
            self._slots.pop(key, None)

    def stop(self, timeout: float = 5.0) -> bool:
        """End after the item at hand, at most `timeout` [s] from now; True when the thread has ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._on_start()
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping or self._slots)
                    if self._stopping:
                        return
                    _, item = self._slots.popitem(last=False)
                self._handle_one(item)
        except Exception as error:  # noqa: BLE001 (a thread must not end in silence)
            self._on_fatal(error)

    def _handle_one(self, item: T) -> None:
        try:
            self._handle(item)
        except StormError as error:
            self._on_error(error)
