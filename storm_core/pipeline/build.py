"""The composition root: the only place that knows which class implements which stage. Nodes build only what they need."""

from collections.abc import Callable

from storm_core.config import StormConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.interfaces import Localizer, Monitor, Registrar, ScoreRefiner, Tracker

Progress = Callable[[str, float], None]
"""Called with (what is being done, share done in [0, 1])."""


def build_models(config: StormConfig) -> dict[str, ObjectModel]:
    """The models named by config.objects from config.models, checked (MeshError names file and remedy)."""
    from storm_core.geometry.mesh_io import load_models

    return load_models(config.models, config.objects, unit=config.mesh_unit, max_faces=config.onboarding.max_faces)


def build_localizer(config: StormConfig, models: dict[str, ObjectModel], progress: Progress | None = None) -> Localizer:
    from storm_core.som.detect import GeometricLocalizer

    return GeometricLocalizer(models, config.som, config.onboarding, progress=progress)


def build_registrar(config: StormConfig, models: dict[str, ObjectModel], progress: Progress | None = None) -> Registrar:
    from storm_core.registration.register import GeometricRegistrar

    return GeometricRegistrar(models, config.registration, config.onboarding, progress=progress)


def build_tracker(config: StormConfig, models: dict[str, ObjectModel]) -> Tracker:
    from storm_core.tracking.tracker import RegionDepthTracker

    return RegionDepthTracker(models, config.tracking)


def build_monitor(config: StormConfig, models: dict[str, ObjectModel]) -> Monitor:
    from storm_core.monitor.monitor import EvidenceMonitor

    return EvidenceMonitor(models, config.monitor)


def build_score_refiner(config: StormConfig, models: dict[str, ObjectModel]) -> ScoreRefiner:
    from storm_core.score_model.sampler import LangevinRefiner

    return LangevinRefiner(models, config.score_model, seed=config.seed)
