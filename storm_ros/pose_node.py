"""pose_node: registers what som_node found and tracks it from frame to frame."""

import sys
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection3DArray

from storm_core.config import StormConfig
from storm_core.errors import StormError
from storm_core.geometry.pose import angle_between, inverse
from storm_core.pipeline.warmup import warm_up
from storm_core.recovery.machine import Action
from storm_core.types import Reason, RegistrationFailure
from storm_ros import conversions, names, qos, records
from storm_ros.between import TRACKS, OfFrame
from storm_ros.detections import read_localizations, read_tracks
from storm_ros.following import Follower, Registering, RegisterJob, RegistrationDesk
from storm_ros.frames import BACKLOG, FrameBuffer, LazyFrame
from storm_ros.node import StormNode
from storm_ros.records import Answer, Stage
from storm_ros.running import run
from storm_ros.stages import Models

REFINED_AGE_NS = 1_000_000_000
"""A refined pose that comes later than this is not used."""

REFINED_SHIFT = 0.1
"""A refined pose further away than this many diameters is another pose, not a better one."""


class PoseNode(StormNode):
    """Tracks every newest frame in one thread; registers and catches up in another."""

    def __init__(self, stages: object = None, **kwargs: object) -> None:
        super().__init__("pose_node", stages, **kwargs)

    def build(self) -> None:
        self._registrar = self.stages.registrar(self.config, self.models)
        self._tracker = self.stages.tracker(self.config, self.models)
        self._catching = self.stages.tracker(self.config, self.models)
        warm_up(self.models, registrar=self._registrar, tracker=self._tracker)

    def unbuild(self) -> None:
        del self._registrar, self._tracker, self._catching
        self._follower = self._registering = self._buffer = None

    def connect(self) -> None:
        self._buffer = FrameBuffer()
        self._desk = RegistrationDesk()
        self._follower = Follower(self._tracker)
        self._registering = Registering(self._registrar, self._catching, self._buffer, self.models)
        self._answers = self.create_publisher(DiagnosticArray, names.ANSWERS, qos.kept())
        self._tracks = self.ways.mouth(self, TRACKS)
        self._track_worker = self.start_worker("track", self._track, backlog=BACKLOG)
        self.diagnostics.gauge("frames_skipped", lambda: self._track_worker.dropped)
        self._register_worker = self.start_worker("register", self._register, self.config.threads)
        self._inputs = [
            self.create_subscription(DiagnosticArray, names.REQUESTS, self._on_requests, qos.kept()),
            self.create_subscription(DiagnosticArray, names.ANSWERS, self._on_answers, qos.kept()),
            self.create_subscription(Detection3DArray, names.LOCALIZATIONS, self._on_localizations, qos.kept()),
            self.create_subscription(Detection3DArray, names.REFINED, self._on_refined, qos.results())]
        self._masks: dict[str, Subscription] = {}
        self._early: dict[str, RegisterJob] = {}
        self._queued: dict[str, int] = {}
        self._attach(self.models)
        self.watch_camera(self._on_frame)

    def disconnect(self) -> None:
        for subscription in (*self._inputs, *self._masks.values()):
            self.destroy_subscription(subscription)
        self._tracks.destroy()
        self.destroy_publisher(self._answers)

    def _attach(self, object_names: Iterable[str]) -> None:
        for name in object_names:
            self._masks[name] = self.create_subscription(Image, names.mask_topic(name), partial(self._on_mask, name),
                                                         qos.latched())

    def reconfigure(self, config: StormConfig, paths: frozenset[str]) -> None:
        if any(path.startswith("registration.") for path in paths):
            self._new_registering(self.models, config)
        if any(path.startswith("tracking.") for path in paths):
            self._follower.renew(self.models, config.tracking)
            self._new_registering(self.models, config)

    def adopt(self, models: Models, config: StormConfig) -> None:
        alive = self.this_life()
        self._new_registering(models, config)
        if not alive():
            return
        self._follower.renew(models, config.tracking)
        self._attach(name for name in models if name not in self.models)
        for name in [name for name in self.models if name not in models]:
            self._register_worker.discard(name)
            self.destroy_subscription(self._masks.pop(name))

    def be_about(self, models: Models, folder: str) -> None:
        super().be_about(models, folder)
        for name in [name for name in self._early if name in models]:
            self._enqueue(self._early.pop(name))

    def _new_registering(self, models: Models, config: StormConfig) -> None:
        """A registration that is under way ends with the old stages, which nobody else uses."""
        self._registering = Registering(self.stages.registrar(config, models), self.stages.tracker(config, models),
                                        self._buffer, models)

    def _on_frame(self, frame: LazyFrame) -> None:
        self._buffer.push(frame)
        self._track_worker.put(frame)

    def _on_requests(self, message: DiagnosticArray) -> None:
        for request in records.read_requests(message):
            name = request.object_name
            if request.action is Action.REGISTER:
                self._enqueue(self._desk.request(name, request.epoch, request.stamp_ns))
            elif request.action is Action.STOP_TRACKING:
                self._follower.expect(name, request.epoch)
                if self._queued.get(name, request.epoch) < request.epoch:
                    self._register_worker.discard(name)

    def _on_answers(self, message: DiagnosticArray) -> None:
        for answer in records.read_answers(message):
            if answer.stage is Stage.SEARCHING:
                self._buffer.pin(answer.object_name, answer.stamp_ns)
            elif answer.stage is Stage.SEARCH and not answer.ok:
                self._buffer.unpin(answer.object_name)

    def _on_localizations(self, message: Detection3DArray) -> None:
        for found in read_localizations(message):
            self._enqueue(self._desk.hypotheses(found))

    def _on_mask(self, name: str, message: Image) -> None:
        mask = conversions.to_mask(conversions.raw_image(message))
        self._enqueue(self._desk.mask(name, conversions.stamp_ns(message.header.stamp), mask))

    def _enqueue(self, job: RegisterJob | None) -> None:
        if job is None:
            return
        name = job.localization.object_name
        if name in self.models:
            self._queued[name] = job.epoch
            self._register_worker.put(job, name)
        else:  # som_node knows a new object a little earlier
            self._early[name] = job

    def _register(self, job: RegisterJob) -> None:
        """In the register worker."""
        name, stamp = job.localization.object_name, job.localization.stamp_ns
        try:
            with self.diagnostics.timed("register"):
                result = self._registering.run(job.localization)
        except StormError as error:
            self._answer(name, Stage.REGISTER, job.epoch, stamp, Reason.NOT_CONVERGED, str(error))
            raise
        finally:
            self._buffer.unpin(name)
        if isinstance(result, RegistrationFailure):
            self._answer(name, Stage.REGISTER, job.epoch, stamp, result.reason, result.detail)
            return
        frame, registration = result
        # Answered before the first track goes out: nobody may hear of a track whose registration is not known.
        self._answer(name, Stage.REGISTER, job.epoch, frame.stamp_ns, Reason.REGISTERED, ok=True)
        self._follower.start(frame, registration, job.epoch)

    def _track(self, lazy: LazyFrame) -> None:
        """In the track worker; also a frame without any object is reported, so that others can tell it from silence."""
        frame = lazy.frame()
        with self.diagnostics.timed("track"):
            followed = self._follower.step(frame)
        self.diagnostics.event("tracked", len(followed.tracks))
        for failure, epoch in followed.failures:
            self._answer(failure.object_name, Stage.TRACK, epoch, frame.stamp_ns, failure.reason, failure.detail)
        self._tracks.say(OfFrame(frame.stamp_ns, frame.frame_id, followed.tracks))

    def _on_refined(self, message: Detection3DArray) -> None:
        """Two entries per object: the pose that was refined and the refined one."""
        newest = self._buffer.newest()
        entries = read_tracks(message)
        for before, after in zip(entries[::2], entries[1::2], strict=False):
            name, old, new = before.track.object_name, before.track.cam_from_obj, after.track.cam_from_obj
            if name not in self.models or newest is None or newest.stamp_ns - before.track.stamp_ns > REFINED_AGE_NS:
                continue
            model = self.models[name]
            shift = np.linalg.norm((new - old)[:3, :3] @ model.center + (new - old)[:3, 3])
            if shift < REFINED_SHIFT * model.diameter and 0.5 * angle_between(old, new) < REFINED_SHIFT:
                self._follower.correct(name, before.epoch, before.track.stamp_ns, new @ inverse(old))
                self.diagnostics.event("refined")

    def _answer(self, name: str, stage: Stage, epoch: int, stamp_ns: int, reason: Reason, detail: str = "", *,
                ok: bool = False) -> None:
        self._answers.publish(records.answer_message(Answer(
            object_name=name, stage=stage, epoch=epoch, stamp_ns=stamp_ns, ok=ok, reason=reason, detail=detail)))


def main(args: Sequence[str] | None = None) -> int:
    return run([PoseNode], args)


if __name__ == "__main__":
    sys.exit(main())
