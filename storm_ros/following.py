"""pose_node's two minds: one follows objects at frame rate, one registers new ones and catches up. No ROS here."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from storm_core.config import TrackingConfig
from storm_core.interfaces import Registrar, Tracker
from storm_core.types import (
    Evidence,
    Frame,
    Localization,
    Reason,
    Registration,
    RegistrationFailure,
    Track,
    TrackFailure,
)
from storm_ros.detections import EpochTrack, Hypotheses
from storm_ros.frames import FrameBuffer
from storm_ros.stages import Models

CATCH_UP_FRAMES = 10
"""Frames in which a new track gets from the searched frame to the present: the more frames lie between, the longer the
steps."""

NEAREST_NS = 100_000_000
"""A localization's own frame may have been lost on the way to this node; the pose then starts from one this close."""


@dataclass(frozen=True, eq=False)
class Followed:
    """One frame's results."""

    tracks: list[EpochTrack]
    failures: list[tuple[TrackFailure, int]]


class Follower:
    """The tracker and the epochs of what it follows. `step` in one thread; commands from any."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._epochs: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._commands: deque[tuple[int, Callable[[], None]]] = deque()

    def start(self, frame: Frame, registration: Registration, epoch: int) -> None:
        """Follow an object from the first frame after this one on, unless a newer epoch has begun by then."""
        self._commands.append((frame.stamp_ns, lambda: self._start(frame, registration, epoch)))

    def expect(self, object_name: str, epoch: int) -> None:
        """A newer epoch has begun: whatever is older ends."""
        self._commands.append((-1, lambda: self._expect(object_name, epoch)))

    def correct(self, object_name: str, epoch: int, stamp_ns: int, correction: NDArray[np.float64]) -> None:
        """Apply a left correction of the pose at `stamp_ns` if the object is still in this epoch."""
        self._commands.append((-1, lambda: self._correct(object_name, epoch, stamp_ns, correction)))

    def renew(self, models: Models, config: TrackingConfig) -> None:
        """Other objects or settings; what is followed and still the same goes on."""
        self._commands.append((-1, lambda: self._renew(models, config)))

    def step(self, frame: Frame) -> Followed:
        """Track every object into a newer frame."""
        # Catching up may already have used this very frame or a newer one: such a start waits for its turn.
        for _ in range(len(self._commands)):
            after_ns, command = self._commands.popleft()
            if after_ns < frame.stamp_ns:
                command()
            else:
                self._commands.append((after_ns, command))
        tracks, failures = [], []
        for name, result in self._tracker.track(frame).items():
            epoch = self._epochs[name]
            if isinstance(result, Track):
                tracks.append(EpochTrack(track=result, epoch=epoch))
            else:
                failures.append((result, epoch))
                self._stop(name)
        return Followed(tracks, failures)

    def _start(self, frame: Frame, registration: Registration, epoch: int) -> None:
        name = registration.object_name
        if epoch < self._newest.get(name, epoch):
            return
        self._newest[name] = self._epochs[name] = epoch
        self._tracker.start(frame, registration)

    def _expect(self, name: str, epoch: int) -> None:
        self._newest[name] = max(epoch, self._newest.get(name, epoch))
        if self._epochs.get(name, epoch) < epoch:
            self._stop(name)

    def _stop(self, name: str) -> None:
        self._epochs.pop(name, None)
        self._tracker.stop(name)

    def _renew(self, models: Models, config: TrackingConfig) -> None:
        self._tracker.renew(models, config)
        self._epochs = {name: epoch for name, epoch in self._epochs.items() if name in models}

    def _correct(self, name: str, epoch: int, stamp_ns: int, correction: NDArray[np.float64]) -> None:
        if self._epochs.get(name) == epoch:
            self._tracker.nudge(name, stamp_ns, correction)


@dataclass(frozen=True, eq=False, kw_only=True)
class RegisterJob:
    """A localization that is to be registered."""

    epoch: int
    localization: Localization


class RegistrationDesk:
    """Brings together the request, the hypotheses and the mask of one registration, which arrive in any order."""

    def __init__(self) -> None:
        self._requests: dict[str, tuple[int, int]] = {}
        self._hypotheses: dict[str, Hypotheses] = {}
        self._masks: dict[str, tuple[int, NDArray[np.bool_]]] = {}
        self._lock = threading.Lock()

    def request(self, object_name: str, epoch: int, stamp_ns: int) -> RegisterJob | None:
        """The supervisor wants the localization of this stamp registered."""
        with self._lock:
            self._requests[object_name] = (epoch, stamp_ns)
            return self._complete(object_name)

    def hypotheses(self, found: Hypotheses) -> RegisterJob | None:
        with self._lock:
            self._hypotheses[found.object_name] = found
            return self._complete(found.object_name)

    def mask(self, object_name: str, stamp_ns: int, mask: NDArray[np.bool_]) -> RegisterJob | None:
        with self._lock:
            self._masks[object_name] = (stamp_ns, mask)
            return self._complete(object_name)

    def _complete(self, name: str) -> RegisterJob | None:
        request, found, mask = self._requests.get(name), self._hypotheses.get(name), self._masks.get(name)
        if request is None or found is None or mask is None:
            return None
        if not request == (found.epoch, found.stamp_ns) or mask[0] != found.stamp_ns:
            return None
        del self._requests[name], self._hypotheses[name], self._masks[name]
        localization = Localization(object_name=name, stamp_ns=found.stamp_ns, mask=mask[1],
                                    cam_from_objs=found.cam_from_objs, probability=found.probability)
        return RegisterJob(epoch=found.epoch, localization=localization)


class Registering:
    """Registration on the frame of the localization, then tracking through the frames that came since.

    It has a tracker of its own: the other objects' tracker must not go back in time.
    """

    def __init__(self, registrar: Registrar, tracker: Tracker, buffer: FrameBuffer, models: Models) -> None:
        """models: of registrar and tracker."""
        self._registrar, self._tracker, self._buffer, self._models = registrar, tracker, buffer, models

    def run(self, localization: Localization) -> tuple[Frame, Registration] | RegistrationFailure:
        """The newest frame reached and the pose in it, or why there is none."""
        name = localization.object_name
        if name not in self._models:  # removed while its localization was waiting
            return RegistrationFailure(object_name=name, stamp_ns=localization.stamp_ns, reason=Reason.STAGE_TIMEOUT,
                                       detail="it is none of the objects any more")
        lazy = self._buffer.nearest(localization.stamp_ns, NEAREST_NS)
        if lazy is None:
            return RegistrationFailure(object_name=name, stamp_ns=localization.stamp_ns, reason=Reason.STAGE_TIMEOUT,
                                       detail="the frame of the localization is no longer there")
        frame = lazy.frame()
        result = self._registrar.register(frame, replace(localization, stamp_ns=lazy.stamp_ns))
        return result if isinstance(result, RegistrationFailure) else self._catch_up(frame, result)

    def _catch_up(self, frame: Frame, registration: Registration) -> tuple[Frame, Registration] | RegistrationFailure:
        name = registration.object_name
        self._tracker.start(frame, registration)
        try:
            # Frames keep coming meanwhile; the bound is for a tracker slower than the camera.
            for _ in range(4 * CATCH_UP_FRAMES):
                newer = self._buffer.after(frame.stamp_ns)
                if not newer:
                    break
                frame = newer[max(0, -(-len(newer) // CATCH_UP_FRAMES) - 1)].frame()
                result = self._tracker.track(frame)[name]
                if isinstance(result, TrackFailure):
                    return RegistrationFailure(object_name=name, stamp_ns=frame.stamp_ns, reason=result.reason,
                                               detail=f"lost before the present was reached: {result.detail}")
                registration = Registration(
                    object_name=name, stamp_ns=frame.stamp_ns, cam_from_obj=result.cam_from_obj,
                    covariance=result.covariance, probability=registration.probability, evidence=Evidence())
            return frame, registration
        finally:
            self._tracker.stop(name)
