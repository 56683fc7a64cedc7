"""supervisor_node: decides for every object what happens next, and publishes only what may be believed."""

import math
import sys
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Transform, TransformStamped
from rclpy.clock import Clock, ClockType
from rclpy.publisher import Publisher
from rclpy.service import Service
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from storm_core.config import StormConfig
from storm_core.errors import ConfigError, StormError
from storm_core.types import ObjectOutput, Reason
from storm_ros import names, qos, records
from storm_ros.between import JUDGEMENTS, TRACKS, OfFrame
from storm_ros.camera_motion import CameraMotion
from storm_ros.conversions import header, stamp_ns, to_pose, vector, with_covariance
from storm_ros.detections import EpochTrack, detections_message, read_localizations
from storm_ros.join import StampJoin
from storm_ros.node import StormNode
from storm_ros.records import Stage
from storm_ros.roster import change, digests_of, roster_message, roster_of
from storm_ros.running import run
from storm_ros.supervising import Supervisor

STATUS_PERIOD = 0.5
"""Longest time between two status messages [s]."""

IN_TIME = (-math.inf, 0.0)
"""When a pose was too old to be published last [s, steady clock], and its age [s]: never."""

COASTING_SCORE = 0.5
"""A coasting pose never scores higher: nothing in the image confirms it."""

@dataclass(frozen=True, eq=False)
class _Offered:
    """What one object is published and commanded by."""

    pose: Publisher
    services: tuple[Service, ...]


Joined = tuple[Sequence[EpochTrack], Sequence[records.Judged]]


class SupervisorNode(StormNode):
    """One recovery machine per object between the stages and the outside world."""

    def __init__(self, stages: object = None, **kwargs: object) -> None:
        super().__init__("supervisor_node", stages, **kwargs)

    def build(self) -> None:
        self._primary = _primary(self.config, self.models)

    def connect(self) -> None:
        self._motion = CameraMotion(self, self.config.input.fixed_frame)
        self._supervisor = Supervisor(tuple(self.models), self.config, _fresh_epoch(), self.models,
                                      lambda at: self._motion.pose(self._frame_id, at))
        self._lock = threading.Lock()
        self._join: StampJoin[Sequence[EpochTrack], Sequence[records.Judged]] = StampJoin()
        self._frame_id, self._last_frame, self._last_frame_ros = "", time.monotonic(), self.get_clock().now()
        self._too_old, self._info_at, self._info_stamp = IN_TIME, time.monotonic(), 0
        self._begun, self._followed = time.monotonic(), False
        self._requests = self.create_publisher(DiagnosticArray, names.REQUESTS, qos.kept())
        self._status = self.create_publisher(DiagnosticArray, names.STATUS, qos.history())
        self._pose = self.create_publisher(PoseStamped, names.OBJECT_POSE, qos.results())
        self._detections = self.create_publisher(Detection3DArray, names.DETECTIONS, qos.results())
        self._tf = self.create_publisher(TFMessage, names.TF, qos.results())
        self._roster_out = self.create_publisher(DiagnosticArray, names.ROSTER, qos.latched())
        self._objects: dict[str, _Offered] = {}
        self._attach(self.models)
        self._roster_out.publish(roster_message(roster_of(self.config.models, self.models)))
        self._inputs = [
            self.create_subscription(CameraInfo, names.CAMERA_INFO, self._on_info, qos.sensor_data(),
                                     qos_overriding_options=qos.overridable()),
            self.create_subscription(DiagnosticArray, names.ANSWERS, self._on_answers, qos.kept()),
            self.create_subscription(Detection3DArray, names.LOCALIZATIONS, self._on_localizations, qos.kept())]
        self._ears = [self.ways.ear(self, TRACKS, self._on_tracks),
                      self.ways.ear(self, JUDGEMENTS, self._on_judgements)]
        self._reload = self.create_service(Trigger, names.RELOAD, self._on_reload)
        # Not ROS time: the status must go on when /clock stands still.
        self._timer = self.create_timer(STATUS_PERIOD / 2, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._status_at = 0.0
        self._publish_status()

    def disconnect(self) -> None:
        self.destroy_timer(self._timer)
        self.destroy_service(self._reload)
        self._motion.destroy()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for ear in self._ears:
            ear.destroy()
        self._detach(tuple(self._objects))
        for publisher in (self._requests, self._status, self._pose, self._detections, self._tf, self._roster_out):
            self.destroy_publisher(publisher)

    def _attach(self, object_names: Iterable[str]) -> None:
        for name in object_names:
            self._objects[name] = _Offered(
                pose=self.create_publisher(PoseWithCovarianceStamped, names.pose_topic(name), qos.results()),
                services=(
                    self.create_service(Trigger, names.service(name, "reregister"),
                                        partial(self._on_trigger, name, Reason.USER_REREGISTER)),
                    self.create_service(Trigger, names.service(name, "reset"),
                                        partial(self._on_trigger, name, Reason.USER_RESET)),
                    self.create_service(SetBool, names.service(name, "enable"), partial(self._on_enable, name))))

    def _detach(self, object_names: Iterable[str]) -> None:
        for name in object_names:
            offered = self._objects.pop(name)
            self.destroy_publisher(offered.pose)
            for service in offered.services:
                self.destroy_service(service)

    def reconfigure(self, config: StormConfig, paths: frozenset[str]) -> None:
        exchanged = paths & {"objects", "models"}
        wanted = self.stages.listed(config) if exchanged else tuple(self.models)
        primary = _primary(config, wanted) if "primary" in paths else self._primary
        if exchanged:
            self._roster_worker.put(config)
        elif "primary" in paths:
            self._primary = primary
        self._supervisor.reconfigure(config)

    def follow_roster(self) -> None:
        """The others follow this node."""

    def take_over(self, config: StormConfig) -> None:
        """In the roster worker: read the meshes, change what changed, tell the others."""
        alive = self.this_life()
        models = self.loaded(config)
        changed = change(digests_of(self.models), digests_of(models))
        if not changed:
            return
        with self._lock:
            if not alive():
                return
            self._supervisor.renew(models)
            for name in changed.removed:
                self._supervisor.remove(name)
            for name in changed.added:
                self._supervisor.add(name, _fresh_epoch())
            self._supervisor.restart(self._supervisor.newest_ns, changed.replaced)
            self._detach(changed.removed)
            self._attach(changed.added)
            self.models = models
            self._roster_out.publish(roster_message(roster_of(config.models, models)))
            self._primary = config.primary if config.primary in models else next(iter(models))
            self._carry_out()
            self._publish_status()
        self.get_logger().info(f"objects now: {', '.join(models)}")

    def _on_reload(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Meshes take longer to read than a service may: the answer says what will be there."""
        try:
            wanted = self.stages.listed(self.config)
        except StormError as error:
            response.success, response.message = False, str(error)
            return response
        self._roster_worker.put(self.config)
        response.success = True
        response.message = f"reading {', '.join(wanted)}; {self.resolve_topic_name(names.STATUS)} lists what is there"
        return response

    def _silent(self) -> float:
        """Time without a frame [s]; a recording that is paused has not fallen silent."""
        steady = time.monotonic() - self._last_frame
        if not self.get_parameter("use_sim_time").value:
            return steady
        return min(steady, (self.get_clock().now() - self._last_frame_ros).nanoseconds * 1e-9)

    def problems(self) -> list[str]:
        silent = self._silent()
        topic = self.resolve_topic_name(names.CAMERA_INFO)
        lacking = [f"no message on {topic} for {silent:.1f} s"] if silent > self.config.input.timeout else []
        if not self._followed and time.monotonic() - self._begun > self.config.input.timeout:
            lacking.append(f"no message on {self.resolve_topic_name(names.TRACKS)} yet; is pose_node active?")
        withheld = self._withheld()
        return lacking + ([f"{withheld}: not published"] if withheld else []) + self._motion.problems()

    def _on_info(self, message: CameraInfo) -> None:
        stamp = stamp_ns(message.header.stamp)
        if stamp in (0, self._info_stamp):
            # Whoever repeats what never changes does not stamp it: then the tracks tell when pictures were taken.
            return
        self._info_at, self._info_stamp = time.monotonic(), stamp
        # A search on a frame that pose_node has not seen finds something that cannot be registered.
        self._taken(stamp, message.header.frame_id,
                    self._followed or time.monotonic() - self._begun >= self.config.recovery.stage_timeout)

    def _taken(self, stamp: int, frame_id: str, ready: bool = True) -> None:
        """The camera has taken a picture, whoever says so: some send camera_info only now and then."""
        self._last_frame, self._last_frame_ros = time.monotonic(), self.get_clock().now()
        self._frame_id = frame_id
        if not ready:
            return
        with self._lock:
            self._supervisor.frame(stamp)
            self._carry_out()

    def _on_answers(self, message: DiagnosticArray) -> None:
        with self._lock:
            for answer in records.read_answers(message):
                if answer.object_name in self.models and answer.stage is not Stage.SEARCHING:
                    self._supervisor.answered(answer)
            self._carry_out()

    def _on_localizations(self, message: Detection3DArray) -> None:
        with self._lock:
            for found in read_localizations(message):
                if found.object_name in self.models:
                    self._supervisor.located(found)
            self._carry_out()

    def _on_tracks(self, tracks: OfFrame[EpochTrack]) -> None:
        self._followed = True
        # Tracks may come late; a jump back in time is theirs to tell only where nothing else is heard of the camera.
        rare = time.monotonic() - self._info_at > self.config.input.timeout
        if tracks.stamp_ns > self._supervisor.newest_ns or rare:
            self._taken(tracks.stamp_ns, tracks.frame_id)
        self._judged(tracks.stamp_ns, tracks.frame_id, self._join.first(tracks.stamp_ns, tracks.items))

    def _on_judgements(self, judgements: OfFrame[records.Judged]) -> None:
        self._judged(judgements.stamp_ns, judgements.frame_id, self._join.second(judgements.stamp_ns, judgements.items))

    def _judged(self, stamp: int, frame_id: str, joined: Joined | None) -> None:
        if joined is None:
            return
        with self._lock:
            outputs = self._supervisor.judged(*joined)
            self._carry_out()
        age = (self.get_clock().now().nanoseconds - stamp) * 1e-9
        self.diagnostics.latency("end_to_end", age * 1e3)
        if age > self.config.input.max_age:
            self.diagnostics.drop("too_old")
            self._too_old = time.monotonic(), age
            self.get_logger().warning(f"{self._withheld()}: not published", throttle_duration_sec=5.0)
            return
        self._too_old = IN_TIME
        self.diagnostics.event("published")
        with self._lock:
            self._publish(stamp, frame_id, outputs)

    def _withheld(self) -> str:
        """Why poses that are tracked are not published; empty when they are."""
        at, age = self._too_old
        if time.monotonic() - at > self.config.input.timeout:
            return ""
        return f"poses are {age * 1e3:.0f} ms old, input.max_age is {self.config.input.max_age * 1e3:.0f} ms"

    def _publish(self, stamp: int, frame_id: str, outputs: Sequence[ObjectOutput]) -> None:
        """Messages are made for those who listen: the same poses go out in five ways, and most users want one."""
        at = header(stamp, frame_id)
        outputs = [output for output in outputs if output.object_name in self._objects]
        transforms = []
        for output in outputs:
            if output.cam_from_obj is None or output.covariance is None:
                continue
            name, cam_from_obj = output.object_name, output.cam_from_obj
            if listened_to(self._objects[name].pose):
                self._objects[name].pose.publish(PoseWithCovarianceStamped(
                    header=at, pose=with_covariance(cam_from_obj, output.covariance)))
            if not output.trusted:
                continue
            if listened_to(self._tf):
                transforms.append(TransformStamped(
                    header=at, child_frame_id=self.config.tf_prefix + name,
                    transform=Transform(translation=vector(cam_from_obj[:3, 3]),
                                        rotation=to_pose(cam_from_obj).orientation)))
            if name == self._primary and listened_to(self._pose):
                self._pose.publish(PoseStamped(header=at, pose=to_pose(cam_from_obj)))
        if transforms:
            self._tf.publish(TFMessage(transforms=transforms))
        if listened_to(self._detections):
            self._publish_detections(stamp, frame_id, outputs)

    def _publish_detections(self, stamp: int, frame_id: str, outputs: Sequence[ObjectOutput]) -> None:
        message = detections_message(outputs, self.models, frame_id, stamp)
        coasting = {output.object_name for output in outputs if output.coasting}
        for detection in message.detections:
            result = detection.results[0].hypothesis
            if detection.id in coasting:
                result.score = min(result.score, COASTING_SCORE)
        self._detections.publish(message)

    def _carry_out(self) -> None:
        """Send what the machines ask for, and tell everybody about changes."""
        box = self._supervisor.take()
        for message in records.request_messages(box.requests):
            self._requests.publish(message)
        if box.transitions:
            self._publish_status(box.transitions[-1].stamp_ns)

    def _publish_status(self, about: int | None = None) -> None:
        """about: stamp of the frame that has changed something, which may be older than the newest [ns]."""
        self._status_at = time.monotonic()
        at = header(self._supervisor.newest_ns if about is None else about, self._frame_id)
        withheld = self._withheld()
        entries = [records.object_status(name, item.state, item.judgement, item.detail, item.before, item.missing,
                                         withheld)
                   for name, item in self._supervisor.items.items()]
        self._status.publish(DiagnosticArray(header=at, status=entries))

    def _tick(self) -> None:
        with self._lock:
            if self._silent() > self.config.input.timeout:
                self._supervisor.silence()
                self._carry_out()
            if time.monotonic() - self._status_at > STATUS_PERIOD - 0.05:
                self._publish_status()

    def _on_trigger(self, name: str, reason: Reason, request: Trigger.Request,
                    response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._command(name, reason)
        return response

    def _on_enable(self, name: str, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        reason = Reason.USER_ENABLED if request.data else Reason.USER_DISABLED
        response.success, response.message = self._command(name, reason)
        return response

    def _command(self, name: str, reason: Reason) -> tuple[bool, str]:
        with self._lock:
            if name not in self._supervisor.items:
                return False, f"{name} has been removed"
            before = self._supervisor.items[name].state
            self._supervisor.command(name, reason)
            after = self._supervisor.items[name].state
            self._carry_out()
            self._publish_status()
        if after is not before and after.aside >= 0:
            return True, f"{name} is {after.state.value} and is being registered anew beside that"
        done = after is not before or after.aside >= 0 or reason is Reason.USER_ENABLED
        return done, f"{name} is {after.state.value}" + ("" if done else "; enable it first")


def listened_to(publisher: Publisher) -> bool:
    """Whether a message would reach anybody; what is published before somebody subscribes is never sent later."""
    return bool(publisher.get_subscription_count() > 0)


def _primary(config: StormConfig, object_names: Collection[str]) -> str:
    name = config.primary or next(iter(object_names))
    if name not in object_names:
        raise ConfigError(f"primary = {name!r} is none of the objects: {', '.join(object_names)}")
    return name


def _fresh_epoch() -> int:
    """Milliseconds since 1970: nobody who starts anew, supervisor or object, may reuse an earlier epoch."""
    return time.time_ns() // 1_000_000


def main(args: Sequence[str] | None = None) -> int:
    return run([SupervisorNode], args)


if __name__ == "__main__":
    sys.exit(main())
