"""Stages that know the answer, for tests of what the nodes do with it. The scene is a small textured box that drifts.

The frame itself says what it shows: the brightness of its colour image is 200 when the object is there, 20 when not,
and 120 when it is there but hardly to be seen: its pose is followed, and nobody can tell whether it is right.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from storm_core.errors import MeshError
from storm_core.evidence.explained import AT_THE_LENS
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.instances import mesh_name
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.types import (
    Evidence,
    Frame,
    Judgement,
    Localization,
    NotFound,
    Reason,
    Registration,
    Track,
    TrackFailure,
    Verdict,
)
from storm_ros.stages import Stages
from test.synthetic import textured_box

CAMERA = PinholeCamera(32, 24, 30.0, 30.0, 15.5, 11.5)
COVARIANCE = np.diag([1e-6] * 3 + [1e-5] * 3)
VISIBLE, DOUBTFUL, HIDDEN = 200, 120, 20
BASE_NS = 1_000_000_000
"""Drift is measured within seconds of this grid, so that poses stay small whatever the clock says."""


def pose_at(stamp_ns: int) -> np.ndarray:
    """Where the object is at a stamp."""
    t = stamp_ns % (100 * BASE_NS) * 1e-9
    return from_rotation_translation(so3_exp([0.0, 0.0, 0.1 * t]), [0.001 * t, 0.0, 0.5])


def at_place(stamp_ns: int, x: float) -> np.ndarray:
    """The same for an object that lies x [m] to the right."""
    pose = pose_at(stamp_ns)
    pose[0, 3] += x
    return pose


def frame_at(stamp_ns: int, visible: bool = True, doubtful: bool = False, camera: PinholeCamera = CAMERA) -> Frame:
    size = camera.height, camera.width
    rgb = np.full((*size, 3), (DOUBTFUL if doubtful else VISIBLE) if visible else HIDDEN, np.uint8)
    depth = np.full(size, 0.5, np.float32)
    return Frame(rgb=rgb, depth=depth, camera=camera, stamp_ns=stamp_ns, frame_id="optical")


def is_staged(frame: Frame) -> bool:
    """No camera took it: it is one of those that stages are warmed up with."""
    return frame.stamp_ns < BASE_NS


def brightness(frame: Frame) -> int:
    return int(frame.rgb[0, 0, 0])


def shows(frame: Frame) -> bool:
    return brightness(frame) in (VISIBLE, DOUBTFUL)


def _set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass(eq=False)
class FakeStages:
    """All stages in one, with a record of what they were asked.

    Set `hold` to make searches wait for `release`; registrations wait while `may_register` is cleared. `asked` is
    called first by every stage with its name, the object's and the frame. `at`: x [m] of objects that lie elsewhere.
    """

    names: tuple[str, ...] = ("cup",)
    searched: list[tuple[str, int, object]] = field(default_factory=list)
    registered: list[tuple[str, int]] = field(default_factory=list)
    nudged: list[tuple[str, int]] = field(default_factory=list)
    reset_names: list[str] = field(default_factory=list)
    hold: bool = False
    release: threading.Event = field(default_factory=threading.Event)
    broken: bool = False
    missing: tuple[Reason, ...] = ()
    unknown: tuple[str, ...] = ("plate",)
    version: int = 0
    renewed: list[tuple[str, ...]] = field(default_factory=list)
    healthy: float | None = None
    places: tuple[float, ...] = (0.0,)
    may_register: threading.Event = field(default_factory=_set_event)
    at: dict[str, float] = field(default_factory=dict)
    asked: Callable[[str, str, Frame], object] = lambda stage, name, frame: None

    def places_of(self, name: str) -> tuple[float, ...]:
        return (self.at[name],) if name in self.at else self.places

    def stages(self) -> Stages:
        return Stages(models=lambda config: {n: self._model(n) for n in config.objects or self.names},
                      listed=self._listed,
                      localizer=lambda config, models: self, registrar=lambda config, models: self,
                      tracker=lambda config, models: FakeTracker(self), monitor=lambda config, models: self,
                      score_refiner=lambda config, models: self)

    def _listed(self, config) -> tuple[str, ...]:
        for name in config.objects:
            if name in self.unknown:
                raise MeshError(f"no object {name!r}")
        return config.objects or self.names

    def _model(self, name: str) -> ObjectModel:
        return replace(textured_box(name), sha256=f"{mesh_name(name)} {self.version}")

    def renew(self, models, config):
        self.renewed.append(tuple(models))
        self.healthy = getattr(config, "healthy", None)

    def localize(self, frame, object_name, hint):
        self.asked("localize", object_name, frame)
        if frame.stamp_ns == 0:
            return NotFound(object_name=object_name, stamp_ns=0, reason=Reason.NO_CANDIDATE)
        self.searched.append((object_name, frame.stamp_ns, hint))
        if self.broken:
            raise ZeroDivisionError("broken localizer")
        if self.hold:
            assert self.release.wait(20)
        if not shows(frame):
            return NotFound(object_name=object_name, stamp_ns=frame.stamp_ns, reason=Reason.NO_CANDIDATE, detail="dark")
        poses = [at_place(frame.stamp_ns, x) for x in self.places_of(object_name)]
        free = [pose for pose in poses if _there(frame, pose)]
        if not free:
            return NotFound(object_name=object_name, stamp_ns=frame.stamp_ns, reason=Reason.NO_CANDIDATE, detail="gone")
        return Localization(object_name=object_name, stamp_ns=frame.stamp_ns, mask=np.ones(frame.depth.shape, bool),
                            cam_from_objs=free[0][None], probability=0.9)

    def register(self, frame, localization):
        self.asked("register", localization.object_name, frame)
        self.registered.append((localization.object_name, frame.stamp_ns))
        assert self.may_register.wait(20)
        pose = localization.cam_from_objs[0] if len(localization.cam_from_objs) else pose_at(frame.stamp_ns)
        return Registration(object_name=localization.object_name, stamp_ns=frame.stamp_ns, cam_from_obj=pose,
                            covariance=COVARIANCE, probability=0.9, evidence=Evidence())

    def reset(self, object_name):
        self.reset_names.append(object_name)

    def judge(self, frame, track):
        self.asked("judge", track.object_name, frame)
        right = shows(frame) and any(np.allclose(track.cam_from_obj, at_place(frame.stamp_ns, x), atol=1e-6)
                                     for x in self.places_of(track.object_name))
        if right and brightness(frame) == DOUBTFUL:
            return Judgement(object_name=track.object_name, stamp_ns=track.stamp_ns, verdict=Verdict.OCCLUDED,
                             probability=0.3, reason=Reason.OCCLUDED, evidence=Evidence(inlier=0.1))
        return Judgement(object_name=track.object_name, stamp_ns=track.stamp_ns,
                         verdict=Verdict.HEALTHY if right else Verdict.LOST, probability=0.95 if right else 0.02,
                         reason=Reason.CONFIRMED if right else Reason.DEPTH_DISAGREES, evidence=Evidence(inlier=0.5))

    def refine(self, frame, registration):
        self.asked("refine", registration.object_name, frame)
        return FakeParticles(cam_from_objs=np.repeat(registration.cam_from_obj[None], 4, 0), weights=np.full(4, 0.25),
                             registration=registration)


def _there(frame: Frame, pose: np.ndarray) -> bool:
    """Nobody has taken it out of the frame."""
    u, v = frame.camera.project(pose[:3, 3])
    return frame.depth[round(v), round(u)] > 2 * AT_THE_LENS


@dataclass(frozen=True, eq=False)
class FakeParticles:
    cam_from_objs: np.ndarray
    weights: np.ndarray
    registration: Registration


class FakeTracker:
    """Knows every pose; fails where the object does not show. Refuses to go back in time."""

    def __init__(self, owner: FakeStages) -> None:
        self._owner = owner
        self._stamps: dict[str, int] = {}
        self._places: dict[str, float] = {}

    def start(self, frame, registration):
        x = registration.cam_from_obj[0, 3] - pose_at(frame.stamp_ns)[0, 3]
        self._places[registration.object_name] = min(self._owner.places_of(registration.object_name),
                                                     key=lambda place: abs(place - x))
        assert frame.stamp_ns == registration.stamp_ns, "a registration belongs to the frame it is started with"
        self._stamps[registration.object_name] = frame.stamp_ns

    def stop(self, object_name):
        self._stamps.pop(object_name, None)

    def reset(self, object_name):
        self.stop(object_name)

    def renew(self, models, config):
        self._stamps = {name: stamp for name, stamp in self._stamps.items() if name in models}

    def nudge(self, object_name, stamp_ns, correction):
        self._owner.nudged.append((object_name, stamp_ns))
        return object_name in self._stamps

    def track(self, frame):
        out = {}
        for name, before in list(self._stamps.items()):
            assert frame.stamp_ns > before, f"{name} was tracked from {before} back to {frame.stamp_ns}"
            self._stamps[name] = frame.stamp_ns
            self._owner.asked("track", name, frame)
            if shows(frame):
                pose = at_place(frame.stamp_ns, self._places[name])
                out[name] = Track(object_name=name, stamp_ns=frame.stamp_ns, cam_from_obj=pose,
                                  covariance=COVARIANCE, innovation=0.01, missing=self._owner.missing)
            else:
                self.stop(name)
                out[name] = TrackFailure(object_name=name, stamp_ns=frame.stamp_ns, reason=Reason.OUT_OF_VIEW)
        return out
