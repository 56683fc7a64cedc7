"""Ten objects in one graph: everybody gets a share of the time."""

import threading
import time
from collections import Counter

import pytest

from test.ros.fakes import FakeStages, is_staged

pytestmark = pytest.mark.ros

WORK = {"localize": 0.010, "register": 0.003, "track": 0.0, "judge": 0.003}
"""Time that each stage takes per object [s]: five searches more than the camera's period, ten judgements nearly."""

FAIR = 0.7
"""Least part of what one object gets that another gets. A hiccup of the machine may cost one of them a few frames of a
second; whoever is left out for others gets next to none."""


class Working(FakeStages):
    """Every stage takes its time; `only` are in view; counts what was done for whom."""

    def __init__(self, only):
        super().__init__(asked=self._work)
        self.only, self.done, self._lock = set(only), Counter(), threading.Lock()

    def _work(self, stage, name, frame):
        if is_staged(frame):
            return
        time.sleep(WORK[stage])
        with self._lock:
            self.done[stage, name] += 1

    def places_of(self, name):
        # Far outside the picture: looked for, and never found.
        return (0.0,) if name in self.only else ()

    def counts(self, stage, names):
        with self._lock:
            return [self.done[stage, name] for name in names]


def test_ten_tracked_objects_are_all_judged_and_published(bench):
    names = [f"o{k}" for k in range(10)]
    b = bench(Working(names), objects=names)
    for name in names:
        b.await_state("TRACKING", name)
    begun, judged = len(b.heard["detections"]), b.fake.counts("judge", names)
    b.until(lambda: len(b.heard["detections"]) >= begun + 40, "no detections")
    published = Counter(d.id for m in b.heard["detections"][begun:begun + 40] for d in m.detections)
    # A judgement of each in every frame that is judged at all: nobody is left out, however many frames are skipped.
    assert set(published) == set(names) and min(published.values()) >= max(10, FAIR * max(published.values())), \
        f"published: {published}"
    more = [after - before for before, after in zip(judged, b.fake.counts("judge", names), strict=True)]
    assert max(more) - min(more) <= 2 and min(more) >= 10, f"judged: {more}"
    assert all(node.failure is None for node in b.nodes)


def test_who_is_looked_for_in_vain_takes_no_time_from_the_others_nor_from_his_like(bench):
    names = [f"o{k}" for k in range(10)]
    there, gone = names[:5], names[5:]
    # Always one more search to do: the back-off is what the camera's next frame takes.
    b = bench(Working(there), objects=names, **{"recovery.backoff": 0.0, "recovery.backoff_max": 0.0})
    for name in there:
        b.await_state("TRACKING", name)
    searched, begun = b.fake.counts("localize", gone), len(b.heard["detections"])

    def since():
        return [after - before for before, after in zip(searched, b.fake.counts("localize", gone), strict=True)]

    b.until(lambda: min(since()) >= 10, "an object is not looked for")
    more = since()
    # In turn; but whoever's answer comes just after a frame is asked for at the next one only.
    assert max(more) <= 2 * min(more) + 2, f"searches: {more}"
    b.until(lambda: len(b.heard["detections"]) >= begun + 30, "no detections")
    published = Counter(d.id for m in b.heard["detections"][begun:begun + 30] for d in m.detections)
    # A machine that is busy with something else publishes less, but of all alike.
    assert set(published) == set(there) and min(published.values()) >= max(10, FAIR * max(published.values())), \
        f"published: {published}"
