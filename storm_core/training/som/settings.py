"""Everything about one training run; the YAML file of `storm train som --config` has these keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storm_core.config import build, check, param
from storm_core.config_io import read_values
from storm_core.errors import ConfigError, WeightsError
from storm_core.som.hsfa.settings import NetworkSettings, settings_from

AMP = ("off", "bf16", "fp16")
MIRROR = ("never", "achiral")


@dataclass(frozen=True)
class DataSettings:
    """Where samples come from."""

    bop: tuple[str, ...] = param((), "BOP splits (dataset/train_pbr, dataset/test, ...) with models beside them")
    synthetic: int = param(0, "procedural objects whose scenes are rendered on the fly; 0 = none", "", 0, 100000)
    composites: bool = param(False, "paste cached renders together instead of rendering every scene: cheap, less real")
    width: int = param(320, "width of rendered pictures", "px", 64, 4096)
    val_objects: float = param(0.2, "share of the objects that only validate", "", 0.0, 0.9)
    val_samples: int = param(64, "fixed samples of a validation", "", 1, 100000)
    absent: float = param(0.15, "share of samples whose object is not in the picture", "", 0.0, 0.9)
    min_visible: float = param(0.1, "smallest visible share of an instance that is asked for", "", 0.0, 1.0)
    views: int = param(6, "reference views per sample, drawn from those of the object", "", 1, 64)
    queries: int = param(1, "neighbouring samples that ask for one object; its views are encoded once", "", 1, 64)
    zoom: float = param(0.5, "share of samples that show a part of the picture around the object", "", 0.0, 1.0)


@dataclass(frozen=True)
class AugmentSettings:
    """What is done to training samples. Nothing here turns a left-handed object into a right-handed one."""

    turn: float = param(180.0, "largest turn of the picture in its plane", "deg", 0.0, 180.0)
    scale: float = param(0.3, "largest relative change of size", "", 0.0, 0.9)
    color: float = param(0.3, "strength of changes of brightness, contrast and saturation", "", 0.0, 1.0)
    blur: float = param(0.5, "share of blurred pictures", "", 0.0, 1.0)
    erase: float = param(0.5, "share of pictures with a covered rectangle", "", 0.0, 1.0)
    lose_depth: float = param(0.2, "share of pictures without depth", "", 0.0, 1.0)
    mirror: str = param("achiral", "never; achiral = mirror only objects that equal their mirror image")


@dataclass(frozen=True)
class LossSettings:
    """Weights of the terms."""

    focal: float = param(20.0, "focal loss (alpha 0.25, gamma 2)", "", 0.0, 1e4)
    dice: float = param(1.0, "Dice loss", "", 0.0, 1e4)
    tversky: float = param(0.5, "Tversky loss that counts missed pixels 0.7 and wrong ones 0.3", "", 0.0, 1e4)
    iou: float = param(1.0, "squared error of the predicted IoU", "", 0.0, 1e4)


@dataclass(frozen=True)
class TrainSettings:
    """One run."""

    steps: int = param(80000, "optimiser steps", "", 1, 10_000_000)
    batch: int = param(16, "samples per step and process", "", 1, 4096)
    rate: float = param(2e-4, "learning rate after the warm-up", "", 0.0, 1.0)
    last_rate: float = param(1e-6, "learning rate at the end (cosine)", "", 0.0, 1.0)
    warmup: int = param(1000, "steps of linear warm-up", "", 0, 1_000_000)
    decay: float = param(0.01, "weight decay (AdamW)", "", 0.0, 1.0)
    clip: float = param(0.1, "largest gradient norm", "", 0.0, 1e6)
    ema: float = param(0.999, "decay of the moving average of the weights", "", 0.0, 1.0)
    amp: str = param("off", "off, bf16 or fp16 (fp16 needs CUDA)")
    device: str = param("auto", "auto, cpu or cuda; with torchrun each process takes its own GPU")
    workers: int = param(0, "processes that make samples; 0 = in the training process", "", 0, 256)
    seed: int = param(0, "seed of weights, split and samples", "", 0, 2**31 - 1)
    validate_every: int = param(1000, "steps between validations and checkpoints", "", 1, 10_000_000)
    log_every: int = param(20, "steps between logged losses", "", 1, 1_000_000)
    wandb: str = param("disabled", "Weights & Biases: online, offline or disabled; disabled = TensorBoard if installed")
    backbone: str = param("dinov2-base", "DINOv2 weights for a network with that encoder: name or folder")
    text: str = param("", "descriptions.json of `storm describe`; empty = without text")
    text_encoder: str = param("clip-text", "text encoder: name or folder")
    data: DataSettings = field(default_factory=DataSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    loss: LossSettings = field(default_factory=LossSettings)

    def __post_init__(self) -> None:
        check(self)
        for name, value, known in (("amp", self.amp, AMP), ("augment.mirror", self.augment.mirror, MIRROR),
                                   ("wandb", self.wandb, ("online", "offline", "disabled"))):
            if value not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if self.batch % self.data.queries:
            raise ConfigError(f"batch {self.batch} must be a multiple of data.queries {self.data.queries}")


def read_settings(path: Path | str | None, overrides: Mapping[str, Any]) -> tuple[TrainSettings, NetworkSettings]:
    """The run and the network of a YAML file (may be None) with dotted overrides; `network:` holds the latter.

    Raises:
      ConfigError: the file cannot be read, or a key, type or value is wrong (names it).
    """
    values = read_values(path) | dict(overrides)
    network = {k.removeprefix("network."): v for k, v in values.items() if k.startswith("network.")}
    rest = {k: v for k, v in values.items() if not k.startswith("network.")}
    try:
        return build(rest, TrainSettings()), settings_from({"preset": "lite", **network})
    except WeightsError as error:
        raise ConfigError(str(error)) from error
