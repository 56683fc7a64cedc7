"""The offline pipeline: the same stages and the same state machine as the nodes, in lock-step with the frames."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storm_core.config import RecoveryConfig
from storm_core.evidence.explained import without_objects
from storm_core.geometry.mesh import ObjectModel
from storm_core.interfaces import Localizer, Monitor, Registrar, ScoreRefiner, Tracker
from storm_core.parallel import on_threads
from storm_core.recovery.machine import (
    Action,
    Event,
    FrameArrived,
    Judged,
    ObjectState,
    RegisterDone,
    SearchDone,
    TrackLost,
    step,
)
from storm_core.recovery.output import object_output
from storm_core.recovery.places import HOLDING, Places
from storm_core.types import (
    Frame,
    Hint,
    Judgement,
    Localization,
    NotFound,
    ObjectOutput,
    Reason,
    Registration,
    StepOutput,
    Track,
    Transition,
)


@dataclass
class _Object:
    """What the pipeline remembers about one object between frames."""

    state: ObjectState = field(default_factory=ObjectState)
    pending: list[Action] = field(default_factory=list)
    last_pose: NDArray[np.float64] | None = None
    track: Track | None = None
    judgement: Judgement | None = None
    localization: Localization | None = None


class Pipeline:
    """step(frame) -> StepOutput. One instance per recording; frames in order of their stamps."""

    def __init__(
        self,
        names: tuple[str, ...],
        localizer: Localizer,
        registrar: Registrar,
        tracker: Tracker,
        monitor: Monitor,
        refiner: ScoreRefiner | None,
        config: RecoveryConfig,
        models: Mapping[str, ObjectModel] = {},
    ) -> None:
        """models: of the objects; needed where several of them are of one mesh."""
        self._objects = {name: _Object() for name in names}
        self._localizer, self._registrar, self._tracker = localizer, registrar, tracker
        self._monitor, self._refiner, self._config = monitor, refiner, config
        self._models, self._places = models, Places(models)
        self._transitions: list[Transition] = []
        self._ms: dict[str, float] = defaultdict(float)

    def step(self, frame: Frame) -> StepOutput:
        """Advance all objects by one frame."""
        self._transitions, self._ms = [], defaultdict(float)
        with self._timed("total"):
            for name, item in self._objects.items():
                item.track = item.judgement = None
                self._event(name, FrameArrived(stamp_ns=frame.stamp_ns))
            self._follow(frame)
            for name, item in self._objects.items():
                actions, item.pending = item.pending, []
                for action in actions:
                    self._act(name, action, frame)
        return StepOutput(
            stamp_ns=frame.stamp_ns,
            objects=tuple(self._output(n, frame) for n in self._objects),
            transitions=tuple(self._transitions),
            stage_ms=dict(self._ms),
        )

    def _follow(self, frame: Frame) -> None:
        """Track every object under way, judge every tracked pose."""
        with self._timed("track"):
            tracked = self._tracker.track(frame)
        tracks = [result for result in tracked.values() if isinstance(result, Track)]
        with self._timed("monitor"):
            judgements = on_threads(lambda track: self._monitor.judge(frame, track), tracks)
        judged = {track.object_name: judgement for track, judgement in zip(tracks, judgements, strict=True)}
        for name, result in tracked.items():
            if isinstance(result, Track):
                self._judged(name, result, judged[name])
            else:
                self._event(
                    name,
                    TrackLost(stamp_ns=frame.stamp_ns, epoch=self._objects[name].state.epoch, reason=result.reason),
                )

    def _judged(self, name: str, track: Track, judgement: Judgement) -> None:
        item = self._objects[name]
        item.track, item.judgement = track, judgement
        if item.state.state in HOLDING and self._places.take(name, track.cam_from_obj, item.state):
            self._event(name, TrackLost(stamp_ns=track.stamp_ns, epoch=item.state.epoch, reason=Reason.PLACE_TAKEN))
            return
        self._event(
            name,
            Judged(
                stamp_ns=track.stamp_ns,
                epoch=item.state.epoch,
                verdict=item.judgement.verdict,
                reason=item.judgement.reason,
            ),
        )
        if item.state.trusted:
            item.last_pose = track.cam_from_obj

    def _act(self, name: str, action: Action, frame: Frame) -> None:
        item = self._objects[name]
        if action is Action.STOP_TRACKING:
            self._tracker.stop(name)
        elif action in (Action.SEARCH, Action.SEARCH_ASIDE):
            aside = action is Action.SEARCH_ASIDE
            epoch = item.state.aside if aside else item.state.epoch
            with self._timed("localize"):
                found = self._found(frame, name, Hint(cam_from_obj=item.last_pose))
            ok = isinstance(found, Localization)
            item.localization = found if ok else None
            self._event(
                name,
                SearchDone(
                    stamp_ns=frame.stamp_ns,
                    epoch=epoch,
                    found=ok,
                    reason=Reason.FOUND if ok else found.reason,
                ),
            )
            # A successful search asks for registration in the same frame; a failed one for a search in the next.
            wanted = Action.REGISTER_ASIDE if aside else Action.REGISTER
            if wanted in item.pending:
                item.pending.remove(wanted)
                self._register(name, frame, epoch)

    def _found(self, frame: Frame, name: str, hint: Hint) -> Localization | NotFound:
        """Searches where no other object of the same mesh is."""
        others = self._places.others(name)
        searched = without_objects(frame, self._models[name], others) if len(others) else frame
        found = self._localizer.localize(searched, name, hint)
        if isinstance(found, NotFound) or not len(found.cam_from_objs):
            return found
        holder = self._places.take(name, found.cam_from_objs[0], self._objects[name].state)
        return found if holder is None else NotFound(object_name=name, stamp_ns=frame.stamp_ns,
                                                     reason=Reason.PLACE_TAKEN, detail=f"{holder} is there")

    def _register(self, name: str, frame: Frame, epoch: int) -> None:
        item = self._objects[name]
        assert item.localization is not None
        with self._timed("register"):
            result = self._registrar.register(frame, item.localization)
        ok = isinstance(result, Registration)
        if ok:
            if self._refiner is not None:
                with self._timed("refine"):
                    result = self._refiner.refine(frame, result).registration
            self._monitor.reset(name)
            result = self._tracker.start(frame, result)
        self._event(
            name,
            RegisterDone(
                stamp_ns=frame.stamp_ns,
                epoch=epoch,
                registered=ok,
                reason=Reason.REGISTERED if ok else result.reason,
            ),
        )
        if ok:
            # The monitor's first word is on the frame the pose was found in.
            track = Track(
                object_name=name,
                stamp_ns=frame.stamp_ns,
                cam_from_obj=result.cam_from_obj,
                covariance=result.covariance,
                innovation=0.0,
            )
            with self._timed("monitor"):
                judgement = self._monitor.judge(frame, track)
            self._judged(name, track, judgement)

    def _event(self, name: str, event: Event) -> None:
        item = self._objects[name]
        before = item.state
        item.state, actions = step(before, event, self._config)
        self._places.update(name, item.state)
        if item.state.state is not before.state:
            self._transitions.append(
                Transition(
                    object_name=name,
                    stamp_ns=event.stamp_ns,
                    before=before.state.value,
                    after=item.state.state.value,
                    reason=item.state.reason,
                )
            )
        item.pending.extend(actions)

    def _output(self, name: str, frame: Frame) -> ObjectOutput:
        item = self._objects[name]
        return object_output(name, frame.stamp_ns, item.state, item.track, item.judgement)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._ms[stage] += (time.perf_counter() - start) * 1e3
