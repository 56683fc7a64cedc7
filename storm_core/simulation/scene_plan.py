"""Which scenes a benchmark has: their strata, objects and seeds, before anything is rendered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from storm_core.simulation.object_pool import SPLITS, Pool
from storm_core.simulation.strata import PRESENT, SUITES, Suite, Tags, cells

NEIGHBOURS = 6
"""Other objects on the table beside the target, at most."""


@dataclass(frozen=True, kw_only=True)
class ScenePlan:
    """One scene to be.

    Attributes:
      scene: number from 1. cell: stratum, see `strata.cells`. tags: value of every axis.
      seed: of everything random in it. Scenes of one round share it, so that strata differ in their factor only, in
        suites that are paired.
      target: id of the object the scene is about, even where it is absent.
      neighbours: ids of the other objects. twin: id of a look-alike in the scene.
    """

    suite: str
    scene: int
    cell: str
    tags: Tags
    seed: tuple[int, ...]
    target: int
    neighbours: tuple[int, ...]
    twin: int | None
    frames: int
    rate_hz: float
    sensor: str


def plan_scenes(suite: Suite, pool: Pool, *, split: str, seed: int, count: int | None = None,
                strata: Sequence[str] = (), sensor: str = "active_stereo", frames: int | None = None
                ) -> list[ScenePlan]:
    """The scenes, dealt to the cells round by round.

    Args:
      count: of scenes; None = every cell as often as the suite says. frames: per scene, of suites of sequences.
      sensor: depth camera wherever the cell does not say another.
    """
    if "sensor" in suite.axes:
        order = (sensor, *(value for value in suite.axes["sensor"] if value != sensor))
        suite = replace(suite, axes={**suite.axes, "sensor": order})
    dealt = list(cells(suite, strata, user_meshes="user" in pool.targets).items())
    total = suite.rounds * len(dealt) if count is None else count
    length = (frames or suite.frames) if suite.sequence else 1
    out = []
    for k in range(total):
        cell, tags = dealt[k % len(dealt)]
        turn = k // len(dealt) if suite.paired else k
        chosen = (suite.version, seed, SPLITS.index(split), list(SUITES).index(suite.name), turn)
        rng = np.random.default_rng([*chosen, 9])
        target = _target(pool, tags, turn)
        out.append(ScenePlan(
            suite=suite.name, scene=k + 1, cell=cell, tags=tags, seed=chosen, target=target,
            neighbours=_neighbours(pool, tags, target, rng), twin=_twin(pool, tags, target), frames=length,
            rate_hz=10.0 if tags.get("speed") == "stride" else suite.rate_hz, sensor=tags.get("sensor", sensor)))
    return out


def _target(pool: Pool, tags: Tags, turn: int) -> int:
    ids = pool.targets[tags.get("object", "user" if "user" in pool.targets else "textured")]
    return ids[turn % len(ids)]


def _neighbours(pool: Pool, tags: Tags, target: int, rng: np.random.Generator) -> tuple[int, ...]:
    others = np.array(sorted({k for ids in (*pool.targets.values(), pool.props) for k in ids} - {target}))
    drawn = tuple(int(k) for k in rng.permutation(others)[:NEIGHBOURS])
    alone = tags.get("distractors") == "none" or tags.get("presence") == "empty"
    return () if alone else drawn


def _twin(pool: Pool, tags: Tags, target: int) -> int | None:
    for value in (tags.get("distractors"), tags.get("presence", PRESENT)):
        if value in ("same_shape", "same_print"):
            return pool.look_alike(target, value)
    return pool.look_alike(target, "same_shape") if tags.get("event") == "swapped" else None
