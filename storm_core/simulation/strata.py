"""What the benchmark suites vary: axes of difficulty, their values, and the cells that scenes are dealt to."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storm_core.errors import ConfigError
from storm_core.simulation.depth_sensors import DEPTH_CAMERAS

Tags = Mapping[str, str]
"""Axis -> value."""

BASELINE = "baseline"
"""Name of the cell in which every axis has its first value."""

PRESENT = "present"

_OBJECTS = ("textured", "textureless", "bare", "thin", "small", "continuous", "discrete")
_OCCLUSION = ("0", "20", "40", "60", "80")
_LIGHT = ("normal", "dim", "over", "hard_shadow")
_DISTRACTORS = ("clutter", "none", "same_shape", "same_print")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One benchmark.

    Attributes:
      version: part of its name and seeds; raised when its pictures change.
      axes: values of each axis, the baseline first. crossed: every combination is a cell (but what is absent is neither
      occluded nor beside its look-alike); otherwise each cell differs from the baseline in one axis.
      frames: of each scene. rate_hz: of sequences. rounds: scenes per cell by default.
      paired: the scenes of a round share everything but the factors of their strata; otherwise every scene is its own.
    """

    name: str
    version: int
    axes: Mapping[str, tuple[str, ...]]
    frames: int
    rounds: int
    rate_hz: float = 30.0
    crossed: bool = False
    paired: bool = True

    @property
    def sequence(self) -> bool:
        return self.frames > 1


SUITES: dict[str, Suite] = {suite.name: suite for suite in (
    Suite(name="tracking", version=1, frames=60, rounds=1, axes={
        "occlusion": _OCCLUSION, "speed": ("hand", "slow", "fast", "stride"), "light": (*_LIGHT, "moving_lamp"),
        "distractors": _DISTRACTORS, "object": _OBJECTS, "instances": ("1", "3"), "sensor": tuple(DEPTH_CAMERAS)}),
    Suite(name="registration", version=2, frames=1, rounds=3, axes={
        "occlusion": _OCCLUSION, "light": _LIGHT, "distractors": _DISTRACTORS, "object": _OBJECTS,
        "distance": ("medium", "near", "far"), "instances": ("1", "3"), "sensor": tuple(DEPTH_CAMERAS)}),
    Suite(name="absence", version=1, frames=1, rounds=2, crossed=True, axes={
        "presence": (PRESENT, "empty", "clutter", "same_shape", "same_print"),
        "object": ("textured", "textureless", "continuous", "discrete")}),
    Suite(name="failure", version=1, frames=120, rounds=2, axes={
        "event": ("none", "occluded", "left_view", "moved", "removed", "swapped", "depth_lost", "shaken")}),
    Suite(name="symmetric", version=1, frames=280, rounds=6, crossed=True, axes={
        "object": ("cylinder", "box", "bowl"), "speed": ("hand", "fast"), "distractors": ("none",)}),
    Suite(name="detection", version=2, frames=1, rounds=1, crossed=True, paired=False, axes={
        "object": ("textured", "textureless", "small", "continuous", "discrete"),
        "distractors": ("clutter", "same_shape", "same_print"), "occlusion": ("0", "20", "45", "70"),
        "presence": (PRESENT, "clutter", "same_shape", "same_print")}),
)}
"""The benchmarks by name."""


def suite_of(name: str) -> Suite:
    """A suite by name; ConfigError lists the known ones."""
    if name not in SUITES:
        raise ConfigError(f"unknown suite {name!r}; known: {', '.join(SUITES)}")
    return SUITES[name]


def cells(suite: Suite, wanted: Sequence[str] = (), *, user_meshes: bool = False) -> dict[str, Tags]:
    """Cell name -> tags of all axes, in the order in which scenes are dealt.

    Args:
      wanted: `baseline`, an axis (all its values), `axis=value`, or several joined by `+`; empty = the suite's own.
      user_meshes: nothing is known of the objects' print and symmetry, so strata that need that are left out.

    Raises:
      ConfigError: an unknown axis or value, or one that needs procedural objects.
    """
    first = {axis: values[0] for axis, values in suite.axes.items()}
    if user_meshes and "object" in first:
        first["object"] = "user"
    usable = {axis: tuple(v for v in values if not (user_meshes and _procedural(axis, v)))
              for axis, values in suite.axes.items()}
    if wanted:
        chosen = [tags for text in wanted for tags in _parsed(suite, text, usable)]
    elif suite.crossed:
        chosen = [dict(zip(usable, values, strict=True))
                  for values in itertools.product(*(v or (first[axis],) for axis, v in usable.items()))]
        chosen = [tags for tags in chosen if _possible(tags, first)]
    else:
        chosen = [{}] + [{axis: value} for axis, values in usable.items() for value in values if value != first[axis]]
    out: dict[str, Tags] = {}
    for given in chosen:
        changed = {axis: value for axis, value in given.items() if value != first[axis]}
        out[cell_name(changed)] = first | changed
    return out


def cell_name(changed: Tags) -> str:
    """`baseline`, or the axes that differ from it: `occlusion=40`, `presence=empty+object=thin`."""
    return "+".join(f"{axis}={value}" for axis, value in changed.items()) or BASELINE


def _possible(tags: Tags, first: Tags) -> bool:
    shown = tags.get("presence", PRESENT) == PRESENT
    return shown or all(tags[axis] == first[axis] for axis in ("occlusion", "distractors") if axis in tags)


def _procedural(axis: str, value: str) -> bool:
    return axis == "object" or value in ("same_shape", "same_print", "swapped")


def _parsed(suite: Suite, text: str, usable: Mapping[str, tuple[str, ...]]) -> list[dict[str, str]]:
    if text == BASELINE:
        return [{}]
    if text in suite.axes:
        if not usable[text]:
            raise ConfigError(f"stratum {text!r} needs procedural objects; leave it or --models out")
        return [{text: value} for value in usable[text]]
    out: dict[str, str] = {}
    for part in text.split("+"):
        axis, _, value = part.partition("=")
        if axis not in suite.axes or value not in suite.axes[axis]:
            known = "; ".join(f"{name}={'|'.join(values)}" for name, values in suite.axes.items())
            raise ConfigError(f"unknown stratum {part!r} of suite {suite.name}; known: {BASELINE}; {known}")
        if value not in usable[axis]:
            raise ConfigError(f"stratum {part!r} needs procedural objects; leave it or --models out")
        out[axis] = value
    return [out]
