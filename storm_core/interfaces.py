"""The seams: what each stage promises. Nodes and the offline pipeline know only these."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.config import MonitorConfig, TrackingConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.types import (
    Frame,
    Hint,
    Judgement,
    Localization,
    NotFound,
    Registration,
    RegistrationFailure,
    Track,
    TrackFailure,
)


class Localizer(Protocol):
    """SOM: find and segment one object in one frame, given its CAD model."""

    def localize(self, frame: Frame, object_name: str, hint: Hint) -> Localization | NotFound: ...


class Registrar(Protocol):
    """A verified pose from a localization, in the same frame."""

    def register(self, frame: Frame, localization: Localization) -> Registration | RegistrationFailure: ...


class Tracker(Protocol):
    """Follows objects from frame to frame. One instance serves all objects."""

    def start(self, frame: Frame, registration: Registration) -> Registration:
        """Follow a registered object; returns the registration with the pose that is followed.

        It may be another of the poses that a declared symmetry makes equal.
        """
        ...

    def stop(self, object_name: str) -> None:
        """Follow an object no longer; where it was last seen is remembered for the next `start`."""
        ...

    def reset(self, object_name: str) -> None:
        """Forget all about an object, as if it had never been started."""
        ...

    def track(self, frame: Frame) -> dict[str, Track | TrackFailure]: ...

    def renew(self, models: dict[str, ObjectModel], config: TrackingConfig) -> None:
        """Other models or settings from now on; what is followed and still the same goes on."""
        ...

    def nudge(self, object_name: str, stamp_ns: int, correction: NDArray[np.float64]) -> bool:
        """Apply a left correction (4, 4) of the pose at an earlier stamp to the pose of today; False when too late."""
        ...


class Monitor(Protocol):
    """TOM: is this tracked pose right? `reset` forgets an object's history after a re-registration.

    Several objects of one frame may be judged at the same time, each on its own thread.
    """

    def reset(self, object_name: str) -> None: ...

    def judge(self, frame: Frame, track: Track) -> Judgement: ...

    def renew(self, models: dict[str, ObjectModel], config: MonitorConfig) -> None:
        """Other models or settings from now on; the history of objects that are still the same goes on."""
        ...


class ScoreRefiner(Protocol):
    """Turns one pose into a distribution: particles (N, 4, 4), weights (N,), refined pose with covariance."""

    def refine(self, frame: Frame, registration: Registration) -> "ParticleSet": ...


class ParticleSet(Protocol):
    """Result of a ScoreRefiner: particles (N, 4, 4), weights (N,), and the refined pose with its covariance."""

    cam_from_objs: NDArray[np.float64]
    weights: NDArray[np.float64]
    registration: Registration
