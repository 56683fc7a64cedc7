"""som_node: finds and segments objects on request (SOM)."""

import math
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D, Detection3DArray

from storm_core.config import StormConfig
from storm_core.errors import InputError, StormError
from storm_core.evidence.explained import without_objects
from storm_core.pipeline.warmup import warm_up
from storm_core.recovery.machine import Action
from storm_core.types import Frame, Hint, Localization, NotFound, Reason
from storm_ros import conversions, names, qos, records
from storm_ros.detections import Hypotheses, localization_message
from storm_ros.frames import LazyFrame
from storm_ros.node import StormNode
from storm_ros.records import Answer, Request, Stage
from storm_ros.running import run
from storm_ros.stages import Models
from storm_ros.sync import RESTART_NS
from storm_ros.threads import step_back

HINT_AGE = 10.0
"""A user's hint counts for so long [s], or until one search has used it."""

_WAIT = 0.2


@dataclass(frozen=True, eq=False)
class _Hint:
    """What a user pointed at, and when (ROS time) [s]."""

    given: float
    mask: NDArray[np.bool_] | None = None
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class _Topics:
    """What belongs to one object."""

    mask: Publisher
    hints: tuple[Subscription, ...]


class SomNode(StormNode):
    """Answers search requests, one at a time, each on the newest frame there is."""

    def __init__(self, stages: object = None, **kwargs: object) -> None:
        super().__init__("som_node", stages, **kwargs)

    def build(self) -> None:
        self._localizer = self.stages.localizer(self.config, self.models)
        warm_up(self.models, localizer=self._localizer)
        self._newest: LazyFrame | None = None
        self._arrived = threading.Condition()
        self._wanted: dict[str, Request] = {}
        self._before: dict[str, LazyFrame | None] = {}
        self._early: dict[str, Request] = {}
        self._hints: dict[str, _Hint] = {}

    def unbuild(self) -> None:
        del self._localizer

    def connect(self) -> None:
        self._answers = self.create_publisher(DiagnosticArray, names.ANSWERS, qos.kept())
        self._localizations = self.create_publisher(Detection3DArray, names.LOCALIZATIONS, qos.kept())
        self._topics: dict[str, _Topics] = {}
        self._worker = self.start_worker("search", self._search, self.config.threads)
        self._attach(self.models)
        self._inputs = [
            self.create_subscription(DiagnosticArray, names.REQUESTS, self._on_requests, qos.kept()),
            self.create_subscription(PointStamped, names.CLICKED_POINT, self._on_point, qos.results())]
        self.watch_camera(self._on_frame)

    def disconnect(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._detach(tuple(self._topics))
        for publisher in (self._answers, self._localizations):
            self.destroy_publisher(publisher)

    def _attach(self, object_names: Iterable[str]) -> None:
        for name in object_names:
            self._topics[name] = _Topics(
                mask=self.create_publisher(Image, names.mask_topic(name), qos.latched()),
                hints=(self.create_subscription(Image, names.mask_hint_topic(name), partial(self._on_mask, name),
                                                qos.results()),
                       self.create_subscription(Detection2D, names.box_hint_topic(name), partial(self._on_box, name),
                                                qos.results())))

    def _detach(self, object_names: Iterable[str]) -> None:
        for name in object_names:
            topics = self._topics.pop(name)
            self.destroy_publisher(topics.mask)
            for subscription in topics.hints:
                self.destroy_subscription(subscription)

    def reconfigure(self, config: StormConfig, paths: frozenset[str]) -> None:
        # Localizers keep nothing between searches that is worth keeping, and templates come from the cache.
        if any(path.startswith("som.") for path in paths):
            self._localizer = self.stages.localizer(config, self.models)

    def adopt(self, models: Models, config: StormConfig) -> None:
        alive, localizer = self.this_life(), self.stages.localizer(config, models)
        if not alive():
            return
        # In this order: whoever finds topics of an object has a localizer that knows it.
        self._detach([name for name in self.models if name not in models])
        self._localizer = localizer
        self._attach(name for name in models if name not in self.models)

    def be_about(self, models: Models, folder: str) -> None:
        super().be_about(models, folder)
        for name in [name for name in self._early if name in models]:
            self._want(self._early.pop(name))

    def _on_frame(self, frame: LazyFrame) -> None:
        with self._arrived:
            self._newest = frame
            self._arrived.notify_all()

    def _on_requests(self, message: DiagnosticArray) -> None:
        for request in records.read_requests(message):
            name = request.object_name
            if request.action is Action.SEARCH:
                if name in self.models:
                    self._want(request)
                else:  # the supervisor knows a new object a little earlier
                    self._early[name] = request
            elif request.action is Action.STOP_TRACKING and name in self._wanted:
                # Only a search of a finished epoch is taken back: the next one may have overtaken this message.
                if self._wanted[name].epoch < request.epoch:
                    self._wanted.pop(name)
                    self._worker.discard(name)

    def _now(self) -> float:
        """ROS time [s]."""
        return self.get_clock().now().nanoseconds * 1e-9

    def _want(self, request: Request) -> None:
        self._wanted[request.object_name], self._before[request.object_name] = request, self._newest
        self._worker.put(request, request.object_name)

    def _on_box(self, name: str, message: Detection2D) -> None:
        box, at = message.bbox, message.bbox.center.position
        if not (box.size_x > 0 and box.size_y > 0 and np.isfinite([box.size_x, box.size_y, at.x, at.y]).all()):
            self.report(InputError(f"box hint for {name} is {box.size_x:g} x {box.size_y:g} px at ({at.x:g}, {at.y:g});"
                                   " give its size and centre"))
            return
        half_x, half_y = 0.5 * box.size_x, 0.5 * box.size_y
        self._hints[name] = _Hint(self._now(), box=(at.x - half_x, at.y - half_y, at.x + half_x, at.y + half_y))

    def _on_mask(self, name: str, message: Image) -> None:
        try:
            self._hints[name] = _Hint(self._now(), mask=conversions.to_mask(conversions.raw_image(message)))
        except InputError as error:
            self.report(error)

    def _on_point(self, message: PointStamped) -> None:
        """A point in the optical frame, clicked in rviz; it counts for every object searched next."""
        info, newest = self.camera_input.info if self.camera_input else None, self._newest
        if info is None or newest is None:
            return
        if message.header.frame_id.lstrip("/") != newest.frame_id.lstrip("/"):
            self.report(InputError(f"clicked point is in frame {message.header.frame_id!r}, the image in "
                                   f"{newest.frame_id!r}; set rviz's fixed frame to the image's"))
            return
        p = message.point
        u, v = conversions.to_camera(info).project([p.x, p.y, p.z]).tolist()
        if np.isfinite([u, v]).all():
            hint = _Hint(self._now(), point=(u, v))
            self._hints.update({name: hint for name in self.models})

    def _hint(self, request: Request, frame: Frame) -> Hint:
        given = self._hints.pop(request.object_name, None)
        if given is None or self._now() - given.given > HINT_AGE:
            return Hint(cam_from_obj=request.cam_from_obj)
        if given.mask is not None and given.mask.shape != frame.depth.shape:
            raise InputError(f"mask hint for {request.object_name} is {given.mask.shape[1]}x{given.mask.shape[0]}, "
                             f"the image {frame.camera.width}x{frame.camera.height}")
        return Hint(mask=given.mask, box=given.box, point=given.point, cam_from_obj=request.cam_from_obj)

    def _await_frame(self, request: Request) -> LazyFrame | None:
        """The newest frame, once it is not older than the request; None when the request is no longer wanted.

        A frame that was there before the request and is much newer is one of the last round of a recording that has
        started again (or camera_info comes only now and then): the next frame says.
        """
        before = self._before[request.object_name]
        while self._wanted.get(request.object_name) is request and self.active:
            with self._arrived:
                newest = self._newest
                ahead = -math.inf if newest is None else newest.stamp_ns - request.stamp_ns
                if ahead >= 0 and not (newest is before and ahead > RESTART_NS):
                    return newest
                if newest is not None and ahead < -RESTART_NS:
                    return None
                self._arrived.wait(_WAIT)
        return None

    def _search(self, request: Request) -> None:
        """In the worker: one search, one answer."""
        name, localizer = request.object_name, self._localizer
        lazy = self._await_frame(request)
        if lazy is None or name not in self._topics:  # it was removed while it waited
            return
        # Said first, so that pose_node keeps this frame however long the search takes.
        self._answer(request, Stage.SEARCHING, lazy.stamp_ns, Reason.STARTED, ok=True)
        try:
            frame = lazy.frame()
            with self.diagnostics.timed("localize"):
                searched = without_objects(frame, self.models[name], request.others) if len(request.others) else frame
                found = localizer.localize(searched, name, self._hint(request, frame))
        except StormError as error:
            self._answer(request, Stage.SEARCH, lazy.stamp_ns, Reason.NO_CANDIDATE, str(error))
            raise
        self._publish(request, frame, found)

    def _publish(self, request: Request, frame: Frame, found: Localization | NotFound) -> None:
        name = request.object_name
        if isinstance(found, NotFound):
            self._answer(request, Stage.SEARCH, frame.stamp_ns, found.reason, found.detail)
            return
        self.diagnostics.event("found")
        step_back()
        at = conversions.header(frame.stamp_ns, frame.frame_id)
        if name not in self._topics:
            return
        self._topics[name].mask.publish(conversions.mask_image(found.mask, at))
        hypotheses = Hypotheses(object_name=name, epoch=request.epoch, stamp_ns=frame.stamp_ns,
                                cam_from_objs=found.cam_from_objs, probability=found.probability)
        self._localizations.publish(localization_message(hypotheses, frame.frame_id))

    def _answer(self, request: Request, stage: Stage, stamp_ns: int, reason: Reason, detail: str = "", *,
                ok: bool = False) -> None:
        self._answers.publish(records.answer_message(Answer(
            object_name=request.object_name, stage=stage, epoch=request.epoch, stamp_ns=stamp_ns, ok=ok, reason=reason,
            detail=detail)))


def main(args: Sequence[str] | None = None) -> int:
    return run([SomNode], args)


if __name__ == "__main__":
    sys.exit(main())
