"""The monitors of the comparison: STORM's own word, and rules that other systems use, over the same poses and frames.

Baselines are functions of what one play recorded, so that all are asked about exactly the same poses. Their thresholds
are those of their origin or the obvious ones; nothing is tuned here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.config import RecoveryConfig
from storm_core.recovery.machine import (
    Action,
    FrameArrived,
    Judged,
    ObjectState,
    RegisterDone,
    SearchDone,
    State,
    step,
)
from storm_core.types import Reason, Verdict

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

SINGLE_ACCEPT = 0.9
"""Probability below which the published STORM system gives a pose up, after one frame."""
GATE_INLIERS = 0.5
"""Share of the silhouette that must agree in depth: half of it, as community wrappers do."""
GATE_INNOVATION = 0.1
"""Unforeseen pose change [diameters] that by itself makes a right pose wrong."""
TIMER_S = 20.0
"""Period of re-registration: the default of Isaac ROS' pose selector [s]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Word:
    """What one monitor says over one play; arrays (N,).

    Attributes:
      score: larger = more likely right; nan = no statement. stated: `score` is a probability.
      trusted: the pose may be used. lost: the pose is said to be wrong (other reasons to withdraw trust are no alarm).
      reregistered: the pose is given up and searched anew. published: a pose was given out, trusted or coasting.
    """

    score: Array
    stated: bool
    trusted: Bools
    lost: Bools
    reregistered: Bools
    published: Bools


def storm(play: Mapping[str, Any]) -> Word:
    """The configured monitor, and the recovery machine driven by its verdicts."""
    verdicts = [Verdict(v) for v in play["verdict"]]
    trusted = np.array([v in (Verdict.HEALTHY, Verdict.DEGRADED) for v in verdicts])
    reregistered, published = drive(verdicts, [Reason(r) for r in play["reason"]], play["stamps_ns"])
    return Word(score=numbers(play["probability"]), stated=True, trusted=trusted,
                lost=np.array([v is Verdict.LOST for v in verdicts]), reregistered=reregistered, published=published)


def single_frame(play: Mapping[str, Any]) -> Word:
    """The decision rule of the published system on STORM's evidence: one frame below 0.9 ends the track."""
    p = numbers(play["single"])
    return _gate(p, ~(p >= SINGLE_ACCEPT), stated=True)


def depth_gate(play: Mapping[str, Any]) -> Word:
    """Depth must agree on half of the silhouette; a silhouette without any counts as disagreeing."""
    share = np.nan_to_num(numbers(play["inlier"]))
    return _gate(share, share < GATE_INLIERS)


def innovation(play: Mapping[str, Any]) -> Word:
    """A jump against the motion model is a failure; nothing else is."""
    jump = numbers(play["innovation"])
    return _gate(-jump, ~(jump <= GATE_INNOVATION))


def timer(play: Mapping[str, Any]) -> Word:
    """Re-registers every so many seconds whatever happens; the phase of each play is fixed by what it is about."""
    stamps = np.asarray(play["stamps_ns"], np.int64)
    phase = np.random.default_rng([int(play["scene"]), int(play["object"]), sum(play["cause"].encode())]).random()
    ticks = np.floor((stamps - stamps[0]) * 1e-9 / TIMER_S + phase)
    return _gate(np.zeros(len(stamps)), np.r_[False, np.diff(ticks) > 0])


MONITORS: Mapping[str, Callable[[Mapping[str, Any]], Word]] = {
    "storm": storm, "single_frame": single_frame, "depth_gate": depth_gate, "innovation": innovation, "timer": timer}
"""The first one is under test, the others are baselines."""


def numbers(values: Any) -> Array:
    """JSON's null is nan."""
    return np.array([np.nan if v is None else v for v in values], float)


def drive(verdicts: list[Verdict], reasons: list[Reason], stamps_ns: list[int],
          config: RecoveryConfig | None = None) -> tuple[Bools, Bools]:
    """The real state machine over recorded verdicts, from TRACKING on; searches and registrations succeed at once.

    Returns:
      (N,) a pose that was still given out is given up in this frame (further attempts for the same loss do not count:
      that a search succeeds at once is an idealisation), (N,) a trusted or coasting pose was published.
    """
    config = config or RecoveryConfig()
    state = ObjectState(state=State.TRACKING, since_ns=stamps_ns[0], stamp_ns=stamps_ns[0])
    asked, published = np.zeros(len(verdicts), bool), np.zeros(len(verdicts), bool)
    for k, (verdict, reason, stamp) in enumerate(zip(verdicts, reasons, stamps_ns, strict=True)):
        held = state.trusted or state.coasting
        state, actions = step(state, FrameArrived(stamp_ns=stamp), config)
        asked[k] |= held and Action.STOP_TRACKING in actions
        while Action.SEARCH in actions or Action.REGISTER in actions:
            event = SearchDone(stamp_ns=stamp, epoch=state.epoch, found=True, reason=Reason.FOUND) \
                if Action.SEARCH in actions else \
                RegisterDone(stamp_ns=stamp, epoch=state.epoch, registered=True, reason=Reason.REGISTERED)
            state, actions = step(state, event, config)
        state, actions = step(state, Judged(stamp_ns=stamp, epoch=state.epoch, verdict=verdict, reason=reason), config)
        asked[k] |= held and Action.STOP_TRACKING in actions
        published[k] = state.trusted or state.coasting
    return asked, published


def _gate(score: Array, lost: Bools, *, stated: bool = False) -> Word:
    """A rule without memory: what it calls lost is registered anew at once."""
    return Word(score=score, stated=stated, trusted=~lost, lost=lost, reregistered=lost & ~np.r_[False, lost[:-1]],
                published=np.ones(len(lost), bool))
