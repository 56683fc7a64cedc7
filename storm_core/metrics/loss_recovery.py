"""What a tracker made of scripted losses: recovered, missed, on the wrong thing; and whether its history is whole."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.metrics.scores import quantiles

WRONG = 0.2
"""A trusted pose further off than this is wrong [diameters, MSSD]; also where the object is not to be seen at all."""

OTHER = 0.5
"""A trusted pose further off than this is on something else [diameters, MSSD]."""

GRACE = 1
"""Frames after the object vanished for which the last pose may still explain the picture."""


class Loss(Protocol):
    """kind of event, its first frame, the frame from which on the object can be followed, and the first after it."""

    kind: str
    start: int
    due: int
    end: int


def loss_figures(losses: Sequence[Loss], error: NDArray[np.float64], visible: NDArray[np.bool_], rate_hz: float,
                 limit_s: float = 1.0) -> dict[str, Any]:
    """Keys `events`, `recovered` (within limit_s), `late`, `missed`, `wrong_object`, `time_s_p50`, `_p95`, `by_kind`.

    Args:
      error: (F,) MSSD of the trusted pose [diameters], nan where none was published.
      visible: (F,) whether the object could be seen.

    A frame in which the object could not be seen and a pose was trusted counts as `wrong_object`, and so does an event
    after which the first trusted pose lies on something else; `trusted_while_hidden` and `wrong` count frames.
    """
    trusted = np.isfinite(error)
    times: dict[str, list[float]] = {}
    missed = late = wrong_object = 0
    for loss in losses:
        first = next((k for k in range(loss.due, loss.end) if trusted[k] and error[k] <= WRONG), None)
        other = any(trusted[k] and error[k] > OTHER for k in range(loss.due, loss.end if first is None else first))
        hidden = any(trusted[k] and not visible[k] for k in range(loss.start + GRACE, loss.due))
        wrong_object += other or hidden
        if first is None:
            missed += 1
            times.setdefault(loss.kind, []).append(float("inf"))
            continue
        times.setdefault(loss.kind, []).append((first - loss.due) / rate_hz)
        late += times[loss.kind][-1] > limit_s
    everything = [t for values in times.values() for t in values]
    return {"events": len(losses), "recovered": len(losses) - missed - late, "late": late, "missed": missed,
            "wrong_object": wrong_object, "wrong": int((trusted & visible & ~(error <= WRONG)).sum()),
            "trusted_while_hidden": int((trusted & ~visible).sum()),
            **quantiles(everything, time_s_p50=0.5, time_s_p95=0.95),
            "by_kind": {kind: {"events": len(values), "recovered": sum(t <= limit_s for t in values),
                               **quantiles(values, time_s_p50=0.5, time_s_p95=0.95)}
                        for kind, values in sorted(times.items())}}


def history_problems(entries: Sequence[Mapping[str, str]]) -> list[str]:
    """What is wrong with one object's status history; empty when it is complete and in order.

    Args:
      entries: the status values in the order of their arrival.
    """
    out = []
    for k in range(1, len(entries)):
        before, now = entries[k - 1], entries[k]
        if int(now["since_ns"]) < int(before["since_ns"]):
            out.append(f"status {k}: {now['state']} began before {before['state']}")
        if int(now["epoch"]) < int(before["epoch"]):
            out.append(f"status {k}: epoch {now['epoch']} after {before['epoch']}")
        if now["state"] != before["state"] and now["previous_state"] != before["state"]:
            out.append(f"status {k}: {now['state']} says that {now['previous_state']} came before it, "
                       f"{before['state']} did")
    return out
