"""What the nodes tell each other beside poses, as diagnostic_msgs: requests, answers, judgements, status."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray

from storm_core.errors import InputError
from storm_core.recovery.machine import Action, ObjectState, State
from storm_core.types import Evidence, Judgement, Reason, Verdict
from storm_ros.conversions import header, stamp_ns

NOBODY = np.zeros((0, 4, 4))
"""Poses of no object."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """The supervisor wants something done for an object.

    Attributes:
      stamp_ns: of a search: no frame older than this will do. Of a registration: the localization's stamp.
      cam_from_obj: last pose that was trusted, (4, 4), or None.
      others: of a search: where other objects of this mesh are (K, 4, 4); none of them is meant.
    """

    object_name: str
    action: Action
    epoch: int
    stamp_ns: int
    cam_from_obj: NDArray[np.float64] | None = None
    others: NDArray[np.float64] = field(default_factory=lambda: NOBODY)


class Stage(str, Enum):
    """Who answers. SEARCHING announces the frame that a search works on."""

    SEARCHING = "searching"
    SEARCH = "search"
    REGISTER = "register"
    TRACK = "track"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a request ended, or why a track did; stamp_ns: of the frame it is about."""

    object_name: str
    stage: Stage
    epoch: int
    stamp_ns: int
    ok: bool
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A judgement and the epoch of the track it is about."""

    judgement: Judgement
    epoch: int


def status(name: str, message: str, values: Mapping[str, object],
           level: bytes = DiagnosticStatus.OK) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=f"{value:.6g}" if isinstance(value, float) else str(value))
             for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)


def values_of(entry: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in entry.values}


def request_messages(requests: Sequence[Request]) -> list[DiagnosticArray]:
    """As few messages as keep the order: many objects may want something at once, and queues are finite."""
    return [DiagnosticArray(header=header(stamp, ""), status=[_request_entry(request) for request in alike])
            for stamp, alike in groupby(requests, lambda request: request.stamp_ns)]


def _request_entry(request: Request) -> DiagnosticStatus:
    values: dict[str, object] = {"epoch": request.epoch}
    if request.cam_from_obj is not None:
        values["cam_from_obj"] = _poses_text(request.cam_from_obj)
    if len(request.others):
        values["others"] = _poses_text(request.others)
    return status(request.object_name, request.action.value, values)


def read_requests(message: DiagnosticArray) -> list[Request]:
    with naming("request"):
        out = []
        for entry in message.status:
            values = values_of(entry)
            pose = _poses(values["cam_from_obj"])[0] if "cam_from_obj" in values else None
            others = _poses(values["others"]) if "others" in values else NOBODY
            out.append(Request(object_name=entry.name, action=Action(entry.message), epoch=int(values["epoch"]),
                               stamp_ns=stamp_ns(message.header.stamp), cam_from_obj=pose, others=others))
        return out


def _poses_text(poses: NDArray[np.float64]) -> str:
    return " ".join(repr(float(v)) for v in poses.ravel())


def _poses(text: str) -> NDArray[np.float64]:
    return np.array([float(v) for v in text.split()]).reshape(-1, 4, 4)


def answer_message(answer: Answer) -> DiagnosticArray:
    values = {"epoch": answer.epoch, "found": str(answer.ok).lower(), "reason": answer.reason.value,
              "detail": answer.detail}
    return DiagnosticArray(header=header(answer.stamp_ns, ""),
                           status=[status(answer.object_name, answer.stage.value, values)])


def read_answers(message: DiagnosticArray) -> list[Answer]:
    with naming("answer"):
        out = []
        for entry in message.status:
            values = values_of(entry)
            out.append(Answer(object_name=entry.name, stage=Stage(entry.message), epoch=int(values["epoch"]),
                              stamp_ns=stamp_ns(message.header.stamp), ok=values["found"] == "true",
                              reason=Reason(values["reason"]), detail=values["detail"]))
        return out


_EVIDENCE = "evidence."


def judgements_message(judged: Sequence[Judged], stamp: int, frame_id: str) -> DiagnosticArray:
    entries = []
    for item in judged:
        j = item.judgement
        values = {"epoch": item.epoch, "reason": j.reason.value, "probability": j.probability}
        entries.append(status(j.object_name, j.verdict.value, values | _evidence_values(j.evidence)))
    return DiagnosticArray(header=header(stamp, frame_id), status=entries)


def read_judgements(message: DiagnosticArray) -> list[Judged]:
    with naming("judgement"):
        out = []
        for entry in message.status:
            values = values_of(entry)
            judgement = Judgement(
                object_name=entry.name, stamp_ns=stamp_ns(message.header.stamp), verdict=Verdict(entry.message),
                probability=float(values["probability"]), reason=Reason(values["reason"]), evidence=_evidence(values))
            out.append(Judged(judgement=judgement, epoch=int(values["epoch"])))
        return out


def _evidence_values(evidence: Evidence) -> dict[str, float]:
    return {_EVIDENCE + name: value for name, value in evidence.as_dict().items()}


def _evidence(values: Mapping[str, str]) -> Evidence:
    return Evidence(**{key.removeprefix(_EVIDENCE): float(value) for key, value in values.items()
                       if key.startswith(_EVIDENCE)})


_LEVELS = {State.TRACKING: DiagnosticStatus.OK, State.LOST: DiagnosticStatus.ERROR,
           State.DISABLED: DiagnosticStatus.STALE}


def object_status(name: str, state: ObjectState, judgement: Judgement | None, detail: str,
                  before: State, missing: Sequence[Reason] = (), withheld: str = "") -> DiagnosticStatus:
    """Public status of one object: state, reason, evidence of its newest judgement.

    missing: modalities that said nothing about it in the newest frame; without one of them a track is a warning.
    withheld: why its pose is not published although it is tracked.
    """
    silent = bool(withheld) and state.trusted
    lacking = ", ".join(reason.value for reason in missing)
    values: dict[str, object] = {
        "state": state.state.value, "reason": state.reason.value, "previous_state": before.value, "epoch": state.epoch,
        "trusted": str(state.trusted and not silent).lower(), "coasting": str(state.coasting).lower(),
        "since_ns": state.since_ns, "detail": withheld if silent else detail, "missing": lacking}
    if judgement is not None:
        values |= {"verdict": judgement.verdict.value, "probability": judgement.probability,
                   "judged_ns": judgement.stamp_ns} | _evidence_values(judgement.evidence)
    level = DiagnosticStatus.WARN if (lacking or silent) and state.state is State.TRACKING else \
        _LEVELS.get(state.state, DiagnosticStatus.WARN)
    return status(name, f"{state.state.value}: {state.reason.value}" + (f" ({lacking})" if lacking else ""), values,
                  level)


@contextmanager
def naming(kind: str) -> Iterator[None]:
    """Turns what a malformed message does to its reader into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"malformed {kind} message ({error}); do all nodes run the same version?") from error
