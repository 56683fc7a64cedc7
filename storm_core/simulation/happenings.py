"""What happens to the object of a failure scene: it is moved, taken away or exchanged while it cannot be seen."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.pose import so3_exp
from storm_core.simulation.itinerary import EVENT
from storm_core.simulation.object_pool import PoolObject
from storm_core.simulation.scenarios import Motion
from storm_core.simulation.scene import Body
from storm_core.simulation.table_layout import footprint

Pose = NDArray[np.float64]

PARKED = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -5.0], [0, 0, 0, 1]])
"""world_from_obj far below the floor."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that a tracker should notice, from one time to another [s] after the first frame."""

    kind: str
    from_s: float
    to_s: float


@dataclass(frozen=True, eq=False)
class Thing:
    """A body on or above the table.

    Attributes:
      label: in the annotations, None for props. obj_id: BOP id, 0 for props. motion: of a body that moves.
      present: (from, to) [s] when it is not there all the time.
    """

    body: Body
    label: str | None = None
    obj_id: int = 0
    motion: Motion | None = None
    present: tuple[float, float] | None = None

    @property
    def middle(self) -> NDArray[np.float64]:
        """Centre of the footprint on the table (2,) [m]."""
        pose = self.body.world_from_obj
        points = (self.body.model.vertices @ pose[:3, :3].T + pose[:3, 3])[:, :2]
        return (points.min(0) + points.max(0)) / 2


@dataclass(frozen=True, eq=False, kw_only=True)
class Happening:
    """Attributes:
    things: the target and what takes its place. around: neighbours that are not in the way of it.
    places: the target wherever it will be, to keep the view of it free.
    """

    things: list[Thing]
    around: list[Thing]
    places: list[Body]
    events: tuple[Event, ...]


def label_of(made: PoolObject, number: int = 1) -> str | None:
    """Label of the first, second... instance of an object; None for props."""
    if made.role == "prop":
        return None
    return made.model.name if number == 1 else f"{made.model.name}_{number}"


def happening(kind: str, target: Thing, around: list[Thing], twin: PoolObject | None, duration: float,
              rng: np.random.Generator) -> Happening:
    """What an event (a value of the axis `event`) does to the target and its look-alike."""
    start, end = (share * duration for share in EVENT)
    events = () if kind == "none" else (Event(kind=kind, from_s=round(start, 6), to_s=round(end, 6)),)
    unseen = (start + end) / 2
    here, moving = target.body.world_from_obj, replace(target.body, moving=True)
    things, places = [target], [target.body]
    if kind == "moved":
        there = _elsewhere(target, around, rng)
        things = [replace(target, body=moving, motion=partial(_changing, here, there, unseen))]
        places.append(replace(target.body, world_from_obj=there))
        around = [thing for thing in around if not _touch(thing, Thing(places[1]))]
    elif kind in ("removed", "swapped"):
        things = [replace(target, body=moving, motion=partial(_changing, here, PARKED, unseen),
                          present=(-np.inf, unseen))]
    if kind == "swapped" and twin is not None:
        things.append(Thing(replace(moving, model=twin.model), label_of(twin), twin.obj_id,
                            partial(_changing, PARKED, here, unseen), (unseen, np.inf)))
    return Happening(things=things, around=around, places=places, events=events)


def _elsewhere(target: Thing, around: list[Thing], rng: np.random.Generator) -> Pose:
    """The target a hand's breadth further on, on the freest side, turned by 40 to 115 degrees."""
    taken = np.array([thing.middle for thing in around] or [(9.0, 9.0)])
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False) + rng.uniform(0, 0.5)
    steps = 0.08 * np.stack([np.cos(angles), np.sin(angles)], 1)
    free = np.linalg.norm((target.middle + steps)[:, None] - taken, axis=-1).min(1)
    turn = so3_exp([0, 0, rng.choice([-1, 1]) * rng.uniform(0.7, 2.0)])
    pose, middle = target.body.world_from_obj.copy(), np.array([*target.middle, 0.0])
    pose[:3, :3] = turn @ pose[:3, :3]
    pose[:3, 3] = turn @ (pose[:3, 3] - middle) + middle + [*steps[free.argmax()], 0.0]
    return pose


def _touch(a: Thing, b: Thing) -> bool:
    reach = sum(footprint(thing.body.model, thing.body.world_from_obj) for thing in (a, b))
    return bool(np.linalg.norm(a.middle - b.middle) < reach)


def _changing(before: Pose, after: Pose, change: float, t: float) -> Pose:
    return before if t < change else after
