"""The composition root: the only place that knows which class implements which stage. Nodes build what they need."""

from storm_core.config import StormConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.interfaces import Localizer, Monitor, Registrar, ScoreRefiner, Tracker
from storm_core.pipeline.system import Pipeline


def build_models(config: StormConfig) -> dict[str, ObjectModel]:
    """The models named by config.objects from config.models, checked (MeshError names file and remedy)."""
    from storm_core.geometry.mesh_io import load_models

    return load_models(config.models, config.objects, unit=config.mesh_unit, max_faces=config.onboarding.max_faces)


def build_localizer(config: StormConfig, models: dict[str, ObjectModel]) -> Localizer:
    from storm_core.som.detect import GeometricLocalizer

    return GeometricLocalizer(models, config.som, config.onboarding)


def build_registrar(config: StormConfig, models: dict[str, ObjectModel]) -> Registrar:
    from storm_core.registration.register import GeometricRegistrar

    return GeometricRegistrar(models, config.registration, config.onboarding)


def build_tracker(config: StormConfig, models: dict[str, ObjectModel]) -> Tracker:
    from storm_core.tracking.tracker import RegionDepthTracker

    return RegionDepthTracker(models, config.tracking)


def build_monitor(config: StormConfig, models: dict[str, ObjectModel]) -> Monitor:
    if not config.monitor.enable:
        from storm_core.monitor.trusting import TrustingMonitor

        return TrustingMonitor()
    from storm_core.monitor.monitor import EvidenceMonitor

    return EvidenceMonitor(models, config.monitor)


def build_score_refiner(config: StormConfig, models: dict[str, ObjectModel]) -> ScoreRefiner:
    if config.score_model.method == "network":
        from storm_core.score_model.network_refiner import NetworkRefiner

        return NetworkRefiner(models, config.score_model, seed=config.seed)
    from storm_core.score_model.sampler import LangevinRefiner

    return LangevinRefiner(models, config.score_model, seed=config.seed)


def build_pipeline(config: StormConfig, models: dict[str, ObjectModel] | None = None) -> Pipeline:
    """The offline pipeline over all configured objects."""
    models = build_models(config) if models is None else models
    return Pipeline(
        tuple(models),
        build_localizer(config, models),
        build_registrar(config, models),
        build_tracker(config, models),
        build_monitor(config, models),
        build_score_refiner(config, models) if config.score_model.enable else None,
        config.recovery,
    )
