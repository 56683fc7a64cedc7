"""What was published about one object as arrays over the frames of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.recovery.machine import State
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput

_PUBLISHING = (State.TRACKING.value, State.SUSPECT.value)
_BY_USER = (Reason.USER_RESET, Reason.USER_REREGISTER, Reason.USER_DISABLED)


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectSeries:
    """One entry per frame; all arrays (N, ...).

    Attributes:
      stamps_ns: of the frames [ns]. pose_stamps_ns: what the published pose says about its own time [ns].
      answered: something was published for this frame; False for a frame that was dropped, also when the nodes were
        tracking but no pose of it came.
      published: with a pose. trusted, coasting: published with a pose marked so.
      cam_from_obj: (N, 4, 4) [m], nan without a pose. covariance: (N, 6, 6), nan without one.
      probability: nan where the system gave none.
      reregistered: a new registration was found after the object had been trusted before; None when the system does
        not say what it does.
      commanded: a user took the trust away.
    """

    stamps_ns: NDArray[np.int64]
    pose_stamps_ns: NDArray[np.int64]
    answered: NDArray[np.bool_]
    published: NDArray[np.bool_]
    trusted: NDArray[np.bool_]
    coasting: NDArray[np.bool_]
    cam_from_obj: NDArray[np.float64]
    covariance: NDArray[np.float64]
    probability: NDArray[np.float64]
    reregistered: NDArray[np.bool_] | None
    commanded: NDArray[np.bool_]


def object_items(outputs: Sequence[StepOutput], name: str) -> list[ObjectOutput]:
    """The outputs of one object, one per frame; a frame nobody answered (dropped in real time) has no pose."""
    return [next((i for i in o.objects if i.object_name == name), _silence(o.stamp_ns, name)) for o in outputs]


def object_series(outputs: Sequence[StepOutput], name: str) -> ObjectSeries:
    """The series of one object."""
    items = object_items(outputs, name)
    poses = [i.cam_from_obj for i in items]
    published = np.array([p is not None for p in poses], bool)
    trusted = np.array([i.trusted for i in items], bool) & published
    return ObjectSeries(
        stamps_ns=np.array([o.stamp_ns for o in outputs], np.int64),
        pose_stamps_ns=np.array([i.stamp_ns for i in items], np.int64),
        answered=np.array([any(i.object_name == name for i in o.objects) for o in outputs], bool) & (
            published | ~np.array([i.state in _PUBLISHING for i in items], bool)),
        published=published, trusted=trusted, coasting=np.array([i.coasting for i in items], bool) & published,
        cam_from_obj=_stacked(poses, (4, 4)), covariance=_stacked([i.covariance for i in items], (6, 6)),
        probability=np.array([i.probability for i in items], float),
        reregistered=_reregistered(outputs, items, trusted, name),
        commanded=np.array([i.reason in _BY_USER for i in items], bool))


def _reregistered(outputs: Sequence[StepOutput], items: Sequence[ObjectOutput], trusted: NDArray[np.bool_],
                  name: str) -> NDArray[np.bool_] | None:
    if not any(i.state in State.__members__ for i in items):
        return None
    entered = np.array([any(t.object_name == name and t.after == State.VERIFYING.value for t in o.transitions)
                        for o in outputs], bool)
    return entered & (np.cumsum(trusted) - trusted > 0)


def _stacked(values: Sequence[NDArray[np.float64] | None], shape: tuple[int, int]) -> NDArray[np.float64]:
    out = np.full((len(values), *shape), np.nan)
    for k, value in enumerate(values):
        if value is not None:
            out[k] = value
    return out


def _silence(stamp_ns: int, name: str) -> ObjectOutput:
    return ObjectOutput(object_name=name, stamp_ns=stamp_ns, state="UNKNOWN", reason=Reason.INPUT_TIMEOUT,
                        cam_from_obj=None, covariance=None, probability=0.0, trusted=False, coasting=False,
                        evidence=Evidence())
