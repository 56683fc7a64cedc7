"""score_node: refines poses into distributions with the score model; never in anybody's way."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vision_msgs.msg import Detection3DArray

from storm_core.config import StormConfig
from storm_core.pipeline.warmup import warm_up
from storm_core.types import Evidence, Judgement, Registration, Track, Verdict
from storm_ros import names, qos, records
from storm_ros.between import JUDGEMENTS, TRACKS, Link, OfFrame
from storm_ros.conversions import header
from storm_ros.detections import EpochTrack, tracks_message
from storm_ros.distributions import DistributionOutput
from storm_ros.frames import FrameBuffer
from storm_ros.join import StampJoin
from storm_ros.node import StormNode
from storm_ros.running import run
from storm_ros.stages import Models

LATE_NS = 500_000_000
"""A refinement that would begin later than this after its frame is skipped: the object has moved on, and a newer frame
is as good. pose_node takes no correction older than a second."""


@dataclass(frozen=True, eq=False)
class Job:
    """A pose to refine. judgement: None while the monitor has not spoken yet."""

    item: EpochTrack
    judgement: Judgement | None


class ScoreNode(StormNode):
    """Refines each registration as soon as its first track is out, before it is verified, then one healthy pose every
    `score_model.period`.

    It only listens to the tracker: a correction is sent when it is ready and applied between two frames.
    """

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
        self._join: StampJoin[Sequence[EpochTrack], Sequence[records.Judged]] = StampJoin()
        self._done: dict[str, tuple[int, int]] = {}
        self._refined = self.create_publisher(Detection3DArray, names.REFINED, qos.results())
        self._outputs = {name: DistributionOutput(self, model) for name, model in self.models.items()}
        self._ears: list[Link] = []
        if not self.config.score_model.enable:
            return
        self._worker = self.start_worker("refine", self._refine)
        self._ears = [self.ways.ear(self, TRACKS, self._on_tracks),
                      self.ways.ear(self, JUDGEMENTS, self._on_judgements)]
        self.watch_camera(self._buffer.push)

    def disconnect(self) -> None:
        for ear in self._ears:
            ear.destroy()
        self.destroy_publisher(self._refined)
        for output in self._outputs.values():
            output.destroy()

    def adopt(self, models: Models, config: StormConfig) -> None:
        # In this order: whoever finds an output below has a refiner that knows its object.
        for name in [name for name in self._outputs if name not in models]:
            self._outputs.pop(name).destroy()
        if config.score_model.enable:
            self._refiner = self.stages.score_refiner(config, models)
        for name, model in models.items():
            if name in self._outputs:  # its mesh may have been replaced
                self._outputs[name].model = model
            else:
                self._outputs[name] = DistributionOutput(self, model)

    def _on_tracks(self, tracks: OfFrame[EpochTrack]) -> None:
        for item in tracks.items:
            if not item.track.coasting and self._done.get(item.track.object_name, (-1, 0))[0] != item.epoch:
                self._enqueue(Job(item, None))
        self._pair(self._join.first(tracks.stamp_ns, tracks.items))

    def _on_judgements(self, judgements: OfFrame[records.Judged]) -> None:
        self._pair(self._join.second(judgements.stamp_ns, judgements.items))

    def _pair(self, pair: tuple[Sequence[EpochTrack], Sequence[records.Judged]] | None) -> None:
        """Tracks of one frame and what the monitor says of them."""
        if pair is None:
            return
        judgements = {item.judgement.object_name: item.judgement for item in pair[1]}
        for item in pair[0]:
            judgement = judgements.get(item.track.object_name)
            if judgement is not None and judgement.verdict is Verdict.HEALTHY and self._due(item):
                self._enqueue(Job(item, judgement))

    def _enqueue(self, job: Job) -> None:
        track = job.item.track
        if track.object_name in self._outputs:
            self._done[track.object_name] = (job.item.epoch, track.stamp_ns)
            self._worker.put(job, track.object_name)

    def _due(self, item: EpochTrack) -> bool:
        epoch, stamp = self._done.get(item.track.object_name, (-1, 0))
        return epoch != item.epoch or abs(item.track.stamp_ns - stamp) >= self.config.score_model.period * 1e9

    def _refine(self, job: Job) -> None:
        """In the worker: the pose as it was and as it is now better known, under the same stamp."""
        item, track, refiner = job.item, job.item.track, self._refiner
        if track.object_name not in self._outputs:  # removed while its pose was waiting
            return
        lazy, newest = self._buffer.nearest(track.stamp_ns), self._buffer.newest()
        late = newest is not None and newest.stamp_ns - track.stamp_ns > LATE_NS
        if late or lazy is None:
            self.diagnostics.drop("late" if late else "frames_gone")
            self._done.pop(track.object_name, None)  # the next track is tried instead
            return
        with self.diagnostics.timed("refine"):
            result = refiner.refine(lazy.frame(), as_registration(job))
        self.diagnostics.event("refined")
        output = self._outputs.get(track.object_name)
        if output is None:  # removed while it was refined
            return
        output.publish(result, header(track.stamp_ns, lazy.frame_id))
        better = Track(object_name=track.object_name, stamp_ns=track.stamp_ns, innovation=0.0,
                       cam_from_obj=result.registration.cam_from_obj, covariance=result.registration.covariance)
        self._refined.publish(tracks_message([item, EpochTrack(track=better, epoch=item.epoch)], track.stamp_ns,
                                             lazy.frame_id))


def as_registration(job: Job) -> Registration:
    """A tracked pose in the form that refiners take; nobody has vouched for one that is not judged yet."""
    track, judgement = job.item.track, job.judgement
    return Registration(
        object_name=track.object_name, stamp_ns=track.stamp_ns, cam_from_obj=track.cam_from_obj,
        covariance=track.covariance, probability=0.5 if judgement is None else judgement.probability,
        evidence=Evidence() if judgement is None else judgement.evidence)


def main(args: Sequence[str] | None = None) -> int:
    return run([ScoreNode], args)


if __name__ == "__main__":
    sys.exit(main())
