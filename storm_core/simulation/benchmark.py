"""A synthetic benchmark on disk: which scenes it has, what makes each of them hard, and figures grouped by that.

`benchmark.json` lies beside the BOP folders that `storm simulate benchmark` writes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from storm_core.bop.cameras import read_json
from storm_core.errors import DatasetError
from storm_core.simulation.happenings import Event
from storm_core.simulation.strata import SUITES

FILE = "benchmark.json"
FORMAT = "storm-benchmark-1"
COVER = "cover"
"""Tag of scenes whose target something hides: `carton`, or the side that a held sheet comes from."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkObject:
    """One object of a benchmark.

    Attributes:
      role: value of the axis `object` for targets, `same_shape` or `same_print` for look-alikes, `user`.
      symmetry: none, discrete or continuous, as models_info.json declares it in detail.
      sha256: of mesh, colours and symmetries. diameter_m: [m].
      recipe: what a procedural object was made from, None for a user's mesh.
    """

    obj_id: int
    name: str
    role: str
    symmetry: str
    diameter_m: float
    sha256: str
    recipe: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class BenchmarkScene:
    """One scene of a benchmark.

    Attributes:
      scene: number of its folder. stratum: the cell it was dealt to. tags: value of every axis, and COVER.
      seed: of its content; scenes with the same seed differ in their tags only.
      target: id of the object that the scene is about. present: whether it is in the scene (at first).
      labels: label of each annotated instance -> BOP id; the labels are the names of the ground-truth topics.
      events: what a tracker should notice. frames, rate_hz: length and pace. sensor: kind of depth camera.
      visible: least and mean visible share of the target's best visible instance; None when it is absent.
      folder, bag: relative to the benchmark; bag is None when no bags were written.
    """

    scene: int
    stratum: str
    tags: Mapping[str, str]
    seed: tuple[int, ...]
    target: int
    present: bool
    labels: Mapping[str, int]
    events: tuple[Event, ...]
    frames: int
    rate_hz: float
    sensor: str
    visible: tuple[float, float] | None
    folder: str
    bag: str | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Attributes:
    name: suite, version, split, seed: everything the pictures depend on. objects, scenes: by number.
    """

    name: str
    suite: str
    version: int
    split: str
    seed: int
    camera: Mapping[str, float]
    objects: Mapping[int, BenchmarkObject]
    scenes: Mapping[int, BenchmarkScene]

    def strata_of(self, scene: int) -> tuple[str, ...]:
        """Its cell and what hides the target; where the axes are crossed, a cell would hold too few: all values."""
        found = self.scenes[scene]
        crossed = SUITES[self.suite].crossed
        named = tuple(f"{axis}={value}" for axis, value in found.tags.items() if crossed or axis == COVER)
        return named if crossed else (found.stratum, *named)


@dataclass(frozen=True, kw_only=True)
class StratumFigure:
    """Mean of one figure over the scenes of a stratum.

    Attributes:
      mean: None when no scene has a value. scenes: with a value. missing: scenes of the stratum without one.
    """

    mean: float | None
    scenes: int
    missing: int


def by_stratum(records: Mapping[int, Mapping[str, float | None]], benchmark: Benchmark
               ) -> dict[str, dict[str, StratumFigure]]:
    """Figures per scene as means per stratum, in the order of the scenes.

    Args:
      records: scene number -> figure -> value; None = could not be measured. Scenes without a record count as missing
        in every figure.

    Raises:
      DatasetError: a record of a scene that the benchmark does not have.
    """
    unknown = sorted(set(records) - set(benchmark.scenes))
    if unknown:
        raise DatasetError(f"there are no scenes {unknown} in benchmark {benchmark.name} (it has "
                           f"{len(benchmark.scenes)}); these figures belong to another benchmark")
    members: dict[str, list[int]] = {}
    for scene in benchmark.scenes:
        for stratum in benchmark.strata_of(scene):
            members.setdefault(stratum, []).append(scene)
    names = list(dict.fromkeys(name for record in records.values() for name in record))
    return {stratum: {name: _mean([records.get(scene, {}).get(name) for scene in scenes]) for name in names}
            for stratum, scenes in members.items()}


def _mean(values: list[float | None]) -> StratumFigure:
    known = [value for value in values if value is not None]
    return StratumFigure(mean=sum(known) / len(known) if known else None, scenes=len(known),
                         missing=len(values) - len(known))


def save_benchmark(folder: Path, benchmark: Benchmark) -> None:
    """Write benchmark.json; objects and scenes become lists."""
    content = asdict(benchmark) | {"objects": [asdict(o) for o in benchmark.objects.values()],
                                   "scenes": [asdict(s) for s in benchmark.scenes.values()]}
    (folder / FILE).write_text(json.dumps({"format": FORMAT} | content, indent=1))


def load_benchmark(folder: Path | str) -> Benchmark:
    """The description of a benchmark folder.

    Raises:
      DatasetError: benchmark.json is missing, damaged or of another format.
    """
    file = Path(folder).expanduser() / FILE
    content = read_json(file, "the scenes and strata of a benchmark made by `storm simulate benchmark`")
    try:
        if content.pop("format") != FORMAT:
            raise ValueError(f"format is not {FORMAT}")
        objects = [BenchmarkObject(**entry) for entry in content.pop("objects")]
        scenes = [_scene(entry) for entry in content.pop("scenes")]
        benchmark = Benchmark(**content, objects={o.obj_id: o for o in objects}, scenes={s.scene: s for s in scenes})
        if benchmark.suite not in SUITES:
            raise ValueError(f"unknown suite {benchmark.suite!r}; known: {', '.join(SUITES)}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{file} does not describe a benchmark this version can read ({error}); make it again with "
                           "`storm simulate benchmark`") from error
    return benchmark


def _scene(entry: dict[str, Any]) -> BenchmarkScene:
    visible = entry.pop("visible")
    return BenchmarkScene(**entry | {
        "seed": tuple(entry["seed"]), "events": tuple(Event(**event) for event in entry["events"]),
        "visible": None if visible is None else (float(visible[0]), float(visible[1]))})
