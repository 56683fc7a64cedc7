"""What `storm train score --config FILE` reads: model, data and training arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storm_core.config import check, param
from storm_core.errors import ConfigError
from storm_core.score_model.encoder import NetworkConfig
from storm_core.score_model.schedule import Schedule
from storm_core.training.arguments import read_arguments, require_device


@dataclass(frozen=True)
class ModelArguments:
    channels: int = param(32, "vectors per latent", "", 4, 256)
    blocks: int = param(2, "residual blocks of the encoder", "", 1, 8)
    heads: int = param(3, "matchings by descriptor", "", 1, 8)
    hidden: int = param(128, "width of the scalar layers", "", 16, 1024)
    points: int = param(64, "object points", "", 16, 1024)
    scene_points: int = param(80, "scene points", "", 16, 1024)
    latents: bool = param(True, "the head sees the latents of scene and object")
    object_axes: bool = param(False, "the head sees the object's axes; for weights of one object")
    shift_low: float = param(0.008, "least noise of the centre", "diameters", 1e-4, 1.0)
    shift_high: float = param(0.5, "greatest noise of the centre", "diameters", 1e-3, 5.0)
    turn_low: float = param(0.02, "least noise of the rotation", "rad", 1e-4, 1.0)
    turn_high: float = param(2.5, "greatest noise of the rotation", "rad", 1e-3, 4.0)

    @property
    def network(self) -> NetworkConfig:
        return NetworkConfig(**{name: getattr(self, name) for name in NetworkConfig.__dataclass_fields__})

    @property
    def schedule(self) -> Schedule:
        return Schedule(**{name: getattr(self, name) for name in Schedule.__dataclass_fields__})


@dataclass(frozen=True)
class DataArguments:
    source: str = param("synthetic", "synthetic: procedural objects; bop: a dataset in BOP format")
    path: str = param("", "bop: folder of the dataset (with models/ and the block folders, or their parent)")
    models: str = param("", "bop: folder of the models; empty = models or models_eval beside the blocks")
    blocks: tuple[str, ...] = param((), "bop: block folders to read, e.g. 000008; empty = all")
    object_ids: tuple[str, ...] = param((), "bop: objects to train on; empty = all that are annotated")
    objects: int = param(20000, "synthetic: how many training objects", "", 1, 4_000_000)
    views: int = param(0, "synthetic: views that are kept and come again with new noise, about 0.1 MB each and a third "
                       "of the time of new ones; 0 = every batch shows new ones", "", 0, 10_000_000)
    min_visible: float = param(0.3, "bop: least visible share of an instance", "", 0.0, 1.0)
    mask_noise: float = param(1.0, "how strongly masks are disturbed; 0 = not at all", "", 0.0, 3.0)
    validation: int = param(64, "views that validate, of objects (synthetic) or images (bop) never trained on", "", 2,
                            100_000)


@dataclass(frozen=True)
class TrainingArguments:
    steps: int = param(20000, "optimiser steps in total", "", 1, 10_000_000)
    minutes: float = param(0.0, "stop after this time, resumable; 0 = no limit", "min", 0.0, 1e6)
    views: int = param(24, "views per step", "", 1, 4096)
    draws: int = param(4, "noise draws per view", "", 1, 64)
    learning_rate: float = param(2e-3, "of AdamW, after the warm-up", "", 1e-7, 1.0)
    warmup: int = param(100, "steps over which the rate rises", "", 0, 1_000_000)
    decay: int = param(1000, "steps at the end over which the rate falls to a twentieth", "", 0, 10_000_000)
    weight_decay: float = param(1e-4, "of AdamW", "", 0.0, 1.0)
    ema: float = param(0.998, "share of the averaged weights kept per step", "", 0.0, 0.999999)
    error_weight: float = param(0.3, "weight of the error head in the loss", "", 0.0, 100.0)
    save_every: int = param(200, "steps between checkpoints and validations", "", 1, 1_000_000)
    workers: int = param(0, "processes that make data; 0 = this one", "", 0, 256)
    device: str = param("cpu", "cpu or cuda")
    compile: bool = param(False, "fuse the network's operations (torch.compile): minutes to start, then steps take two "
                          "thirds of the time; needs a C++ compiler")
    seed: int = param(0, "of weights, data and noise", "", 0, 2**31 - 1)
    init: str = param("", "weights to start from (fine-tuning); empty = random")
    out: str = param("runs/score", "folder of checkpoints, weights and logs")


@dataclass(frozen=True)
class ScoreTraining:
    """The whole file; sections `model`, `data`, `training`."""

    model: ModelArguments = field(default_factory=ModelArguments)
    data: DataArguments = field(default_factory=DataArguments)
    training: TrainingArguments = field(default_factory=TrainingArguments)

    def __post_init__(self) -> None:
        check(self)
        if self.data.source not in ("synthetic", "bop"):
            raise ConfigError(f"data.source must be synthetic or bop, got {self.data.source!r}")
        if self.data.source == "bop" and not self.data.path:
            raise ConfigError("data.path is empty; data.source: bop needs the folder of a dataset")
        wrong = [i for i in self.data.object_ids if not i.isdecimal()]
        if wrong:
            raise ConfigError(f"data.object_ids holds {wrong[0]!r}; objects are named by their BOP id, e.g. ['1', '8']")
        require_device(self.training.device)


def read_training(path: Path | str | None, overrides: Mapping[str, Any] | None = None) -> ScoreTraining:
    """See `read_arguments`."""
    return read_arguments(path, overrides, ScoreTraining())
