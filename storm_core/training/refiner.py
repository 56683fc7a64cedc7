"""The training loop of the refiner and the scorer (`storm train refiner|scorer`).

The refiner learns the motion to the truth (shift in radii, turn in radians, weighted alike) under a robust length, so
that hopeless hypotheses do not drown the precise ones. The scorer learns to order the hypotheses of a view by their
mean point error: a logistic loss over the pairs that differ clearly. Checkpoints hold everything, so that a run may be
cut into slices of any length and gives the same steps.
"""

import contextlib
import json
import math
import time
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from storm_core.config import flatten
from storm_core.errors import ConfigError, WeightsError
from storm_core.models.devices import require_torch_device
from storm_core.render_compare.networks import RefineNet, ScoreNet
from storm_core.render_compare.weights import PairWeights, load_pair_weights, save_pair_weights
from storm_core.report.atomic import whole_file
from storm_core.training.arguments import arguments_yaml
from storm_core.training.logs import open_logs
from storm_core.training.moving_average import MovingAverage
from storm_core.training.refiner_batches import FIRST_VALIDATION, Batches, PairBatch
from storm_core.training.refiner_config import RefinerTraining
from storm_core.training.refiner_figures import refiner_figures, scorer_figures
from storm_core.training.run_folder import require_own_folder
from storm_core.training.slices import (
    Outcome,
    damaged_checkpoint,
    finishing_steps,
    learning_rate,
    load_checkpoint,
    numbered_batches,
)

CHECKPOINT, WEIGHTS = "checkpoint.pt", "weights.safetensors"

KEPT = frozenset({"network", "average", "step", "optimizer", "model"})
"""What a checkpoint must hold."""

CORE = 0.05
"""Length of a motion's error below which the refiner's loss is quadratic [radii, radians]."""

CLEAR = 0.03
"""Mean point errors that differ by less say nothing about which pose is better [diameters]."""

WORST = 0.5
"""Poses further off are all the same [diameters]."""


def train(config: RefinerTraining, kind: str, *, resume: bool = False, wandb: str = "disabled",
          progress: bool = True) -> Outcome:
    """Train the `refiner` or the `scorer` until config.training.steps or .minutes are over.

    Checkpoints, weights and a log go to training.out.

    Raises:
      ConfigError: the folder holds another run. BackendError: no such device. WeightsError: damaged checkpoint.
      KeyboardInterrupt: SIGINT or SIGTERM came; the step was finished and kept.
    """
    arguments = config.training
    require_torch_device(arguments.device, "training.device")
    folder = Path(arguments.out).expanduser()
    state = _started(config, kind, folder, resume)
    source = Batches(config, scorer=kind == "scorer")
    begin, first = time.monotonic(), state.step
    validation: dict[str, float] = {}
    numbers = range(state.step, arguments.steps)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(finishing_steps())
        log = stack.enter_context(open_logs(folder, wandb, flatten(config), state.step, f"storm-{kind}"))
        batches = stack.enter_context(numbered_batches(source.batch, arguments.workers, numbers))
        bar = stack.enter_context(tqdm(total=arguments.steps, initial=state.step, desc=kind, disable=not progress,
                                       unit="step"))
        for number, batch in batches:
            figures = state.learn(batch, learning_rate(arguments, number))
            log.write(state.step, {f"train/{k}": v for k, v in figures.items()})
            bar.set_postfix(loss=f"{figures['loss']:.3f}")
            bar.update()
            stopped = stop.asked
            out_of_time = arguments.minutes > 0 and time.monotonic() - begin > 60 * arguments.minutes
            if (number + 1) % arguments.save_every == 0 or number + 1 == arguments.steps or out_of_time:
                validation = state.validate(source)
                log.write(state.step, {f"val/{k}": v for k, v in validation.items()})
                _save(state, folder, validation)
            elif stopped:
                _save(state, folder, validation)
            if out_of_time or stopped:
                break
    if stop.asked and state.step < arguments.steps:
        raise KeyboardInterrupt(f"interrupted; step {state.step} kept in {folder}; go on with --resume")
    return Outcome(state.step, state.step - first, time.monotonic() - begin, validation, folder / WEIGHTS)


class State:
    """The network, the running average of its weights, and the optimiser."""

    def __init__(self, config: RefinerTraining, kind: str) -> None:
        self.config, self.kind = config, kind
        torch.manual_seed(config.training.seed)
        shape, self._device = config.model.shape, config.training.device
        self.network: RefineNet | ScoreNet = RefineNet(shape) if kind == "refiner" else ScoreNet(shape)
        self.network.to(device=self._device, memory_format=torch.channels_last)
        self.moving = MovingAverage(self.network.state_dict(), config.training.ema)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=config.training.learning_rate,
                                           betas=(0.9, 0.99), weight_decay=config.training.weight_decay)

    @property
    def step(self) -> int:
        """Steps taken so far, those before an interruption included."""
        return self.moving.steps

    def learn(self, batch: PairBatch, rate: float) -> dict[str, float]:
        """One step."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self._outputs(self.network, batch), batch)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), 2.0))
        if np.isfinite(norm):
            self.optimizer.step()
        self.moving.update(self.network.state_dict())
        return {"loss": float(loss.detach()), "gradient": norm, "rate": rate}

    @torch.no_grad()
    def validate(self, source: Batches) -> dict[str, float]:
        """Figures of the averaged weights on objects that are never trained on; the same views every time."""
        network = type(self.network)(self.config.model.shape).to(self._device, memory_format=torch.channels_last)
        network.load_state_dict(self.moving.state)
        network.eval()
        count = math.ceil(self.config.data.validation / self.config.training.views)
        batches = [source.batch(FIRST_VALIDATION + k) for k in range(count)]
        outputs = [self._outputs(network, batch) for batch in batches]
        loss = float(np.mean([float(self._loss(o, b)) for o, b in zip(outputs, batches, strict=True)]))
        columns = [np.concatenate([o[k].cpu().numpy() for o in outputs]) for k in range(len(outputs[0]))]
        if self.kind == "scorer":
            error = np.concatenate([b.error.reshape(-1, b.hypotheses) for b in batches])
            return {"loss": loss, **scorer_figures(columns[0], error)}
        shift, turn = (np.concatenate([getattr(b, name) for b in batches]) for name in ("shift", "turn"))
        return {"loss": loss, **refiner_figures(*columns, shift, turn)}

    def _outputs(self, network: nn.Module, batch: PairBatch) -> tuple[Tensor, ...]:
        """Shift [radii] and turn [rad] (N, 3) of the refiner, or scores (views, hypotheses) of the scorer."""
        pairs = torch.as_tensor(batch.pairs, device=self._device)
        rendered, seen = (pairs[:, k].contiguous(memory_format=torch.channels_last) for k in (0, 1))
        with torch.autocast(self._device.split(":")[0], torch.bfloat16, enabled=self.config.training.amp):
            if self.kind == "scorer":
                return (network(rendered, seen, batch.hypotheses).float(),)
            shift, turn = network(rendered, seen)
        return shift.float(), torch.tanh(turn.float()) * self.config.model.scaling.turn

    def _loss(self, outputs: tuple[Tensor, ...], batch: PairBatch) -> Tensor:
        if self.kind == "scorer":
            error = torch.as_tensor(batch.error, device=self._device).reshape(-1, batch.hypotheses).clamp(max=WORST)
            return _ordering_loss(outputs[0], error)
        wanted = (torch.as_tensor(x, device=self._device) for x in (batch.shift, batch.turn))
        return torch.stack([_robust(o - w) for o, w in zip(outputs, wanted, strict=True)]).sum(0).mean()


def _robust(error: Tensor) -> Tensor:
    """Lengths (N,) of vectors (N, 3), quadratic near 0."""
    return ((error**2).sum(-1) + CORE**2).sqrt() - CORE


def _ordering_loss(score: Tensor, error: Tensor) -> Tensor:
    """Mean logistic loss of the pairs within a view whose errors differ clearly; scores and errors (views, K)."""
    better = (error[:, None, :] - error[:, :, None]) > CLEAR
    lead = score[:, :, None] - score[:, None, :]
    return (nn.functional.softplus(-lead) * better).sum() / better.sum().clamp(min=1)


def _started(config: RefinerTraining, kind: str, folder: Path, resume: bool) -> State:
    """A new state, or the one of the folder's checkpoint."""
    file = folder / CHECKPOINT
    if file.is_file() and not resume:
        raise ConfigError(f"{folder} holds a run already; continue it with --resume, or choose another training.out")
    if resume and not file.is_file():
        raise ConfigError(f"--resume: there is no checkpoint {file}")
    if not resume:
        require_own_folder(folder, f"train {kind}", CHECKPOINT, [f.name for f in fields(RefinerTraining)])
    state = State(config, kind)
    if resume:
        kept = load_checkpoint(file, config.training.device, config.training.seed, KEPT)
        if kept["model"] != _model_of(config, kind):
            raise ConfigError(f"{file} is of another network: {kept['model']}; keep the section `model` of its config")
        try:
            state.network.load_state_dict(kept["network"])
            state.moving.state = kept["average"]
            state.moving.steps = int(kept["step"])
            state.optimizer.load_state_dict(kept["optimizer"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise damaged_checkpoint(file, error) from error
    elif config.training.init:
        _begin_from(state, config, kind)
    return state


def _begin_from(state: State, config: RefinerTraining, kind: str) -> None:
    """Weights of training.init; a scorer may take a refiner's trunk, whose layers have nearly the same names."""
    path, device = config.training.init, config.training.device
    try:
        initial = load_pair_weights(path, kind)
        names = {name: name for name in initial.tensors}
    except WeightsError:
        if kind != "scorer":
            raise
        initial = load_pair_weights(path, "refiner")
        names = {name: name.replace("encode", "encoder", 1) for name in initial.tensors if name.startswith("encode")}
    if initial.shape != config.model.shape:
        raise ConfigError(f"training.init {path} has the shape {initial.shape}, the section `model` says "
                          f"{config.model.shape}; make them equal")
    tensors = {new: torch.tensor(initial.tensors[old], device=device) for old, new in names.items()}
    unknown = state.network.load_state_dict(tensors, strict=False).unexpected_keys
    if unknown:
        raise WeightsError(f"training.init {path} has the unknown tensor {unknown[0]}; it was made by another version")
    for name, value in state.network.state_dict().items():
        state.moving.state[name].copy_(value)


def _model_of(config: RefinerTraining, kind: str) -> str:
    return json.dumps({"kind": kind} | asdict(config.model), sort_keys=True)


def _save(state: State, folder: Path, validation: dict[str, float]) -> None:
    config = state.config
    kept = {"network": state.network.state_dict(), "average": state.moving.state, "step": state.step,
            "optimizer": state.optimizer.state_dict(), "model": _model_of(config, state.kind),
            "seed": config.training.seed}
    with whole_file(folder / CHECKPOINT) as path:
        torch.save(kept, path)
    facts = {"steps": state.step, "seed": config.training.seed, "objects": config.data.objects,
             "views": state.step * config.training.views, "validation": validation}
    tensors = {k: v.float().cpu().numpy() for k, v in state.moving.state.items() if v.is_floating_point()}
    with whole_file(folder / WEIGHTS) as path:
        save_pair_weights(path, PairWeights(state.kind, tensors, config.model.shape, config.model.scaling, facts))
    with whole_file(folder / "config.yaml") as path:
        path.write_text(arguments_yaml(config))
