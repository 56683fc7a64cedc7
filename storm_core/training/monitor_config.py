"""What `storm train monitor --config FILE` reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storm_core.config import check, param
from storm_core.errors import ConfigError
from storm_core.monitor.pair_settings import PairSettings
from storm_core.training.arguments import read_arguments, require_device


@dataclass(frozen=True)
class DataArguments:
    source: str = param("records", "records: labelled poses on rendered tables, for the small RGB-D network; pairs: a "
                        "JSONL of picture pairs, for the pair model", choices=("records", "pairs"))
    records: str = param("runs/monitor/records", "records: folder they are kept in; what is missing is made")
    scenes: int = param(230, "records: scenes to train on, about 330 poses each", "", 1, 90_000)
    val_scenes: int = param(30, "records: scenes of other objects that validate", "", 1, 90_000)
    workers: int = param(2, "records: processes that make them", "", 1, 256)
    pairs: str = param("", "pairs: JSONL with img1, img2 and label (1 = same object, rightly framed) in every line")
    val_share: float = param(0.1, "pairs: share of the reference pictures (img1) that only validate", "", 0.01, 0.9)
    size: int = param(224, "pairs: side that pictures are resized to", "px", 14, 1024)


@dataclass(frozen=True)
class TrainingArguments:
    steps: int = param(6000, "optimiser steps in total", "", 1, 10_000_000)
    batch: int = param(96, "poses or pairs per step, half of them right: an even number", "", 2, 4096)
    learning_rate: float = param(2e-3, "of AdamW, after the warm-up", "", 1e-7, 1.0)
    warmup: int = param(100, "steps over which the rate rises", "", 0, 1_000_000)
    weight_decay: float = param(1e-3, "of AdamW", "", 0.0, 1.0)
    ema: float = param(0.998, "share of the averaged weights kept per step", "", 0.0, 0.999999)
    save_every: int = param(500, "steps between validations and checkpoints", "", 1, 1_000_000)
    seed: int = param(0, "of weights, records and order", "", 0, 800)
    device: str = param("cpu", "cpu or cuda")
    out: str = param("runs/monitor", "folder of checkpoint, weights and log")


@dataclass(frozen=True)
class MonitorTraining:
    """The whole file; sections `data`, `pair` (the pair model's shape) and `training`."""

    data: DataArguments = field(default_factory=DataArguments)
    pair: PairSettings = field(default_factory=PairSettings)
    training: TrainingArguments = field(default_factory=TrainingArguments)

    def __post_init__(self) -> None:
        check(self)
        if self.data.source == "pairs" and not self.data.pairs:
            raise ConfigError("data.pairs is empty; data.source: pairs needs a JSONL file of picture pairs")
        if self.training.batch % 2:
            raise ConfigError(f"training.batch must be even, half right and half wrong, got {self.training.batch}")
        require_device(self.training.device)


def read_training(path: Path | str | None, overrides: Mapping[str, Any] | None = None) -> MonitorTraining:
    """See `read_arguments`."""
    return read_arguments(path, overrides, MonitorTraining())
