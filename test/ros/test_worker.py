"""The inference thread takes the newest item, survives named errors, and reports everything else as fatal."""

import threading
import time

import pytest

from storm_core.errors import InputError
from storm_ros.join import StampJoin
from storm_ros.worker import KEEPING_UP, Worker


@pytest.fixture
def gate():
    """A handler that blocks until told to go on, and what it was given."""

    class Gate:
        def __init__(self):
            self.handled, self.errors, self.fatal = [], [], []
            self.entered, self.open = threading.Event(), threading.Event()
            self.done = threading.Semaphore(0)
            self.worker = Worker("test", self.handle, self.errors.append, self.note_fatal)
            self.worker.start()

        def handle(self, item):
            self.entered.set()
            assert self.open.wait(5)
            if isinstance(item, Exception):
                self.done.release()
                raise item
            self.handled.append(item)
            self.done.release()

        def note_fatal(self, error):
            self.fatal.append(error)
            self.done.release()

        def finish(self, count):
            for _ in range(count):
                assert self.done.acquire(timeout=5)

    made = Gate()
    yield made
    made.open.set()
    assert made.worker.stop()


def test_the_newest_item_wins_and_the_others_are_counted(gate):
    gate.worker.put(0)
    assert gate.entered.wait(5)
    for k in range(1, 6):
        gate.worker.put(k)
    gate.open.set()
    gate.finish(2)
    assert gate.handled == [0, 5] and gate.worker.dropped == 4


def test_a_hiccup_costs_nothing_but_a_worker_that_is_too_slow_handles_only_the_newest():
    handled, entered, free = [], threading.Semaphore(0), threading.Semaphore(0)

    def handle(item):
        entered.release()
        assert free.acquire(timeout=5)
        handled.append(item)

    worker = Worker("test", handle, pytest.fail, pytest.fail, backlog=3)
    worker.start()

    def busy_while(*items):
        """Of these, the first is being handled while the others come; then all that were kept are."""
        before = len(handled)
        worker.put(items[0])
        assert entered.acquire(timeout=5)
        for item in items[1:]:
            worker.put(item)
        kept = min(len(items), 1 + len(worker._slots.get(None, ())))
        for k in range(kept):
            free.release()
            assert k == kept - 1 or entered.acquire(timeout=5)
        while len(handled) < before + kept:
            time.sleep(0.001)

    busy_while(1, 2, 3, 4)
    assert handled == [1, 2, 3, 4] and worker.dropped == 0
    busy_while(5, 6, 7, 8, 9)
    assert handled[4:] == [5, 9] and worker.dropped == 3
    busy_while(10, 11, 12)
    assert handled[6:] == [10, 12], "it has to prove first that it keeps up"
    for item in range(KEEPING_UP):
        busy_while(item)
    handled.clear()
    busy_while(1, 2, 3, 4)
    assert handled == [1, 2, 3, 4]
    assert worker.stop()


def test_every_key_has_a_slot_of_its_own_served_in_order(gate):
    gate.worker.put("first")
    assert gate.entered.wait(5)
    for item, key in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("c1", "c")):
        gate.worker.put(item, key)
    gate.worker.discard("c")
    gate.open.set()
    gate.finish(3)
    assert gate.handled == ["first", "a2", "b1"]


def test_a_named_error_costs_one_item_only(gate):
    gate.open.set()
    gate.worker.put(InputError("no depth"))
    gate.finish(1)
    gate.worker.put("next")
    gate.finish(1)
    assert [str(e) for e in gate.errors] == ["no depth"] and gate.handled == ["next"] and not gate.fatal


def test_any_other_error_is_fatal_and_ends_the_thread(gate):
    gate.open.set()
    gate.worker.put(ZeroDivisionError("bug"))
    gate.finish(2)
    assert isinstance(gate.fatal[0], ZeroDivisionError) and not gate.errors
    assert gate.worker.stop()


def test_halves_join_in_either_order_and_orphans_are_forgotten():
    join = StampJoin(kept=3)
    assert join.first(1, "a") is None and join.second(1, "A") == ("a", "A")
    assert join.second(2, "B") is None and join.first(2, "b") == ("b", "B")
    for stamp in range(10, 20):
        assert join.first(stamp, "x") is None
    assert join.second(10, "X") is None and join.second(19, "X") == ("x", "X")
