"""score_node: refines healthy poses into distributions with the score model; never in anybody's way."""

import sys
from collections.abc import Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from vision_msgs.msg import Detection3DArray

from storm_core.config import StormConfig
from storm_core.pipeline.warmup import warm_up
from storm_core.types import Judgement, Registration, Track, Verdict
from storm_ros import names, qos, records
from storm_ros.conversions import header, stamp_ns, to_pose
from storm_ros.detections import EpochTrack, read_tracks, tracks_message
from storm_ros.frames import FrameBuffer
from storm_ros.join import StampJoin
from storm_ros.node import StormNode
from storm_ros.running import run
from storm_ros.stages import Models

Job = tuple[EpochTrack, Judgement]


class ScoreNode(StormNode):
    """Refines the first healthy pose after a registration, then one every `score_model.period`."""

    def __init__(self, stages: object = None, **kwargs: object) -> None:
        super().__init__("score_node", stages, **kwargs)

    def build(self) -> None:
        if not self.config.score_model.enable:
            return
        self._refiner = self.stages.score_refiner(self.config, self.models)
        warm_up(self.models, refiner=self._refiner)

    def unbuild(self) -> None:
        self._refiner = self._buffer = None

    def connect(self) -> None:
        self._buffer = FrameBuffer(dense=15, sparse=0)
        self._join: StampJoin[list[EpochTrack], list[records.Judged]] = StampJoin()
        self._done: dict[str, tuple[int, int]] = {}
        self._refined = self.create_publisher(Detection3DArray, names.REFINED, qos.results())
        self._particles = {name: self.create_publisher(PoseArray, names.particles_topic(name), qos.results())
                           for name in self.models}
        self._inputs = []
        if not self.config.score_model.enable:
            return
        self._worker = self.start_worker("refine", self._refine)
        self._inputs = [
            self.create_subscription(Detection3DArray, names.TRACKS, self._on_tracks, qos.requests()),
            self.create_subscription(DiagnosticArray, names.JUDGEMENTS, self._on_judgements, qos.requests())]
        self.watch_camera(self._buffer.push)

    def disconnect(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for publisher in (self._refined, *self._particles.values()):
            self.destroy_publisher(publisher)

    def adopt(self, models: Models, config: StormConfig) -> None:
        if config.score_model.enable:
            self._refiner = self.stages.score_refiner(config, models)
        for name in [name for name in models if name not in self.models]:
            self._particles[name] = self.create_publisher(PoseArray, names.particles_topic(name), qos.results())
        for name in [name for name in self.models if name not in models]:
            self.destroy_publisher(self._particles.pop(name))

    def _on_tracks(self, message: Detection3DArray) -> None:
        self._enqueue(self._join.first(stamp_ns(message.header.stamp), read_tracks(message)))

    def _on_judgements(self, message: DiagnosticArray) -> None:
        self._enqueue(self._join.second(stamp_ns(message.header.stamp), records.read_judgements(message)))

    def _enqueue(self, pair: tuple[list[EpochTrack], list[records.Judged]] | None) -> None:
        if pair is None:
            return
        judgements = {item.judgement.object_name: item for item in pair[1]}
        for item in pair[0]:
            judged = judgements.get(item.track.object_name)
            if item.track.object_name not in self._particles or judged is None:
                continue
            if judged.judgement.verdict is not Verdict.HEALTHY or not self._due(item):
                continue
            self._done[item.track.object_name] = (item.epoch, item.track.stamp_ns)
            self._worker.put((item, judged.judgement), item.track.object_name)

    def _due(self, item: EpochTrack) -> bool:
        epoch, stamp = self._done.get(item.track.object_name, (-1, 0))
        return epoch != item.epoch or abs(item.track.stamp_ns - stamp) >= self.config.score_model.period * 1e9

    def _refine(self, job: Job) -> None:
        """In the worker: the pose as it was and as it is now better known, under the same stamp."""
        item, judgement = job
        track = item.track
        lazy = self._buffer.nearest(track.stamp_ns)
        if lazy is None:
            self.diagnostics.drop("frames_gone")
            return
        registration = Registration(
            object_name=track.object_name, stamp_ns=track.stamp_ns, cam_from_obj=track.cam_from_obj,
            covariance=track.covariance, probability=judgement.probability, evidence=judgement.evidence)
        with self.diagnostics.timed("refine"):
            result = self._refiner.refine(lazy.frame(), registration)
        self.diagnostics.event("refined")
        at = header(track.stamp_ns, lazy.frame_id)
        particles = [to_pose(pose) for pose in np.asarray(result.cam_from_objs)]
        if track.object_name not in self._particles:
            return
        self._particles[track.object_name].publish(PoseArray(header=at, poses=particles))
        better = Track(object_name=track.object_name, stamp_ns=track.stamp_ns, innovation=0.0,
                       cam_from_obj=result.registration.cam_from_obj, covariance=result.registration.covariance)
        self._refined.publish(tracks_message([item, EpochTrack(track=better, epoch=item.epoch)], track.stamp_ns,
                                             lazy.frame_id))


def main(args: Sequence[str] | None = None) -> int:
    return run([ScoreNode], args)


if __name__ == "__main__":
    sys.exit(main())
