"""The composition root: the only place that knows which class implements which stage. Nodes build what they need."""

from storm_core.config import StormConfig
from storm_core.errors import ConfigError
from storm_core.geometry.mesh import ObjectModel
from storm_core.interfaces import Localizer, Monitor, Registrar, ScoreRefiner, Tracker
from storm_core.models.packages import require_packages
from storm_core.onboarding.views import ReferenceViews
from storm_core.pipeline.system import Pipeline
from storm_core.score_model.results import MaskSampler


def build_models(config: StormConfig) -> dict[str, ObjectModel]:
    """The models named by config.objects from config.models, checked (MeshError names file and remedy)."""
    from storm_core.geometry.mesh_io import load_models
    from storm_core.onboarding.array_cache import cache_folder
    from storm_core.onboarding.model_cache import ModelCache

    return load_models(config.models, config.objects, unit=config.mesh_unit, max_faces=config.onboarding.max_faces,
                       load=ModelCache(cache_folder(config.onboarding)).load)


def listed_objects(config: StormConfig) -> tuple[str, ...]:
    """The names that `build_models` would load; MeshError when the folder lacks one. Reads no mesh."""
    from storm_core.geometry.mesh_io import listed_objects

    return listed_objects(config.models, config.objects)


def build_localizer(config: StormConfig, models: dict[str, ObjectModel]) -> Localizer:
    """The localizer of som.backend; torch is loaded only for the learned one and for SAM 2."""
    match config.som.backend:
        case "hsfa":
            from storm_core.onboarding.views import reference_views

            require_packages("som.backend hsfa", "torch", "safetensors")
            views = {name: reference_views(model, config.onboarding) for name, model in models.items()}
            return build_view_localizer(config, views)
        case _:
            from storm_core.som.detect import GeometricLocalizer

            return _with_sam(config, GeometricLocalizer(models, config.som, config.onboarding))


def build_view_localizer(config: StormConfig, views: dict[str, ReferenceViews]) -> Localizer:
    """A localizer of objects that are known by their reference views alone; only the learned backend can do that.

    Raises:
      ConfigError: som.backend is another one.
    """
    if config.som.backend != "hsfa":
        raise ConfigError(f"{', '.join(views)}: reference views alone serve only the learned backend; set som.backend "
                          "to hsfa, or give the mesh")
    require_packages("som.backend hsfa", "torch", "safetensors")
    from storm_core.som.hsfa.localizer import open_localizer

    return _with_sam(config, open_localizer(views, config.som, config.onboarding))


def _with_sam(config: StormConfig, localizer: Localizer) -> Localizer:
    if not config.som.sam:
        return localizer
    from storm_core.som.sam import SamLocalizer, open_sam

    require_packages("som.sam", "torch")
    from storm_core.som.hsfa.localizer import device_of

    return SamLocalizer(localizer, open_sam(config.som.sam, device_of(config.som.hsfa.device)))


def build_registrar(config: StormConfig, models: dict[str, ObjectModel]) -> Registrar:
    from storm_core.registration.learned import learned_help
    from storm_core.registration.register import GeometricRegistrar

    return GeometricRegistrar(models, config.registration, config.onboarding, learned_help(config.refiner))


def build_tracker(config: StormConfig, models: dict[str, ObjectModel]) -> Tracker:
    from storm_core.tracking.tracker import RegionDepthTracker

    propose = None
    if config.refiner.tracking:
        from storm_core.render_compare.choice import Proposals

        propose = Proposals(config.refiner)
    return RegionDepthTracker(models, config.tracking, propose=propose)


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


def build_mask_sampler(config: StormConfig, models: dict[str, ObjectModel]) -> MaskSampler:
    if config.score_model.method == "network":
        from storm_core.score_model.network_refiner import NetworkRefiner

        return NetworkRefiner(models, config.score_model, seed=config.seed)
    from storm_core.score_model.view_sampler import ViewSampler

    return ViewSampler(models, config.score_model, config.onboarding)


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
        models,
    )
