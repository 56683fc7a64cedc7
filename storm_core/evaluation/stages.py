"""The stages a worker keeps from job to job: loading meshes and templates costs more than many a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from storm_core.config import StormConfig, build
from storm_core.geometry.mesh import ObjectModel
from storm_core.interfaces import Localizer, Registrar
from storm_core.pipeline.build import (
    build_localizer,
    build_models,
    build_monitor,
    build_registrar,
    build_score_refiner,
    build_tracker,
)
from storm_core.pipeline.warmup import warm_up


@dataclass(frozen=True, eq=False, kw_only=True)
class Finders:
    """What single pictures need. Holds no memory of earlier images as long as no pose is given as a hint."""

    config: StormConfig
    models: Mapping[str, ObjectModel]
    localizer: Localizer
    registrar: Registrar


def finders(values: Mapping[str, Any]) -> Finders:
    """Localizer and registrar of a configuration (dotted paths), warm: their first answer is as fast as the next."""
    return _finders(tuple(values.items()))


@lru_cache(maxsize=1)
def _finders(values: tuple[tuple[str, Any], ...]) -> Finders:
    config: StormConfig = build(dict(values))
    models = build_models(config)
    localizer, registrar = build_localizer(config, models), build_registrar(config, models)
    warm_up(models, localizer=localizer, registrar=registrar)
    return Finders(config=config, models=models, localizer=localizer, registrar=registrar)


def sequence_models(config: StormConfig) -> dict[str, ObjectModel]:
    """The models of a sequence, after every stage has been used once in this process."""
    models = build_models(config)
    _warm_process(config)
    return models


@lru_cache(maxsize=1)
def _warm_process(config: StormConfig) -> None:
    models = build_models(config)
    warm_up(models, localizer=build_localizer(config, models), registrar=build_registrar(config, models),
            tracker=build_tracker(config, models), monitor=build_monitor(config, models),
            refiner=build_score_refiner(config, models) if config.score_model.enable else None)
