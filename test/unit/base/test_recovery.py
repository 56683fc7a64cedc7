"""The recovery state machine: invariants under any sequence of events, and scripted stories."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.config import RecoveryConfig
from storm_core.recovery.machine import (
    SILENCE,
    Action,
    Command,
    Event,
    FrameArrived,
    Judged,
    ObjectState,
    RegisterDone,
    SearchDone,
    State,
    Step,
    TrackLost,
    step,
)
from storm_core.types import Reason, Verdict

CONFIG = RecoveryConfig(verify_frames=2, verify_timeout=1.0, recover_frames=2, suspect_timeout=0.25,
                        occluded_timeout=1.0, stage_timeout=10.0, absent_after=3, backoff=0.2, backoff_max=0.5)
COMMANDS = (Reason.USER_REREGISTER, Reason.USER_RESET, Reason.USER_ENABLED, Reason.USER_DISABLED)
TRACKED = {State.VERIFYING, State.TRACKING, State.SUSPECT}
MS = 1_000_000


class Story:
    """One object, driven by hand; remembers what it was told to do."""

    def __init__(self, config: RecoveryConfig = CONFIG) -> None:
        self.config, self.state, self.stamp = config, ObjectState(), 0
        self.actions: tuple[Action, ...] = ()

    def tell(self, kind: type, after_ms: int = 0, **fields: object) -> "Story":
        self.stamp += after_ms * MS
        if kind not in (FrameArrived, Command) and "epoch" not in fields:
            fields["epoch"] = self.state.epoch
        self.state, self.actions = step(self.state, kind(stamp_ns=self.stamp, **fields), self.config)
        return self

    def frame(self, after_ms: int = 33) -> "Story":
        return self.tell(FrameArrived, after_ms)

    def judged(self, verdict: Verdict, reason: Reason = Reason.DEPTH_DISAGREES) -> "Story":
        return self.tell(Judged, 33, verdict=verdict, reason=reason)

    def to_verifying(self) -> "Story":
        return (self.frame().tell(SearchDone, 100, found=True, reason=Reason.FOUND)
                .tell(RegisterDone, 100, registered=True, reason=Reason.REGISTERED))

    def to_tracking(self) -> "Story":
        return self.to_verifying().judged(Verdict.HEALTHY).judged(Verdict.HEALTHY)

    def is_in(self, state: State, reason: Reason | None = None) -> bool:
        assert self.state.state is state, f"in {self.state.state}, expected {state}"
        assert reason is None or self.state.reason is reason, f"because {self.state.reason}, expected {reason}"
        return True


def test_the_good_story() -> None:
    s = Story().frame()
    assert s.is_in(State.SEARCHING) and s.actions == (Action.SEARCH,)
    s.tell(SearchDone, 100, found=True, reason=Reason.FOUND)
    assert s.is_in(State.REGISTERING, Reason.FOUND) and s.actions == (Action.REGISTER,)
    s.tell(RegisterDone, 100, registered=True, reason=Reason.REGISTERED)
    assert s.is_in(State.VERIFYING) and not s.actions and not s.state.trusted
    assert s.judged(Verdict.HEALTHY).is_in(State.VERIFYING)
    assert s.judged(Verdict.HEALTHY).is_in(State.TRACKING, Reason.VERIFIED) and s.state.trusted


def test_one_request_at_a_time() -> None:
    s = Story().frame()
    for _ in range(20):
        assert not s.frame().actions


def test_doubt_then_confirmation() -> None:
    s = Story().to_tracking().judged(Verdict.LOST)
    assert s.is_in(State.SUSPECT, Reason.DEPTH_DISAGREES) and s.state.coasting and not s.state.trusted
    assert s.judged(Verdict.HEALTHY).is_in(State.SUSPECT)
    assert s.judged(Verdict.LOST).judged(Verdict.HEALTHY).is_in(State.SUSPECT), "healthy frames must follow each other"
    assert s.judged(Verdict.HEALTHY).is_in(State.TRACKING, Reason.CONFIRMED)


def test_a_degraded_pose_is_still_tracked() -> None:
    assert Story().to_tracking().judged(Verdict.DEGRADED).is_in(State.TRACKING)


def test_doubt_ends_in_loss_and_a_new_search() -> None:
    s = Story().to_tracking().judged(Verdict.LOST)
    epoch = s.state.epoch
    assert s.frame(200).judged(Verdict.LOST).is_in(State.SUSPECT)
    assert s.frame(100).is_in(State.SUSPECT), "nothing was said of this frame yet"
    s.judged(Verdict.LOST)
    assert s.is_in(State.LOST, Reason.SUSPECT_TIMEOUT) and s.actions == (Action.STOP_TRACKING,)
    assert s.state.epoch == epoch + 1
    assert s.frame().is_in(State.SEARCHING) and s.actions == (Action.SEARCH,)


@pytest.mark.parametrize("gap_ms", [33, 100, 1067])
def test_one_doubt_is_no_loss_however_slow_the_camera_is(gap_ms: int) -> None:
    s = Story().to_tracking().judged(Verdict.LOST)
    s.frame(gap_ms)
    assert s.is_in(State.SUSPECT), "what the next frame says is waited for"
    assert s.judged(Verdict.HEALTHY).frame(gap_ms).judged(Verdict.HEALTHY).is_in(State.TRACKING, Reason.CONFIRMED)
    s.judged(Verdict.LOST).frame(gap_ms).judged(Verdict.LOST)
    assert s.is_in(State.LOST if gap_ms > 250 else State.SUSPECT)


def test_a_doubted_pose_of_which_nothing_is_heard_any_more_is_lost() -> None:
    s = Story().to_tracking().judged(Verdict.LOST)
    for _ in range(SILENCE):
        assert s.frame(100).is_in(State.SUSPECT)
    assert s.frame(100).is_in(State.LOST, Reason.SUSPECT_TIMEOUT)
    s = Story().to_verifying()
    for _ in range(SILENCE):
        assert s.frame(300).is_in(State.VERIFYING)
    assert s.frame(300).is_in(State.LOST, Reason.UNCERTAIN)


def test_an_occluded_object_coasts_longer() -> None:
    s = Story().to_tracking().judged(Verdict.OCCLUDED, Reason.OCCLUDED)
    assert s.frame(900).judged(Verdict.OCCLUDED).is_in(State.SUSPECT)
    assert s.frame(200).judged(Verdict.OCCLUDED).is_in(State.LOST, Reason.OCCLUDED)


def test_a_registration_that_does_not_prove_itself() -> None:
    assert Story().to_verifying().judged(Verdict.LOST).is_in(State.LOST)
    s = Story().to_verifying().judged(Verdict.OCCLUDED)
    assert s.frame(900).judged(Verdict.OCCLUDED).is_in(State.VERIFYING)
    s.frame(200).judged(Verdict.OCCLUDED)
    assert s.is_in(State.LOST, Reason.UNCERTAIN) and s.actions == (Action.STOP_TRACKING,)


def reregistering() -> Story:
    s = Story().to_tracking().tell(Command, 33, reason=Reason.USER_REREGISTER)
    assert s.is_in(State.TRACKING) and s.actions == (Action.SEARCH_ASIDE,) and s.state.aside == s.state.epoch + 1
    return s


def aside(s: Story, kind: type, **fields: object) -> Story:
    return s.tell(kind, 33, epoch=s.state.aside, **fields)


def test_a_registration_beside_a_track_takes_its_place_without_a_gap() -> None:
    s = reregistering()
    epoch = s.state.epoch
    assert not s.tell(Command, 5, reason=Reason.USER_REREGISTER).actions, "one at a time"
    assert s.judged(Verdict.HEALTHY).is_in(State.TRACKING)
    aside(s, SearchDone, found=True, reason=Reason.FOUND)
    assert s.is_in(State.TRACKING) and s.actions == (Action.REGISTER_ASIDE,)
    assert not aside(s, SearchDone, found=True, reason=Reason.FOUND).actions, "the answer came twice"
    aside(s, Judged, verdict=Verdict.LOST, reason=Reason.DEPTH_DISAGREES)
    assert s.is_in(State.TRACKING), "a track whose registration has not been heard of"
    aside(s, RegisterDone, registered=True, reason=Reason.REGISTERED)
    assert s.is_in(State.TRACKING) and s.state.epoch == epoch + 1 and s.state.aside == -1
    assert s.tell(Judged, 1, epoch=epoch, verdict=Verdict.LOST, reason=Reason.OCCLUDED).is_in(State.TRACKING)
    assert s.judged(Verdict.LOST).is_in(State.SUSPECT), "the new registration is judged like any other"


@pytest.mark.parametrize("found", [True, False])
def test_a_registration_beside_a_track_that_fails_changes_nothing(found: bool) -> None:
    s = reregistering()
    epoch = s.state.epoch
    aside(s, SearchDone, found=found, reason=Reason.NO_CANDIDATE)
    if found:
        aside(s, RegisterDone, registered=False, reason=Reason.AMBIGUOUS)
    assert s.is_in(State.TRACKING) and s.state.epoch == epoch and s.state.aside == -1
    s.tell(Command, 5, reason=Reason.USER_REREGISTER)
    assert s.state.aside == epoch + 2, "nothing is ever asked twice under one epoch"


@pytest.mark.parametrize("found", [True, False])
def test_a_suspect_is_looked_for_while_it_coasts_and_the_search_outlives_the_loss(found: bool) -> None:
    s = Story(replace(CONFIG, search_suspect=True)).to_tracking().judged(Verdict.LOST)
    assert s.is_in(State.SUSPECT) and s.actions == (Action.SEARCH_ASIDE,)
    asked = s.state.aside
    if found:
        aside(s, SearchDone, found=True, reason=Reason.FOUND)
    s.frame(300).judged(Verdict.LOST)
    assert s.is_in(State.LOST) and s.actions == (Action.STOP_TRACKING,) and s.state.epoch == asked
    assert s.frame().is_in(State.REGISTERING if found else State.SEARCHING) and not s.actions, "asked already"
    if not found:
        assert s.tell(SearchDone, 10, found=True, reason=Reason.FOUND).actions == (Action.REGISTER,)
    assert s.tell(RegisterDone, 10, registered=True, reason=Reason.REGISTERED).is_in(State.VERIFYING)


def test_a_registration_that_ends_in_the_frame_of_the_loss_counts() -> None:
    s = Story(replace(CONFIG, search_suspect=True)).to_tracking().judged(Verdict.LOST)
    aside(s, SearchDone, found=True, reason=Reason.FOUND).frame(300).judged(Verdict.LOST)
    assert s.is_in(State.LOST)
    assert s.tell(RegisterDone, 1, registered=True, reason=Reason.REGISTERED).is_in(State.VERIFYING)


def test_a_reset_drops_what_is_under_way_beside_the_track() -> None:
    s = reregistering()
    asked = s.state.aside
    s.tell(Command, 1, reason=Reason.USER_RESET)
    assert s.is_in(State.SEARCHING) and s.state.epoch > asked and s.state.aside == -1
    epoch = s.state.epoch
    s.tell(SearchDone, 1, epoch=asked, found=True, reason=Reason.FOUND)
    s.tell(RegisterDone, 1, epoch=asked, registered=True, reason=Reason.REGISTERED)
    assert s.is_in(State.SEARCHING) and s.state.epoch == epoch


def miss(s: Story) -> Story:
    return s.tell(SearchDone, 100, found=False, reason=Reason.NO_CANDIDATE)


def test_absent_objects_are_searched_with_growing_pauses() -> None:
    s = Story().frame()
    for _ in range(2):
        assert miss(s).is_in(State.SEARCHING, Reason.NO_CANDIDATE) and s.actions == (Action.SEARCH,)
    pauses = []
    for _ in range(13):
        assert miss(s).is_in(State.ABSENT, Reason.NOT_IN_VIEW) and not s.actions
        start = s.stamp
        while s.frame(10).state.state is State.ABSENT:
            assert not s.actions
        pauses.append((s.stamp - start) // MS)
        assert s.is_in(State.SEARCHING, Reason.BACKOFF_OVER) and s.actions == (Action.SEARCH,)
    assert pauses[:3] == [200, 220, 250] and pauses[-2:] == [500, 500]  # frames come every 10 ms here
    assert all(a <= b <= 1.1 * a + 10 for a, b in pairwise(pauses))


def test_tracking_again_forgets_old_misses() -> None:
    s = Story().frame()
    miss(miss(s)).tell(SearchDone, 10, found=True, reason=Reason.FOUND)
    s.tell(RegisterDone, 10, registered=True, reason=Reason.REGISTERED)
    s.judged(Verdict.HEALTHY).judged(Verdict.HEALTHY)
    assert s.is_in(State.TRACKING) and s.state.misses == 0


def test_a_failed_registration_counts_as_a_miss() -> None:
    s = Story().frame()
    for wanted in (State.SEARCHING, State.SEARCHING, State.ABSENT):
        s.tell(SearchDone, 10, found=True, reason=Reason.FOUND)
        s.tell(RegisterDone, 10, registered=False, reason=Reason.NOT_CONVERGED)
        assert s.is_in(wanted)
    assert s.state.reason is Reason.NOT_CONVERGED


def test_an_object_lost_while_catching_up_is_searched_at_once() -> None:
    s = Story().frame()
    for _ in range(5):
        s.tell(SearchDone, 10, found=True, reason=Reason.FOUND)
        s.tell(RegisterDone, 10, registered=False, reason=Reason.DEPTH_DISAGREES)
        assert s.is_in(State.SEARCHING, Reason.DEPTH_DISAGREES) and s.actions == (Action.SEARCH,)
        assert s.state.misses == 0


def test_an_answer_that_never_comes() -> None:
    s = Story().frame()
    epoch = s.state.epoch
    assert not s.frame(9_900).actions
    s.frame(200)
    assert s.actions == (Action.SEARCH,) and s.state.reason is Reason.STAGE_TIMEOUT and s.state.epoch == epoch + 1
    before = s.state
    s.tell(SearchDone, epoch=epoch, found=True, reason=Reason.FOUND)
    assert s.state == before, "the late answer of the old request is not mistaken for the new one's"


@pytest.mark.parametrize("command", [Reason.USER_RESET, Reason.USER_REREGISTER])
def test_a_user_starts_over_and_old_answers_are_dropped(command: Reason) -> None:
    s = Story().frame().tell(SearchDone, 10, found=True, reason=Reason.FOUND)
    epoch = s.state.epoch
    s.tell(Command, reason=command)
    assert s.is_in(State.SEARCHING, command) and s.actions == (Action.STOP_TRACKING, Action.SEARCH)
    s.tell(RegisterDone, epoch=epoch, registered=True, reason=Reason.REGISTERED)
    assert s.is_in(State.SEARCHING) and not s.actions


def test_disabled_objects_sleep_until_enabled() -> None:
    s = Story().to_tracking().tell(Command, reason=Reason.USER_DISABLED)
    assert s.is_in(State.DISABLED, Reason.USER_DISABLED) and s.actions == (Action.STOP_TRACKING,)
    for command in (Reason.USER_RESET, Reason.USER_REREGISTER):
        assert s.tell(Command, reason=command).is_in(State.DISABLED)
    assert s.frame(60_000).is_in(State.DISABLED) and not s.actions
    assert s.tell(Command, reason=Reason.USER_ENABLED).is_in(State.SEARCHING) and Action.SEARCH in s.actions


def test_enabling_an_enabled_object_disturbs_nothing() -> None:
    s = Story().to_tracking()
    before = s.state
    assert s.tell(Command, reason=Reason.USER_ENABLED).state == before and not s.actions


stamps = st.integers(0, 20_000).map(lambda ms: ms * MS)
epochs = st.integers(0, 6)
reasons = st.sampled_from([Reason.FOUND, Reason.NO_CANDIDATE, Reason.DEPTH_DISAGREES])
events = st.one_of(
    st.builds(FrameArrived, stamp_ns=stamps),
    st.builds(SearchDone, stamp_ns=stamps, epoch=epochs, found=st.booleans(), reason=reasons),
    st.builds(RegisterDone, stamp_ns=stamps, epoch=epochs, registered=st.booleans(), reason=reasons),
    st.builds(Judged, stamp_ns=stamps, epoch=epochs, verdict=st.sampled_from(Verdict), reason=reasons),
    st.builds(TrackLost, stamp_ns=stamps, epoch=epochs, reason=reasons),
    st.builds(Command, stamp_ns=stamps, reason=st.sampled_from(COMMANDS)),
)


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[ObjectState, Event, Step]]:
    """Any sequence of events, stamps mostly in order; results carry the current epoch more often than a stale one."""
    state, life, now = ObjectState(), [], 0
    for event in draw(st.lists(events, min_size=1, max_size=60)):
        if draw(st.integers(0, 9)):
            now += draw(st.integers(0, 400)) * MS
            changes: dict[str, object] = {"stamp_ns": now}
            if hasattr(event, "epoch") and draw(st.integers(0, 3)):
                changes["epoch"] = state.epoch
            event = type(event)(**{**vars(event), **changes})
        result = step(state, event, CONFIG)
        life.append((state, event, result))
        state = result[0]
    return life


@settings(max_examples=400)
@given(lives())
def test_invariants_of_any_life(life: list[tuple[ObjectState, Event, Step]]) -> None:
    outstanding: tuple[int, Action] | None = None
    for before, event, (after, actions) in life:
        fresh = not hasattr(event, "epoch") or event.epoch == before.epoch
        if not fresh:
            assert after == before and not actions, "a stale result changes nothing"
        if before.state is State.DISABLED and after.state is not State.DISABLED:
            assert isinstance(event, Command) and event.reason is Reason.USER_ENABLED
        if after.state is State.TRACKING and before.state is not State.TRACKING:
            assert before.state in (State.VERIFYING, State.SUSPECT) and isinstance(event, Judged)
            assert event.verdict in (Verdict.HEALTHY, Verdict.DEGRADED)
        if after.state is State.VERIFYING and before.state is not State.VERIFYING:
            assert before.state is State.REGISTERING and isinstance(event, RegisterDone) and event.registered
        if after.state is State.SUSPECT and before.state is not State.SUSPECT:
            assert before.state is State.TRACKING
        if before.state in TRACKED and after.state not in TRACKED:
            assert Action.STOP_TRACKING in actions and after.epoch > before.epoch
        assert after.epoch >= before.epoch and after.misses >= 0
        assert after.trusted == (after.state is State.TRACKING)

        if isinstance(event, SearchDone | RegisterDone) and fresh and outstanding and outstanding[0] == event.epoch:
            wanted = SearchDone if outstanding[1] is Action.SEARCH else RegisterDone
            outstanding = None if isinstance(event, wanted) else outstanding
        if outstanding and after.epoch > outstanding[0]:
            outstanding = None  # the caller drops what belongs to an older epoch
        requests = [action for action in actions if action in (Action.SEARCH, Action.REGISTER)]
        assert len(requests) <= 1
        if requests:
            assert outstanding is None, "at most one request is out in one epoch"
            outstanding = (after.epoch, requests[0])
            assert after.state is (State.SEARCHING if requests[0] is Action.SEARCH else State.REGISTERING)
        assert (after.busy_since_ns >= 0) <= (after.state in (State.SEARCHING, State.REGISTERING))


@settings(max_examples=200)
@given(lives())
def test_no_life_ends_in_a_dead_end(life: list[tuple[ObjectState, Event, Step]]) -> None:
    """From every reachable state, a visible object and answering stages lead to tracking (after enabling)."""
    state = life[-1][2][0]
    now = max(state.stamp_ns, state.since_ns, state.resume_ns, *(event.stamp_ns for _, event, _ in life))
    state, actions = step(state, Command(stamp_ns=now, reason=Reason.USER_ENABLED), CONFIG)
    for _ in range(60):
        now += 500 * MS
        if Action.SEARCH in actions:
            event: Event = SearchDone(stamp_ns=now, epoch=state.epoch, found=True, reason=Reason.FOUND)
        elif Action.REGISTER in actions:
            event = RegisterDone(stamp_ns=now, epoch=state.epoch, registered=True, reason=Reason.REGISTERED)
        elif state.state in TRACKED:
            event = Judged(stamp_ns=now, epoch=state.epoch, verdict=Verdict.HEALTHY, reason=Reason.CONFIRMED)
        else:
            event = FrameArrived(stamp_ns=now)
        state, actions = step(state, event, CONFIG)
        if state.state is State.TRACKING:
            break
    assert state.state is State.TRACKING, f"still {state}"


def test_hours_of_absence_are_no_trouble() -> None:
    state = replace(ObjectState(), state=State.SEARCHING, misses=1_000_000, busy_since_ns=0)
    state, _ = step(state, SearchDone(stamp_ns=MS, epoch=state.epoch, found=False, reason=Reason.NO_CANDIDATE), CONFIG)
    assert state.state is State.ABSENT
    assert state.resume_ns - MS == CONFIG.backoff_max * 1e9
