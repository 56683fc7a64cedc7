"""The supervisor's mind: one recovery machine per object, fed with the other nodes' answers. Knows nothing of ROS."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storm_core.config import StormConfig
from storm_core.errors import InputError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import inverse
from storm_core.recovery.machine import (
    Action,
    Command,
    Event,
    FrameArrived,
    Judged,
    ObjectState,
    RegisterDone,
    SearchDone,
    State,
    TrackLost,
    step,
)
from storm_core.recovery.output import object_output
from storm_core.recovery.places import HOLDING, Places
from storm_core.types import Judgement, ObjectOutput, Reason, Transition
from storm_ros import records
from storm_ros.detections import EpochTrack, Hypotheses
from storm_ros.records import NOBODY, Answer, Request, Stage
from storm_ros.sync import RESTART_NS

logger = logging.getLogger(__name__)

_ASIDE = {Action.SEARCH_ASIDE: Action.SEARCH, Action.REGISTER_ASIDE: Action.REGISTER}


@dataclass(eq=False)
class Item:
    """One object: its state, how it came there, what is known about it.

    Attributes:
      before: state before the last change.
      detail: text of the last answer about it.
      judged_ns: stamp of the newest judgement that counted.
      missing: modalities that said nothing about it in the frame of that judgement.
      last_pose: last pose that was trusted, (4, 4). last_fixed: the same in the fixed frame, when that is known.
    """

    state: ObjectState
    before: State = State.SEARCHING
    detail: str = ""
    judgement: Judgement | None = None
    judged_ns: int = 0
    missing: tuple[Reason, ...] = ()
    last_pose: NDArray[np.float64] | None = None
    last_fixed: NDArray[np.float64] | None = None


@dataclass(eq=False)
class Outbox:
    """What an event led to, in order."""

    requests: list[Request] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)


class Supervisor:
    """Turns events into requests, transitions and publishable outputs. Not thread-safe: one caller at a time."""

    def __init__(self, object_names: Sequence[str], config: StormConfig, first_epoch: int,
                 models: Mapping[str, ObjectModel] = {},
                 camera_pose: Callable[[int], NDArray[np.float64] | None] = lambda stamp_ns: None) -> None:
        """
        Args:
          object_names: what to look after.
          config: sections recovery and input.
          first_epoch: larger than any epoch of an earlier supervisor whose messages may still be under way.
          models: of the objects; needed where several of them are of one mesh.
          camera_pose: fixed_from_cam (4, 4) at a stamp [ns], where that is known: lost objects have not moved with the
            camera.
        """
        self._camera_pose = camera_pose
        self._places = Places(models)
        self.items = {name: Item(ObjectState(epoch=first_epoch)) for name in object_names}
        self.outbox = Outbox()
        self.newest_ns = 0
        self._config = config

    def take(self) -> Outbox:
        """Requests and transitions since the last call."""
        out, self.outbox = self.outbox, Outbox()
        return out

    def frame(self, stamp_ns: int) -> None:
        """The camera has taken a picture. A jump back in time starts everything anew."""
        if stamp_ns < self.newest_ns - RESTART_NS:
            self.restart(stamp_ns)
        self.newest_ns = max(self.newest_ns, stamp_ns)
        for name, item in self.items.items():
            self._event(name, FrameArrived(stamp_ns=stamp_ns))
            self._miss_judgements(name, item, stamp_ns)

    def reconfigure(self, config: StormConfig) -> None:
        """Other settings from now on."""
        self._config = config

    def renew(self, models: Mapping[str, ObjectModel]) -> None:
        """Other meshes from now on; `add`, `remove` and `restart` say of which objects."""
        self._places.renew(models)

    def add(self, object_name: str, epoch: int) -> None:
        """Look after one more object; epoch: larger than any it may have had before."""
        self.items[object_name] = Item(ObjectState(epoch=epoch, since_ns=self.newest_ns))

    def remove(self, object_name: str) -> None:
        """Look after an object no longer."""
        item = self.items.pop(object_name)
        self.outbox.requests.append(Request(object_name=object_name, action=Action.STOP_TRACKING,
                                            epoch=item.state.next_epoch, stamp_ns=self.newest_ns))

    def restart(self, stamp_ns: int, object_names: Collection[str] | None = None) -> None:
        """Forget all, or all about these objects; epochs move on."""
        self.newest_ns = stamp_ns
        for name, item in self.items.items():
            if object_names is not None and name not in object_names:
                continue
            stopped = item.state.state is State.DISABLED
            old, epoch = item.state, item.state.next_epoch
            item.state = ObjectState(epoch=epoch, state=State.DISABLED if stopped else State.SEARCHING,
                                     reason=old.reason if stopped else Reason.STARTED)
            item.judgement, item.judged_ns, item.missing, item.last_pose, item.last_fixed = None, 0, (), None, None
            self._places.update(name, item.state)
            self._note(name, old, stamp_ns)
            self.outbox.requests.append(Request(object_name=name, action=Action.STOP_TRACKING, epoch=epoch,
                                                stamp_ns=stamp_ns))

    def _miss_judgements(self, name: str, item: Item, stamp_ns: int) -> None:
        """A tracked object about which nobody says anything any more is lost: its tracker or monitor has died."""
        if item.state.state is not State.TRACKING:
            return
        if stamp_ns - max(item.judged_ns, item.state.since_ns) > self._config.input.timeout * 1e9:
            item.detail = "no judged pose arrives; is pose_node or tom_node missing?"
            self._event(name, TrackLost(stamp_ns=stamp_ns, epoch=item.state.epoch, reason=Reason.STAGE_TIMEOUT))

    def silence(self) -> None:
        """No frame arrives any more: what was tracked is lost as far as anybody can know."""
        for name, item in self.items.items():
            if item.state.state in (State.VERIFYING, State.TRACKING, State.SUSPECT):
                item.detail = "no frame arrives"
                self._event(name, TrackLost(stamp_ns=self.newest_ns, epoch=item.state.epoch,
                                            reason=Reason.INPUT_TIMEOUT))

    def located(self, found: Hypotheses) -> None:
        """som_node found an object."""
        name, item, holder = found.object_name, self._item(found.object_name), None
        if found.epoch in (item.state.epoch, item.state.aside) and len(found.cam_from_objs):
            holder = self._places.take(name, found.cam_from_objs[0], item.state)
        item.detail = f"{holder} is there" if holder else f"found with probability {found.probability:.2f}"
        self._event(name, SearchDone(stamp_ns=found.stamp_ns, epoch=found.epoch, found=holder is None,
                                     reason=Reason.PLACE_TAKEN if holder else Reason.FOUND))

    def answered(self, answer: Answer) -> None:
        """A stage could not do, or has done, what it was asked for."""
        item = self._item(answer.object_name)
        name, stamp, epoch = answer.object_name, answer.stamp_ns, answer.epoch
        if epoch in (item.state.epoch, item.state.aside) and answer.detail:
            item.detail = answer.detail
        match answer.stage:
            case Stage.SEARCH:
                self._event(name, SearchDone(stamp_ns=stamp, epoch=epoch, found=answer.ok, reason=answer.reason))
            case Stage.REGISTER:
                self._event(name, RegisterDone(stamp_ns=stamp, epoch=epoch, registered=answer.ok, reason=answer.reason))
            case Stage.TRACK:
                self._event(name, TrackLost(stamp_ns=stamp, epoch=epoch, reason=answer.reason))

    def judged(self, tracks: Sequence[EpochTrack], judgements: Sequence[records.Judged]) -> list[ObjectOutput]:
        """Tracks and judgements of one frame -> what may be published about it; results of older epochs are dropped."""
        tracked = {item.track.object_name: item for item in tracks}
        outputs = []
        for judged in judgements:
            name, judgement = judged.judgement.object_name, judged.judgement
            if name not in self.items:
                continue
            item, found = self._item(name), tracked.get(name)
            if found is None or found.epoch != judged.epoch or judged.epoch != item.state.epoch:
                continue
            # The judgement may overtake the camera_info of its frame: a reset after it must not look older than it.
            self.newest_ns = max(self.newest_ns, judgement.stamp_ns)
            item.judgement, item.judged_ns, item.missing = judgement, judgement.stamp_ns, found.track.missing
            pose = found.track.cam_from_obj
            if item.state.state in HOLDING and (holder := self._places.take(name, pose, item.state)):
                item.detail = f"{holder} is there"
                self._event(name, TrackLost(stamp_ns=judgement.stamp_ns, epoch=judged.epoch,
                                            reason=Reason.PLACE_TAKEN))
                continue
            self._event(name, Judged(stamp_ns=judgement.stamp_ns, epoch=judged.epoch, verdict=judgement.verdict,
                                     reason=judgement.reason))
            output = object_output(name, judgement.stamp_ns, item.state, found.track, judgement)
            if output.trusted:
                camera = self._camera_pose(judgement.stamp_ns)
                item.last_pose = output.cam_from_obj
                item.last_fixed = None if camera is None else camera @ output.cam_from_obj
            outputs.append(output)
        return outputs

    def command(self, object_name: str, reason: Reason) -> None:
        """A user's service call."""
        self._event(object_name, Command(stamp_ns=self.newest_ns, reason=reason))

    def _item(self, name: str) -> Item:
        if name not in self.items:
            raise InputError(f"a message is about the unknown object {name!r}; known: {', '.join(self.items)}")
        return self.items[name]

    def _event(self, name: str, event: Event) -> None:
        item = self.items[name]
        old = item.state
        item.state, actions = step(old, event, self._config.recovery)
        self._places.update(name, item.state)
        self._note(name, old, event.stamp_ns)
        for action in actions:
            # Beside a track or not, the others do the same: the epoch tells their answers apart.
            asked = _ASIDE.get(action, action)
            # A registration works on the frame of the localization, a search on none older than this event; one after
            # a search that found nothing on a newer one.
            again = isinstance(event, SearchDone) and not event.found
            search = asked is Action.SEARCH
            epoch = item.state.aside if action in _ASIDE else item.state.epoch
            self.outbox.requests.append(Request(
                object_name=name, action=asked, epoch=epoch, stamp_ns=event.stamp_ns + again,
                cam_from_obj=self._expected(item, event.stamp_ns) if search else None,
                others=self._places.others(name) if search else NOBODY))

    def _expected(self, item: Item, stamp_ns: int) -> NDArray[np.float64] | None:
        """Where an object is now if it stands still where it was last trusted."""
        camera = None if item.last_fixed is None else self._camera_pose(stamp_ns)
        return item.last_pose if camera is None else inverse(camera) @ item.last_fixed

    def _note(self, name: str, old: ObjectState, stamp_ns: int) -> None:
        item = self.items[name]
        if item.state.state is old.state:
            return
        item.before = old.state
        if item.state.state in (State.LOST, State.SEARCHING, State.DISABLED):
            item.judged_ns, item.missing = 0, ()
        self.outbox.transitions.append(Transition(object_name=name, stamp_ns=stamp_ns, before=old.state.value,
                                                  after=item.state.state.value, reason=item.state.reason))
        logger.info("%s: %s -> %s (%s)%s", name, old.state.value, item.state.state.value, item.state.reason.value,
                    f": {item.detail}" if item.detail else "")
