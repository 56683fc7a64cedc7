"""Every tunable of STORM: frozen dataclasses whose dotted paths are the ROS parameter names and YAML keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from storm_core.errors import ConfigError


def param(default: Any, doc: str, unit: str = "", low: float | None = None, high: float | None = None,
          choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field that carries its description, unit and closed range, or the values it may have."""
    return field(default=default, metadata={"doc": doc, "unit": unit, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class OnboardingConfig:
    max_faces: int = param(8000, "faces of the simplified mesh used for rendering", "", 200, 100000)
    rotations: int = param(512, "rotations in the registration grid", "", 60, 5000)
    cache: str = param("", "cache folder; empty = ~/.cache/storm")
    views: int = param(16, "reference views around an object", "", 4, 400)
    view_size: int = param(256, "width and height of a reference view", "px", 64, 1024)


@dataclass(frozen=True)
class HsfaConfig:
    """The learned backend; read only when som.backend is hsfa."""

    weights: str = param("", "checkpoint of `storm train som`; empty = the small network that is shipped")
    backbone: str = param("dinov2-base", "DINOv2 weights: a name of `storm weights list` or a folder")
    text: str = param("", "descriptions.json of `storm describe`; empty = without text")
    text_encoder: str = param("clip-text", "text encoder: a name of `storm weights list` or a folder")
    device: str = param("auto", "where the network runs: auto, cpu, cuda or cuda:N")
    zoom: bool = param(True, "look at a small answer a second time, closer")


@dataclass(frozen=True)
class SomConfig:
    backend: str = param("geometric", "geometric: from the CAD model, no weights; hsfa: the learned network",
                         choices=("geometric", "hsfa"))
    max_candidates: int = param(24, "candidates refined per search", "", 1, 500)
    accept: float = param(0.5, "probability above which a localization is reported as found", "", 0.0, 1.0)
    uncertain: float = param(0.2, "probability above which a localization is followed for a few frames", "", 0.0, 1.0)
    max_depth: float = param(2.0, "largest distance searched", "m", 0.1, 20.0)
    min_depth: float = param(0.15, "smallest distance searched", "m", 0.01, 5.0)
    sam: str = param("", "SAM 2 weights that refine masks: a name of `storm weights list` or a folder; empty = off")
    hsfa: HsfaConfig = field(default_factory=HsfaConfig)


@dataclass(frozen=True)
class RegistrationConfig:
    keep: int = param(40, "hypotheses refined after the first scoring", "", 4, 1000)
    iterations: int = param(8, "refinement iterations per level", "", 1, 50)
    accept: float = param(0.5, "probability a registration needs to be accepted", "", 0.0, 1.0)


@dataclass(frozen=True)
class TrackingConfig:
    iterations: int = param(6, "Gauss-Newton iterations per frame", "", 1, 30)
    max_innovation: float = param(
        0.6, "largest unforeseen pose change within 0.1 s that is believed, in diameters", "", 0.05, 5.0
    )
    motion_prior: bool = param(True, "predict with constant velocity")


@dataclass(frozen=True)
class MonitorConfig:
    enable: bool = param(True, "judge tracked poses; without, the tracker's word is taken and no pose is withdrawn")
    healthy: float = param(0.5, "probability above which a pose counts as right", "", 0.0, 1.0)
    min_visible: float = param(
        0.25, "visible share of the silhouette below which the object counts as occluded", "", 0.0, 1.0
    )
    freeze_frames: int = param(5, "identical images in a row that count as a frozen stream; 0 = never, for "
                               "simulated cameras without noise", "", 0, 100)
    learned: bool = param(True, "also ask the small network that compares the live crop with the render")
    pair: str = param("", "checkpoint of the pair model (storm train monitor), which compares live crops with trusted "
                      "ones; empty = not asked; needs torch and a DINOv2")
    pair_weight: float = param(0.5, "log-odds that one log-odd of the pair model counts", "", 0.0, 5.0)
    consecutive: int = param(0, "doubtful frames in a row that end trust, each judged by itself, as in the published "
                             "system (there 3); 0 = the sequential test", "", 0, 100)


@dataclass(frozen=True)
class RecoveryConfig:
    reregister: bool = param(True, "search again for an object that was lost; without, a loss is final")
    search_suspect: bool = param(False, "look for a suspect object anew while its track still coasts")
    verify_frames: int = param(1, "healthy frames a registration needs before it is trusted", "", 1, 30)
    verify_timeout: float = param(1.0, "time a new registration has to prove itself", "s", 0.05, 30.0)
    recover_frames: int = param(1, "healthy frames a suspect track needs to be trusted again", "", 1, 30)
    suspect_timeout: float = param(0.25, "time after which another doubt of a suspect track loses it", "s", 0.0, 30.0)
    occluded_timeout: float = param(1.0, "time after which an occluded track that still coasts is lost", "s", 0.0, 60.0)
    stage_timeout: float = param(10.0, "time a search or registration may take", "s", 0.5, 300.0)
    absent_after: int = param(3, "failed searches in a row before the object counts as absent", "", 1, 100)
    backoff: float = param(0.1, "pause after the first failed search while absent", "s", 0.0, 60.0)
    backoff_max: float = param(0.5, "longest pause between searches while absent", "s", 0.0, 600.0)


@dataclass(frozen=True)
class ScoreModelConfig:
    enable: bool = param(True, "refine registrations with Langevin particles")
    particles: int = param(32, "particles per object", "", 4, 512)
    steps: int = param(12, "annealed Langevin steps", "", 1, 200)
    period: float = param(2.0, "time between refinements of a tracked pose", "s", 0.1, 3600.0)
    method: str = param("analytic", "analytic: score of the depth image, no weights; network: the trained one",
                        choices=("analytic", "network"))
    weights: str = param("", "network: weights file; empty = the weights that ship with STORM")
    sampler: str = param("ode", "network: ode, langevin or predictor_corrector",
                         choices=("ode", "langevin", "predictor_corrector"))
    render_interval: int = param(1, "network: steps between two renders of the particles", "", 1, 100)
    start: float = param(0.5, "network: noise level at which the refinement of a given pose starts", "", 0.05, 1.0)
    polish: str = param("icp", "network: what follows the last step: icp, svd (alignment of the latents) or none",
                        choices=("icp", "svd", "none"))
    selection: str = param("combined", "network: which particle is answered: combined, learned, explained, fitness, "
                           "latent, score or random",
                           choices=("combined", "learned", "explained", "fitness", "latent", "score", "random"))
    device: str = param("numpy", "network: numpy (needs no torch), cpu or cuda", choices=("numpy", "cpu", "cuda"))


@dataclass(frozen=True)
class RefinerConfig:
    """The learned render-and-compare networks; see docs/refiner.md."""

    registration: bool = param(False, "the refiner proposes poses in registration; geometry polishes and judges them")
    tracking: bool = param(False, "the refiner proposes poses when the tracker has to search")
    scoring: bool = param(False, "the scorer votes with the verifier on the last candidates of a registration")
    weights: str = param("", "refiner: .safetensors, or an official checkpoint (.pth); empty = those that ship")
    scorer_weights: str = param("", "the same for the scorer")
    device: str = param("numpy", "where the networks run: numpy (needs no torch), cpu or cuda",
                        choices=("numpy", "cpu", "cuda"))
    iterations: int = param(3, "steps per hypothesis", "", 1, 20)
    hypotheses: int = param(12, "hypotheses that registration lets the refiner move", "", 1, 1000)
    max_hypotheses: int = param(252, "more hypotheses of one object are dropped, the least promising first", "", 1,
                                100_000)
    hypothesis_batch_size: int = param(64, "hypotheses that a network sees at once; halved where memory is short", "",
                                       1, 100_000)


@dataclass(frozen=True)
class InputConfig:
    slop: float = param(0.02, "largest stamp difference of image and depth", "s", 0.0, 1.0)
    max_age: float = param(0.1, "a pose older than this is not published as current", "s", 0.01, 10.0)
    image_transport: str = param("raw", "raw, or compressed: image_transport's JPEG or PNG on <image>/compressed",
                                 choices=("raw", "compressed"))
    depth_transport: str = param("raw", "raw, or compressedDepth: image_transport's PNG on "
                                 "<depth_image>/compressedDepth", choices=("raw", "compressedDepth"))
    align_depth: bool = param(False, "depth is measured by another camera than colour: register it by "
                              "depth_camera_info and tf")
    fixed_frame: str = param("", "tf frame that does not move (map, odom, base_link of a bolted arm): the camera's own "
                             "motion is then no surprise; empty = not looked up")
    timeout: float = param(1.0, "silence on an input that is reported as missing", "s", 0.1, 60.0)


@dataclass(frozen=True)
class StormConfig:
    """The whole tree; components receive only their own section."""

    objects: tuple[str, ...] = param((), "names or BOP ids of the objects to find; empty = all in models")
    models: str = param("", "folder with meshes (BOP models folder or plain .ply/.obj/.stl/.glb)")
    mesh_unit: str = param("auto", "unit of the meshes: auto, m, mm, cm or in")
    primary: str = param("", "object on /object_pose; empty = the first")
    tf_prefix: str = param("", "before an object's name in tf: two graphs on one robot may see the same kind of object")
    seed: int = param(0, "seed of everything random", "", 0, 2**31 - 1)
    threads: int = param(0, "threads of one process; 0 = all cores", "", 0, 256)
    input: InputConfig = field(default_factory=InputConfig)
    onboarding: OnboardingConfig = field(default_factory=OnboardingConfig)
    som: SomConfig = field(default_factory=SomConfig)
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    score_model: ScoreModelConfig = field(default_factory=ScoreModelConfig)
    refiner: RefinerConfig = field(default_factory=RefinerConfig)

    def __post_init__(self) -> None:
        check(self)
        if self.mesh_unit not in ("auto", "m", "mm", "cm", "in"):
            raise ConfigError(f"mesh_unit must be auto, m, mm, cm or in, got {self.mesh_unit!r}")


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """{'dotted.path': value} of every leaf."""
    out: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            out |= flatten(value, f"{prefix}{f.name}.")
        else:
            out[prefix + f.name] = value
    return out


def describe(config: Any, prefix: str = "") -> dict[str, Mapping[str, Any]]:
    """{'dotted.path': metadata} of every leaf: doc, unit, low, high."""
    out: dict[str, Mapping[str, Any]] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            out |= describe(value, f"{prefix}{f.name}.")
        else:
            out[prefix + f.name] = f.metadata
    return out


def _coerce(path: str, default: Any, value: Any) -> Any:
    """The value in the default's type; int -> float and list -> tuple are the only conversions."""
    if isinstance(default, bool) or isinstance(value, bool):
        ok = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float):
        ok = isinstance(value, (int, float))
        value = float(value) if ok else value
    elif isinstance(default, tuple):
        ok = isinstance(value, (list, tuple)) and all(isinstance(v, (str, int)) for v in value)
        value = tuple(str(v) for v in value) if ok else value
    else:
        ok = isinstance(value, type(default))
    if not ok:
        raise ConfigError(f"{path} must be {type(default).__name__}, got {type(value).__name__} {value!r}")
    return value


def check(config: Any) -> None:
    """Raise ConfigError for the first leaf outside its range or choices."""
    meta = describe(config)
    for path, value in flatten(config).items():
        low, high, choices = meta[path].get("low"), meta[path].get("high"), meta[path].get("choices")
        if choices and value not in choices:
            raise ConfigError(f"{path} must be one of {', '.join(choices)}, got {value!r}")
        # Written so that nan, which is neither small nor large, is refused as well.
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise ConfigError(f"{path} = {value} is outside [{low}, {high}] {meta[path]['unit']}".rstrip())


def build(values: Mapping[str, Any], default: Any | None = None, prefix: str = "") -> Any:
    """A config of `default`'s type with dotted `values` replaced.

    Raises:
      ConfigError: an unknown path (names it and the nearest known one), a wrong type or a value out of range.
    """
    import difflib

    default = StormConfig() if default is None else default
    known = flatten(default)
    for path in values:
        if path not in known:
            near = difflib.get_close_matches(path, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"unknown parameter {prefix}{path}{hint}")
    changes: dict[str, Any] = {}
    for f in fields(default):
        value = getattr(default, f.name)
        if is_dataclass(value):
            start = f.name + "."
            sub = {k[len(start) :]: v for k, v in values.items() if k.startswith(start)}
            changes[f.name] = build(sub, value, prefix + start)
        elif f.name in values:
            changes[f.name] = _coerce(prefix + f.name, value, values[f.name])
    from dataclasses import replace

    return replace(default, **changes)
