"""Joining two streams about the same frames by stamp."""

from collections import OrderedDict
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class StampJoin(Generic[A, B]):
    """Gives out pairs whose halves arrived in either order; halves that never find their partner are forgotten."""

    def __init__(self, kept: int = 30) -> None:
        self._kept = kept
        self._first: OrderedDict[int, A] = OrderedDict()
        self._second: OrderedDict[int, B] = OrderedDict()

    def first(self, stamp_ns: int, value: A) -> tuple[A, B] | None:
        if stamp_ns in self._second:
            return value, self._second.pop(stamp_ns)
        self._keep(self._first, stamp_ns, value)
        return None

    def second(self, stamp_ns: int, value: B) -> tuple[A, B] | None:
        if stamp_ns in self._first:
            return self._first.pop(stamp_ns), value
        self._keep(self._second, stamp_ns, value)
        return None

    def _keep(self, waiting: "OrderedDict[int, A] | OrderedDict[int, B]", stamp_ns: int, value: A | B) -> None:
        waiting[stamp_ns] = value  # type: ignore[assignment]
        while len(waiting) > self._kept:
            waiting.popitem(last=False)
