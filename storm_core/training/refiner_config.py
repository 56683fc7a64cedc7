"""What `storm train refiner|scorer --config FILE` reads: model, data and training arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storm_core.config import check, param
from storm_core.render_compare.shape import NetworkShape, Scaling
from storm_core.training.arguments import read_arguments, require_device


@dataclass(frozen=True)
class ModelArguments:
    width: int = param(16, "channels after the first convolution (published networks: 64)", "", 4, 256)
    blocks: int = param(2, "residual blocks per stage", "", 1, 8)
    heads: int = param(4, "of the attention", "", 1, 16)
    crop: int = param(48, "side of the input pictures", "px", 16, 512)
    crop_ratio: float = param(1.2, "side of the crop", "diameters", 0.5, 4.0)
    turn: float = param(1.9, "what an output of one turns by", "rad", 0.05, 3.14)

    @property
    def shape(self) -> NetworkShape:
        return NetworkShape(width=self.width, blocks=self.blocks, heads=self.heads, crop=self.crop)

    @property
    def scaling(self) -> Scaling:
        return Scaling(crop_ratio=self.crop_ratio, turn=self.turn)


@dataclass(frozen=True)
class DataArguments:
    objects: int = param(400, "procedural training objects", "", 1, 1_000_000)
    validation: int = param(48, "views that validate, of objects never trained on", "", 2, 100_000)
    largest_turn: float = param(90.0, "greatest turn of a hypothesis", "deg", 1.0, 180.0)
    largest_shift: float = param(0.2, "greatest standard deviation of a hypothesis' shift", "diameters", 0.01, 1.0)


@dataclass(frozen=True)
class TrainingArguments:
    steps: int = param(10000, "optimiser steps in total", "", 1, 10_000_000)
    minutes: float = param(0.0, "stop after this time, resumable; 0 = no limit", "min", 0.0, 1e6)
    views: int = param(8, "views per step", "", 1, 4096)
    hypotheses: int = param(10, "hypotheses per view", "", 2, 256)
    learning_rate: float = param(1.5e-3, "of AdamW, after the warm-up", "", 1e-7, 1.0)
    warmup: int = param(100, "steps over which the rate rises", "", 0, 1_000_000)
    decay: int = param(2000, "steps at the end over which the rate falls to a twentieth", "", 0, 10_000_000)
    weight_decay: float = param(1e-3, "of AdamW", "", 0.0, 1.0)
    ema: float = param(0.998, "share of the averaged weights kept per step", "", 0.0, 0.999999)
    amp: bool = param(True, "run the networks in bfloat16; weights stay float32")
    save_every: int = param(200, "steps between checkpoints and validations", "", 1, 1_000_000)
    workers: int = param(0, "processes that make data; 0 = this one", "", 0, 256)
    device: str = param("cpu", "cpu, cuda or cuda:N")
    seed: int = param(0, "of weights, data and hypotheses", "", 0, 2**31 - 1)
    init: str = param("", "weights to start from: the same kind, or a refiner's trunk for a scorer; empty = random")
    out: str = param("runs/refiner", "folder of checkpoints, weights and logs")


@dataclass(frozen=True)
class RefinerTraining:
    """The whole file; sections `model`, `data`, `training`."""

    model: ModelArguments = field(default_factory=ModelArguments)
    data: DataArguments = field(default_factory=DataArguments)
    training: TrainingArguments = field(default_factory=TrainingArguments)

    def __post_init__(self) -> None:
        check(self)
        require_device(self.training.device)
        _ = self.model.shape  # raises when the sizes do not fit each other


def read_refiner_training(path: Path | str | None, overrides: Mapping[str, Any] | None = None) -> RefinerTraining:
    """See `read_arguments`."""
    return read_arguments(path, overrides, RefinerTraining())
