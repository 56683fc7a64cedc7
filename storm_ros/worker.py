"""One inference thread with a mailbox. Inference never runs on the executor, and the newest item wins."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from storm_core.errors import StormError

T = TypeVar("T")

KEEPING_UP = 30
"""Items in a row that find nothing waiting, after which a worker that had fallen behind counts as fast enough again."""


class Worker(Generic[T]):
    """Handles items one after the other in a thread of its own.

    The mailbox has one slot per key, and keys are served in the order in which they became full. A slot holds `backlog`
    unhandled items, so that a hiccup costs none of them; one more replaces them all (counted in `dropped`), and as long
    as the worker is too slow a newer item replaces the older one, so that nothing is handled late.
    """

    def __init__(self, name: str, handle: Callable[[T], None], on_error: Callable[[StormError], None],
                 on_fatal: Callable[[BaseException], None], on_start: Callable[[], None] = lambda: None,
                 backlog: int = 1) -> None:
        """
        Args:
          name: of the thread.
          handle: called with each item in the thread.
          on_error: an item could not be handled for a named reason; the worker goes on.
          on_fatal: anything else; the worker ends.
          on_start: called first in the thread.
          backlog: unhandled items that one slot may hold while the worker is fast enough on the whole.
        """
        self.dropped = 0
        self._handle, self._on_error, self._on_fatal, self._on_start = handle, on_error, on_fatal, on_start
        self._slots: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._backlog, self._to_prove = backlog, 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: T, key: Hashable = None) -> None:
        """Leave an item; never blocks."""
        with self._changed:
            waiting = self._slots.setdefault(key, deque())
            if len(waiting) >= (1 if self._to_prove else self._backlog):
                self.dropped += len(waiting)
                waiting.clear()
                self._to_prove = KEEPING_UP
            elif not waiting and self._to_prove:
                self._to_prove -= 1
            waiting.append(item)
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
                    key, waiting = next(iter(self._slots.items()))
                    item = waiting.popleft()
                    if not waiting:
                        del self._slots[key]
                self._handle_one(item)
        except Exception as error:  # noqa: BLE001 (a thread must not end in silence)
            self._on_fatal(error)

    def _handle_one(self, item: T) -> None:
        try:
            self._handle(item)
        except StormError as error:
            self._on_error(error)
