"""tom_node: judges every tracked pose against its frame (TOM)."""

import sys
from collections import deque
from collections.abc import Callable, Sequence

from storm_core.config import StormConfig
from storm_core.pipeline.warmup import warm_up
from storm_ros import records
from storm_ros.between import JUDGEMENTS, TRACKS, OfFrame
from storm_ros.detections import EpochTrack
from storm_ros.frames import BACKLOG, LazyFrame
from storm_ros.join import StampJoin
from storm_ros.node import StormNode
from storm_ros.running import run
from storm_ros.stages import Models

Job = tuple[LazyFrame, Sequence[EpochTrack]]


class TomNode(StormNode):
    """Joins tracks with their frames and publishes one judgement per tracked object."""

    def __init__(self, stages: object = None, **kwargs: object) -> None:
        super().__init__("tom_node", stages, **kwargs)

    def build(self) -> None:
        self._monitor = self.stages.monitor(self.config, self.models)
        warm_up(self.models, monitor=self._monitor)
        self._epochs: dict[str, int] = {}
        self._renewals: deque[Callable[[], None]] = deque()
        self._judged = frozenset(self.models)

    def unbuild(self) -> None:
        del self._monitor

    def reconfigure(self, config: StormConfig, paths: frozenset[str]) -> None:
        self._renew(self.models, config)

    def adopt(self, models: Models, config: StormConfig) -> None:
        self._renew(models, config)

    def _renew(self, models: Models, config: StormConfig) -> None:
        """The monitor belongs to its worker: changes wait for the next frame."""
        def renew() -> None:
            self._monitor.renew(models, config.monitor)
            self._judged = frozenset(models)

        self._renewals.append(renew)

    def connect(self) -> None:
        self._join: StampJoin[LazyFrame, Sequence[EpochTrack]] = StampJoin(kept=15)
        self._judgements = self.ways.mouth(self, JUDGEMENTS)
        self._worker = self.start_worker("judge", self._judge, backlog=BACKLOG)
        self.diagnostics.gauge("frames_skipped", lambda: self._worker.dropped)
        self._tracks = self.ways.ear(self, TRACKS, self._on_tracks)
        self.watch_camera(self._on_frame)

    def disconnect(self) -> None:
        self._tracks.destroy()
        self._judgements.destroy()

    def _on_frame(self, frame: LazyFrame) -> None:
        self._enqueue(self._join.first(frame.stamp_ns, frame))

    def _on_tracks(self, tracks: OfFrame[EpochTrack]) -> None:
        self._enqueue(self._join.second(tracks.stamp_ns, tracks.items))

    def _enqueue(self, job: Job | None) -> None:
        if job is not None:
            self._worker.put(job)

    def _judge(self, job: Job) -> None:
        """In the worker."""
        lazy, tracks = job
        while self._renewals:
            self._renewals.popleft()()
        judged = []
        for item in tracks:
            name = item.track.object_name
            if name not in self._judged:
                continue
            if self._epochs.get(name) != item.epoch:
                self._monitor.reset(name)
                self._epochs[name] = item.epoch
            with self.diagnostics.timed("monitor"):
                judgement = self._monitor.judge(lazy.frame(), item.track)
            judged.append(records.Judged(judgement=judgement, epoch=item.epoch))
        self.diagnostics.event("judged", len(judged))
        self._judgements.say(OfFrame(lazy.stamp_ns, lazy.frame_id, judged))


def main(args: Sequence[str] | None = None) -> int:
    return run([TomNode], args)


if __name__ == "__main__":
    sys.exit(main())
