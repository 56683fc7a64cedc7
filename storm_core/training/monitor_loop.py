"""The training loop of both verifiers: binary cross-entropy, a moving average, resumable checkpoints.

Batch number n depends on the seed and n alone, so that a resumed run takes the steps that an unbroken one would take.
"""

import math
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from storm_core.errors import ConfigError, WeightsError
from storm_core.metrics.calibration import calibration
from storm_core.metrics.ranking import auroc, fpr_at_tpr
from storm_core.models.devices import require_torch_device
from storm_core.report.atomic import whole_file
from storm_core.training.logs import open_logs
from storm_core.training.monitor_config import TrainingArguments
from storm_core.training.moving_average import MovingAverage
from storm_core.training.run_folder import require_own_folder
from storm_core.training.slices import finishing_steps

CHECKPOINT = "checkpoint.pt"


class Task(Protocol):
    """What is trained.

    Attributes:
      module: answers logits (B,) to the inputs of a batch. kind: name of the task; a checkpoint holds it.
    """

    module: nn.Module
    kind: str

    def trained_state(self) -> dict[str, Tensor]:
        """What the optimiser changes, sharing memory with the module."""
        ...

    def batch(self, number: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """Inputs and labels (B,) of training batch `number`."""
        ...

    def validation(self) -> "Judged":
        """The module's answers to what it is never trained on."""
        ...

    def save(self, folder: Path, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
        """Write the weights; returns the file."""
        ...


@dataclass(frozen=True, eq=False)
class Judged:
    """Logits (N,) and what is true (N,). groups: kind of every item (N,), for figures by kind; empty = none."""

    logits: np.ndarray
    right: np.ndarray
    groups: np.ndarray

    def figures(self) -> dict[str, float]:
        """accuracy at probability 0.5, auroc, fpr_at_tpr99 (of wrong against right), ece, loss; auroc by group."""
        p = 1 / (1 + np.exp(-np.clip(self.logits, -40, 40)))
        loss = np.logaddexp(0, np.where(self.right, -self.logits, self.logits)).mean()
        out = {"accuracy": float(((p > 0.5) == self.right).mean()), "auroc": auroc(-self.logits, ~self.right),
               "fpr_at_tpr99": fpr_at_tpr(-self.logits, ~self.right, 0.99),
               "ece": calibration(p, self.right).ece, "loss": float(loss)}
        for group in np.unique(self.groups[~self.right]) if len(self.groups) else ():
            use = self.right | (self.groups == group)
            out[f"auroc_{group}"] = auroc(-self.logits[use], ~self.right[use])
        return out


@dataclass(frozen=True)
class Outcome:
    step: int
    steps_now: int
    seconds: float
    validation: dict[str, float]
    weights: Path


def train(task: Task, settings: TrainingArguments, described: Mapping[str, Any], *, resume: bool = False,
          wandb: str = "disabled", progress: bool = True) -> Outcome:
    """Train to settings.steps; checkpoint, weights and log.jsonl go to settings.out.

    Args:
      described: the settings of the run, for the log.

    Raises:
      ConfigError: the folder holds another run, or there is none to resume. BackendError: no such device.
      WeightsError: its checkpoint is damaged.
      KeyboardInterrupt: SIGINT or SIGTERM came; the step was finished and kept.
    """
    require_torch_device(settings.device, "training.device")
    folder = Path(settings.out).expanduser()
    if not resume:
        require_own_folder(folder, "train monitor", CHECKPOINT, ("data", "pair", "training"))
    task.module.to(settings.device)
    state = task.trained_state()
    learned = [p for p in task.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    average = MovingAverage(state, settings.ema)
    first = _resumed(folder / CHECKPOINT, task.kind, state, average, optimizer, resume)
    begin, figures, weights = time.monotonic(), dict[str, float](), folder
    done = first
    with finishing_steps() as stop, open_logs(folder, wandb, described, first, "storm-monitor") as log, \
            tqdm(total=settings.steps, initial=first, desc=f"{task.kind} verifier", unit="step",
                 disable=not progress) as bar:
        for number in range(first, settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(number, settings)
            loss = _step(task, number, optimizer, settings.device)
            average.update(state)
            bar.update()
            done, stopped = number + 1, stop.asked
            if done % 50 == 0:
                log.write(done, {"train/loss": loss, "rate": rate_at(number, settings)})
                bar.set_postfix(loss=f"{loss:.3f}")
            if done % settings.save_every == 0 or done == settings.steps:
                figures = _validated(task, state, average)
                log.write(done, {f"val/{k}": v for k, v in figures.items()})
                weights = task.save(folder, average.state, {"steps": done, "seed": settings.seed,
                                                            "validation": figures})
                _keep(folder / CHECKPOINT, task.kind, done, state, average, optimizer)
            elif stopped:
                _keep(folder / CHECKPOINT, task.kind, done, state, average, optimizer)
            if stopped:
                break
    if stop.asked and done < settings.steps:
        raise KeyboardInterrupt(f"interrupted; step {done} kept in {folder}; go on with --resume")
    return Outcome(settings.steps, settings.steps - first, time.monotonic() - begin, figures, weights)


def rate_at(step: int, settings: TrainingArguments) -> float:
    """Learning rate: linear warm-up, then half a cosine to a fiftieth."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.learning_rate * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, share))))


def _step(task: Task, number: int, optimizer: torch.optim.Optimizer, device: str) -> float:
    inputs, labels = task.batch(number)
    optimizer.zero_grad(set_to_none=True)
    logits = task.module.train()(*(x.to(device) for x in inputs))
    loss = nn.functional.binary_cross_entropy_with_logits(logits, labels.to(device, torch.float32))
    loss.backward()
    nn.utils.clip_grad_norm_([p for p in task.module.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _validated(task: Task, state: dict[str, Tensor], average: MovingAverage) -> dict[str, float]:
    """Figures of the averaged weights."""
    kept = {name: value.clone() for name, value in state.items()}
    for name, value in state.items():
        value.copy_(average.state[name])
    task.module.eval()
    figures = task.validation().figures()
    for name, value in state.items():
        value.copy_(kept[name])
    return figures


def _keep(file: Path, kind: str, step: int, state: dict[str, Tensor], average: MovingAverage,
          optimizer: torch.optim.Optimizer) -> None:
    with whole_file(file) as path:
        torch.save({"kind": kind, "step": step, "state": state, "average": average.state,
                    "optimizer": optimizer.state_dict()}, path)


@torch.no_grad()
def _resumed(file: Path, kind: str, state: dict[str, Tensor], average: MovingAverage,
             optimizer: torch.optim.Optimizer, resume: bool) -> int:
    """Put a stopped run back; the step it goes on from."""
    if not resume:
        if file.is_file():
            raise ConfigError(f"{file.parent} holds a run already; continue it with --resume, or choose another "
                              "training.out")
        return 0
    if not file.is_file():
        raise ConfigError(f"--resume: there is no checkpoint {file}; start without")
    try:
        # weights_only: a checkpoint can hold tensors and numbers, never code.
        kept = torch.load(file, map_location="cpu", weights_only=True)
        if kept["kind"] != kind or {k: v.shape for k, v in kept["state"].items()} != {
                k: v.shape for k, v in state.items()}:
            raise ConfigError(f"{file} is of another network; keep data.source and the section pair of its run")
        for name, value in state.items():
            value.copy_(kept["state"][name])
            average.state[name].copy_(kept["average"][name])
        average.steps = int(kept["step"])
        optimizer.load_state_dict(kept["optimizer"])
        return int(kept["step"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"the checkpoint {file} is damaged ({type(error).__name__}); remove it and start anew"
                           ) from error
