"""Which stages the nodes are built from; tests put others in their place."""

from collections.abc import Callable
from dataclasses import dataclass

from storm_core.config import StormConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.interfaces import Localizer, Monitor, Registrar, ScoreRefiner, Tracker
from storm_core.pipeline import build

Models = dict[str, ObjectModel]


@dataclass(frozen=True)
class Stages:
    """One factory per stage; the defaults are the composition root's."""

    models: Callable[[StormConfig], Models] = build.build_models
    listed: Callable[[StormConfig], tuple[str, ...]] = build.listed_objects
    localizer: Callable[[StormConfig, Models], Localizer] = build.build_localizer
    registrar: Callable[[StormConfig, Models], Registrar] = build.build_registrar
    tracker: Callable[[StormConfig, Models], Tracker] = build.build_tracker
    monitor: Callable[[StormConfig, Models], Monitor] = build.build_monitor
    score_refiner: Callable[[StormConfig, Models], ScoreRefiner] = build.build_score_refiner
