"""Where the objects of one mesh are: nobody can tell them apart, so that each must keep a place of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.recovery.machine import ObjectState, State

HOLDING = (State.REGISTERING, State.VERIFYING, State.TRACKING, State.SUSPECT)
"""States in which an object has a place."""

THINNEST, NEAR = 0.7, 0.15
"""Two solid objects cannot be nearer to each other than their least thickness; one pose found twice is never further
apart than a fraction of the diameter."""


@dataclass(frozen=True, eq=False)
class _Held:
    """rank: (not trusted, number of the taking); of two objects at one place the higher one has to go."""

    center: NDArray[np.float64]
    cam_from_obj: NDArray[np.float64]
    rank: tuple[bool, int]


class Places:
    """The places of all objects in one camera. Objects whose meshes are equal are told apart by them alone."""

    def __init__(self, models: Mapping[str, ObjectModel] = {}) -> None:
        self._held: dict[str, _Held] = {}
        self._count = 0
        self.renew(models)

    def renew(self, models: Mapping[str, ObjectModel]) -> None:
        """Other objects from now on."""
        self._models = dict(models)
        self._alike = {name: [other for other, twin in models.items() if other != name and twin.sha256 == model.sha256]
                       for name, model in models.items()}
        self._held = {name: held for name, held in self._held.items() if name in self._models}

    def take(self, object_name: str, cam_from_obj: NDArray[np.float64], state: ObjectState) -> str | None:
        """An object in this state is at this pose (4, 4). Returns another of the same mesh whose place this is, if any.

        Trusted ones come before others, and older ones before younger ones.
        """
        alike = self._alike.get(object_name)
        if not alike:
            return None
        model = self._models[object_name]
        before = self._held.get(object_name)
        if before is None:
            self._count += 1
        number = self._count if before is None else before.rank[1]
        held = _Held(cam_from_obj[:3, :3] @ model.center + cam_from_obj[:3, 3], cam_from_obj,
                     (not state.trusted, number))
        reach = max(THINNEST * model.thickness, NEAR * model.diameter)
        for other in alike:
            there = self._held.get(other)
            if there and np.linalg.norm(there.center - held.center) < reach and there.rank < held.rank:
                return other
        self._held[object_name] = held
        return None

    def update(self, object_name: str, state: ObjectState) -> None:
        """Who is lost or searched again has no place."""
        if state.state not in HOLDING:
            self._held.pop(object_name, None)

    def others(self, object_name: str) -> NDArray[np.float64]:
        """Poses (K, 4, 4) of the other objects of this mesh."""
        poses = [self._held[other].cam_from_obj for other in self._alike.get(object_name, ()) if other in self._held]
        return np.array(poses).reshape(-1, 4, 4)
