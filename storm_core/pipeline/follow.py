"""The tracker on its own: started once, followed to the end, watched by the monitor, never recovered."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from storm_core.interfaces import Localizer, Monitor, Registrar, Tracker
from storm_core.recovery.machine import State
from storm_core.types import (
    Evidence,
    Frame,
    Hint,
    Judgement,
    NotFound,
    ObjectOutput,
    Reason,
    Registration,
    RegistrationFailure,
    StepOutput,
    Track,
    TrackFailure,
    Transition,
    Verdict,
)

Refusal = NotFound | RegistrationFailure
Start = Callable[[Frame, str], tuple[Registration | Refusal, dict[str, float]]]
"""(frame, object name) -> the pose to start from or why there is none yet, and the time it took by stage [ms]."""

GIVEN_SIGMA_M, GIVEN_SIGMA_RAD = 0.002, 0.01
"""Standard deviations that a pose given from outside is believed with."""


def known_start(object_name: str, stamp_ns: int, cam_from_obj: NDArray[np.float64]) -> Registration:
    """A pose given from outside, as if it had been registered."""
    sigma = np.array([GIVEN_SIGMA_M] * 3 + [GIVEN_SIGMA_RAD] * 3)
    return Registration(object_name=object_name, stamp_ns=stamp_ns, cam_from_obj=cam_from_obj,
                        covariance=np.diag(sigma**2), probability=1.0, evidence=Evidence())


def from_poses(poses: Mapping[str, tuple[int, NDArray[np.float64]]]) -> Start:
    """Starts at given poses: object name -> (stamp of the frame [ns], cam_from_obj)."""
    def start(frame: Frame, name: str) -> tuple[Registration | Refusal, dict[str, float]]:
        if name in poses and poses[name][0] == frame.stamp_ns:
            return known_start(name, frame.stamp_ns, poses[name][1]), {}
        return NotFound(object_name=name, stamp_ns=frame.stamp_ns, reason=Reason.STARTED), {}

    return start


def from_search(localizer: Localizer, registrar: Registrar) -> Start:
    """Starts with the first registration that succeeds."""
    def start(frame: Frame, name: str) -> tuple[Registration | Refusal, dict[str, float]]:
        begin = time.perf_counter()
        found = localizer.localize(frame, name, Hint())
        times = {"localize": (time.perf_counter() - begin) * 1e3}
        if isinstance(found, NotFound):
            return found, times
        begin = time.perf_counter()
        result = registrar.register(frame, found)
        return result, times | {"register": (time.perf_counter() - begin) * 1e3}

    return start


class Follower:
    """step(frame) -> StepOutput, frames in order of their stamps.

    Every pose of the tracker is published as trusted, whatever the monitor says; the state is SEARCHING until the
    start, TRACKING while the monitor agrees, SUSPECT while it does not, and LOST once the tracker has given up.
    """

    def __init__(self, names: Sequence[str], start: Start, tracker: Tracker, monitor: Monitor) -> None:
        self._states: dict[str, State] = dict.fromkeys(names, State.SEARCHING)
        self._start, self._tracker, self._monitor = start, tracker, monitor
        self._why: dict[str, Reason] = dict.fromkeys(names, Reason.STARTED)
        self.detail: dict[str, str] = {}
        """Why the tracker gave an object up, in words."""

    def step(self, frame: Frame) -> StepOutput:
        """Advance all objects by one frame."""
        begin = time.perf_counter()
        before = dict(self._states)
        tracked: dict[str, Track | TrackFailure] = {}
        ms: dict[str, float] = {}
        if set(before.values()) & {State.TRACKING, State.SUSPECT}:
            tracked = self._tracker.track(frame)
            ms["track"] = (time.perf_counter() - begin) * 1e3
        for name in [n for n, state in before.items() if state is State.SEARCHING]:
            result, times = self._start(frame, name)
            for stage, value in times.items():
                ms[stage] = ms.get(stage, 0.0) + value
            if isinstance(result, Registration):
                self._tracker.start(frame, result)
                self._monitor.reset(name)
                tracked[name] = Track(object_name=name, stamp_ns=frame.stamp_ns, cam_from_obj=result.cam_from_obj,
                                      covariance=result.covariance, innovation=0.0)
            else:
                self._why[name] = result.reason
        judging = time.perf_counter()
        items = tuple(self._output(name, frame, tracked.get(name)) for name in self._states)
        if any(isinstance(t, Track) for t in tracked.values()):
            ms["monitor"] = (time.perf_counter() - judging) * 1e3
        ms["total"] = (time.perf_counter() - begin) * 1e3
        return StepOutput(stamp_ns=frame.stamp_ns, objects=items, stage_ms=ms, transitions=tuple(
            Transition(object_name=name, stamp_ns=frame.stamp_ns, before=before[name].value, after=state.value,
                       reason=self._why[name])
            for name, state in self._states.items() if state is not before[name]))

    def _output(self, name: str, frame: Frame, result: Track | TrackFailure | None) -> ObjectOutput:
        judgement = None
        if isinstance(result, TrackFailure):
            self._states[name], self._why[name] = State.LOST, result.reason
            self.detail[name] = result.detail
        elif result is not None:
            judgement = self._monitor.judge(frame, result)
            agrees = judgement.verdict in (Verdict.HEALTHY, Verdict.DEGRADED)
            self._states[name] = State.TRACKING if agrees else State.SUSPECT
            self._why[name] = judgement.reason
        return _published(name, frame, self._states[name], self._why[name],
                          result if isinstance(result, Track) else None, judgement)


def _published(name: str, frame: Frame, state: State, reason: Reason, track: Track | None,
               judgement: Judgement | None) -> ObjectOutput:
    return ObjectOutput(
        object_name=name, stamp_ns=frame.stamp_ns, state=state.value, reason=reason,
        cam_from_obj=None if track is None else track.cam_from_obj,
        covariance=None if track is None else track.covariance,
        probability=0.0 if judgement is None else judgement.probability, trusted=track is not None,
        coasting=track is not None and track.coasting,
        evidence=Evidence() if judgement is None else judgement.evidence)
