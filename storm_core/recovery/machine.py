"""The recovery state machine, pure: (state, event) -> (state, actions). No clock, no ROS; stamps order everything.

SEARCHING -> REGISTERING -> VERIFYING -> TRACKING <-> SUSPECT -> LOST -> SEARCHING, plus ABSENT (searched, not in view)
and DISABLED. A result whose request was made before the last reset carries an old epoch and is dropped. Without
re-registration LOST is final; only a user's command searches again.

Beside a track that goes on, an object may be searched and registered anew, under an epoch of its own (`aside`). When
that succeeds the new registration takes the track's place, so that the output has no gap; when the track is lost
before, the search goes on as the ordinary one.
"""

from dataclasses import dataclass, replace
from enum import Enum

from storm_core.config import RecoveryConfig
from storm_core.types import Reason, Verdict


class State(str, Enum):
    SEARCHING = "SEARCHING"
    REGISTERING = "REGISTERING"
    VERIFYING = "VERIFYING"
    TRACKING = "TRACKING"
    SUSPECT = "SUSPECT"
    LOST = "LOST"
    ABSENT = "ABSENT"
    DISABLED = "DISABLED"


@dataclass(frozen=True, kw_only=True)
class ObjectState:
    """State of one object.

    Attributes:
      epoch: number of resets so far; results of an older epoch are dropped.
      since_ns: stamp at which the state was entered. stamp_ns: newest stamp seen.
      unheard: frames that arrived since the newest judgement, or since the state was entered.
      busy_since_ns: stamp of the outstanding search or registration request, -1 when none is out.
      good: healthy frames in a row while VERIFYING or SUSPECT. misses: failed searches in a row.
      resume_ns: while ABSENT, the stamp at which the next search is due.
      occluded: the newest verdict in SUSPECT was OCCLUDED (coasts longer).
      aside: epoch of the search or registration beside the track, -1 when there is none; aside_found: it is the latter.
      aside_since_ns: stamp at which it began. issued: highest epoch that was ever given out.
    """

    state: State = State.SEARCHING
    reason: Reason = Reason.STARTED
    epoch: int = 0
    since_ns: int = 0
    stamp_ns: int = 0
    unheard: int = 0
    busy_since_ns: int = -1
    good: int = 0
    misses: int = 0
    resume_ns: int = 0
    occluded: bool = False
    aside: int = -1
    aside_found: bool = False
    aside_since_ns: int = 0
    issued: int = 0

    @property
    def next_epoch(self) -> int:
        """One that nothing was ever asked under."""
        return max(self.epoch, self.issued) + 1

    @property
    def trusted(self) -> bool:
        """A pose may be published as current."""
        return self.state is State.TRACKING

    @property
    def coasting(self) -> bool:
        """A pose may be published marked as coasting, with grown covariance."""
        return self.state is State.SUSPECT


@dataclass(frozen=True, kw_only=True)
class FrameArrived:
    stamp_ns: int


@dataclass(frozen=True, kw_only=True)
class SearchDone:
    """The localizer answered; `found` False carries its reason."""

    stamp_ns: int
    epoch: int
    found: bool
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class RegisterDone:
    """The registrar answered; on success the tracker follows the pose from now on."""

    stamp_ns: int
    epoch: int
    registered: bool
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The monitor judged the tracked pose of one frame."""

    stamp_ns: int
    epoch: int
    verdict: Verdict
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class TrackLost:
    """The tracker itself gave up."""

    stamp_ns: int
    epoch: int
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Command:
    """A user's service call: USER_REREGISTER, USER_RESET, USER_ENABLED or USER_DISABLED."""

    stamp_ns: int
    reason: Reason


Event = FrameArrived | SearchDone | RegisterDone | Judged | TrackLost | Command


class Action(str, Enum):
    """What the caller must do; it belongs to the returned state's epoch, or to `aside` when its name says so."""

    SEARCH = "search"
    REGISTER = "register"
    STOP_TRACKING = "stop_tracking"
    SEARCH_ASIDE = "search_aside"
    REGISTER_ASIDE = "register_aside"


SILENCE = 5
"""Frames without a judgement after which a pose that is not trusted is not waited for any longer. Until then a track is
lost because of what is said of it, never because the next frame came late: at one frame a second every doubt would be a
loss."""

GROWTH = 1.1
"""Each pause between two searches is so much longer than the one before: what was there a second ago may be back in the
next one, what has been away for a minute need not be looked for all the time."""

MAX_GROWTHS = 200
"""Pauses that grow: after these every pause is the longest that may be configured."""

LOST_AGAIN = (Reason.DEPTH_DISAGREES, Reason.OCCLUDED, Reason.OUT_OF_VIEW)
"""A registration that was good but lost while the tracker caught up with the newest frame: the object is there, so
searching again at once, without backing off, is right."""

Step = tuple[ObjectState, tuple[Action, ...]]


def _enter(s: ObjectState, state: State, reason: Reason, stamp_ns: int, **changes: object) -> ObjectState:
    return replace(
        s, state=state, reason=reason, since_ns=stamp_ns, unheard=0, good=0, occluded=False, busy_since_ns=-1,
        **changes
    )  # type: ignore[arg-type]


def _search(s: ObjectState, reason: Reason, stamp_ns: int, *actions: Action) -> Step:
    s = _enter(s, State.SEARCHING, reason, stamp_ns)
    return replace(s, busy_since_ns=stamp_ns), (*actions, Action.SEARCH)


def _missed(s: ObjectState, reason: Reason, stamp_ns: int, config: RecoveryConfig) -> Step:
    """A search or registration failed: try again at once, or back off once the object counts as absent."""
    misses = s.misses + 1
    s = replace(s, misses=misses)
    if misses < config.absent_after:
        return _search(s, reason, stamp_ns)
    growth = GROWTH ** min(misses - config.absent_after, MAX_GROWTHS)  # any power would be too large for a float
    pause = min(config.backoff * growth, config.backoff_max)
    s = _enter(s, State.ABSENT, Reason.NOT_IN_VIEW if s.state is State.SEARCHING else reason, stamp_ns)
    return replace(s, resume_ns=stamp_ns + round(pause * 1e9)), ()


def _lose(s: ObjectState, reason: Reason, stamp_ns: int) -> ObjectState:
    # A search that is under way beside the track is the next one already.
    epoch = s.next_epoch if s.aside < 0 else s.aside
    return _enter(s, State.LOST, reason, stamp_ns, epoch=epoch, issued=max(epoch, s.issued), misses=0)


def _look_aside(s: ObjectState, stamp_ns: int) -> Step:
    """Search anew while the track goes on, unless that is under way already."""
    if s.aside >= 0:
        return s, ()
    epoch = s.next_epoch
    return replace(s, aside=epoch, issued=epoch, aside_found=False, aside_since_ns=stamp_ns), (Action.SEARCH_ASIDE,)


def _answered_aside(s: ObjectState, event: "SearchDone | RegisterDone", now: int) -> Step:
    if isinstance(event, SearchDone) and (event.found or s.aside_found):
        # The answer may come twice.
        again = () if s.aside_found else (Action.REGISTER_ASIDE,)
        return replace(s, aside_found=True, aside_since_ns=now), again
    if isinstance(event, RegisterDone) and event.registered:
        s = replace(s, epoch=event.epoch, aside=-1)
        if s.state is State.LOST:
            return _enter(s, State.VERIFYING, event.reason, now), ()
        return replace(s, since_ns=now, good=0), ()
    return replace(s, aside=-1), ()


def step(s: ObjectState, event: Event, config: RecoveryConfig) -> Step:
    """Advance one object by one event. Unexpected events leave the state as it is."""
    stamp = event.stamp_ns
    if isinstance(event, Command):
        return _command(s, event)
    if s.state is State.DISABLED or (not isinstance(event, FrameArrived) and event.epoch not in (s.epoch, s.aside)):
        return s, ()
    now = max(stamp, s.stamp_ns)
    s = replace(s, stamp_ns=now, unheard=s.unheard + 1 if isinstance(event, FrameArrived) else s.unheard)
    if not isinstance(event, FrameArrived) and event.epoch == s.aside:
        # Tracks of a registration that has not been heard of yet wait for it.
        return _answered_aside(s, event, now) if isinstance(event, SearchDone | RegisterDone) else (s, ())
    match event:
        case FrameArrived():
            return _frame(s, now, config)
        case SearchDone() if s.state is State.SEARCHING:
            if not event.found:
                return _missed(s, event.reason, now, config)
            s = _enter(s, State.REGISTERING, event.reason, now)
            return replace(s, busy_since_ns=now), (Action.REGISTER,)
        case RegisterDone() if s.state is State.REGISTERING:
            if not event.registered and event.reason in LOST_AGAIN:
                return _search(replace(s, misses=0), event.reason, now)
            if not event.registered:
                return _missed(s, event.reason, now, config)
            return _enter(s, State.VERIFYING, event.reason, now), ()
        case Judged():
            return _judged(s, event, now, config)
        case TrackLost() if s.state in (State.VERIFYING, State.TRACKING, State.SUSPECT):
            return _lose(s, event.reason, now), (Action.STOP_TRACKING,)
    return s, ()


def _frame(s: ObjectState, now: int, config: RecoveryConfig) -> Step:
    match s.state:
        case State.SEARCHING if s.busy_since_ns < 0:
            return replace(s, busy_since_ns=now, since_ns=now), (Action.SEARCH,)
        case State.LOST if s.aside >= 0:
            state = State.REGISTERING if s.aside_found else State.SEARCHING
            return replace(_enter(s, state, s.reason, now), busy_since_ns=now, aside=-1), ()
        case State.LOST if config.reregister:
            return _search(s, s.reason, now)
        case State.ABSENT if now >= s.resume_ns:
            return _search(s, Reason.BACKOFF_OVER, now)
        case State.SEARCHING | State.REGISTERING if (now - s.busy_since_ns) * 1e-9 > config.stage_timeout:
            # The epoch moves on so that an answer that comes after all cannot be mistaken for the new request's.
            return _search(replace(s, epoch=s.next_epoch), Reason.STAGE_TIMEOUT, now)
        case State.TRACKING | State.SUSPECT if s.aside >= 0 and (now - s.aside_since_ns) * 1e-9 > config.stage_timeout:
            s = replace(s, aside=-1)
    return _overdue(s, now, config) if s.unheard > SILENCE else (s, ())


def _overdue(s: ObjectState, now: int, config: RecoveryConfig) -> Step:
    """Lose a pose that had its time to become trusted."""
    age = (now - s.since_ns) * 1e-9
    match s.state:
        case State.VERIFYING if age > config.verify_timeout:
            return _lose(s, Reason.UNCERTAIN, now), (Action.STOP_TRACKING,)
        case State.SUSPECT if age > (config.occluded_timeout if s.occluded else config.suspect_timeout):
            return _lose(s, Reason.OCCLUDED if s.occluded else Reason.SUSPECT_TIMEOUT, now), (Action.STOP_TRACKING,)
    return s, ()


def _judged(s: ObjectState, event: Judged, now: int, config: RecoveryConfig) -> Step:
    good = event.verdict in (Verdict.HEALTHY, Verdict.DEGRADED)
    s = replace(s, unheard=0)
    match s.state:
        case State.VERIFYING:
            if event.verdict is Verdict.LOST:
                return _lose(s, event.reason, now), (Action.STOP_TRACKING,)
            if not good:
                return _overdue(replace(s, good=0), now, config)
            if s.good + 1 >= config.verify_frames:
                return _enter(s, State.TRACKING, Reason.VERIFIED, now, misses=0), ()
            return replace(s, good=s.good + 1), ()
        case State.TRACKING if not good:
            occluded = event.verdict is Verdict.OCCLUDED
            s = replace(_enter(s, State.SUSPECT, event.reason, now), occluded=occluded)
            return _look_aside(s, now) if config.search_suspect and config.reregister and not occluded else (s, ())
        case State.SUSPECT:
            if not good:
                return _overdue(replace(s, good=0, occluded=event.verdict is Verdict.OCCLUDED), now, config)
            if s.good + 1 >= config.recover_frames:
                return _enter(s, State.TRACKING, Reason.CONFIRMED, now), ()
            return replace(s, good=s.good + 1), ()
    return s, ()


def _command(s: ObjectState, event: Command) -> Step:
    """User commands start a new epoch, so that nothing already under way can re-seed the object."""
    fresh = replace(s, epoch=s.next_epoch, aside=-1, misses=0)
    match event.reason:
        case Reason.USER_REREGISTER if s.state in (State.TRACKING, State.SUSPECT):
            return _look_aside(s, event.stamp_ns)
        case Reason.USER_DISABLED:
            return _enter(fresh, State.DISABLED, event.reason, event.stamp_ns), (Action.STOP_TRACKING,)
        case Reason.USER_ENABLED if s.state is not State.DISABLED:
            return s, ()
        case Reason.USER_ENABLED | Reason.USER_RESET | Reason.USER_REREGISTER:
            if s.state is State.DISABLED and event.reason is not Reason.USER_ENABLED:
                return s, ()
            return _search(fresh, event.reason, event.stamp_ns, Action.STOP_TRACKING)
    return s, ()
