"""Denoising score matching: the training loop of the score network (`storm train score`).

The loss is |s - s*|^2, s the network's score and s* the exact score of the noise that was added, both times the noise
width, so that every level counts alike (Vincent 2011; Song and Ermon 2019), plus a Huber loss of the error head.
Checkpoints hold everything, so that a run may be cut into slices of any length and gives the same steps.
"""

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from storm_core.config import flatten
from storm_core.errors import ConfigError
from storm_core.models.devices import require_torch_device
from storm_core.report.atomic import whole_file
from storm_core.score_model.encoder import Cloud, NetworkConfig, encode, repeated
from storm_core.score_model.network import FIXED, initial_parameters, score_and_error
from storm_core.score_model.weights import ScoreWeights, load_weights, save_weights
from storm_core.training.arguments import arguments_yaml
from storm_core.training.logs import open_logs
from storm_core.training.run_folder import require_own_folder
from storm_core.training.score_batches import Batch
from storm_core.training.score_config import ScoreTraining, TrainingArguments
from storm_core.training.score_source import FIRST_VALIDATION, Source, source_of
from storm_core.training.slices import (
    Outcome,
    damaged_checkpoint,
    finishing_steps,
    learning_rate,
    load_checkpoint,
    numbered_batches,
    require_torch,
)

logger = logging.getLogger(__name__)

CHECKPOINT, WEIGHTS = "checkpoint.pt", "weights.npz"
KEPT = frozenset({"params", "average", "step", "optimizer", "model"})
"""What a checkpoint must hold."""

BINS = 4
"""Parts of the range of levels that losses are reported for."""


def train(config: ScoreTraining, *, resume: bool = False, wandb: str = "disabled",
          progress: bool = True) -> Outcome:
    """Train until config.training.steps or .minutes are over; checkpoints, weights and a log go to training.out.

    Raises:
      ConfigError: the folder holds another run. BackendError: no torch, or no such device.
      KeyboardInterrupt: SIGINT or SIGTERM came; the step was finished and kept.
    """
    torch = require_torch("score network")
    arguments = config.training
    require_torch_device(arguments.device, "training.device")
    folder = Path(arguments.out).expanduser()
    state = _started(torch, config, folder, resume)
    source = source_of(config)
    if not source.validation:
        logger.warning("%s holds no image beside those that train, so there are no validation figures; name some in "
                       "test_idxs.txt", config.data.path)
    begin, first = time.monotonic(), state.step
    validation: dict[str, float] = {}
    numbers = range(state.step, arguments.steps)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(finishing_steps())
        log = stack.enter_context(open_logs(folder, wandb, flatten(config), state.step, "storm-score"))
        batches = stack.enter_context(numbered_batches(source.batch, arguments.workers, numbers))
        bar = stack.enter_context(tqdm(total=arguments.steps, initial=state.step, desc="score network",
                                       disable=not progress, unit="step"))
        for number, batch in batches:
            figures = state.learn(batch, learning_rate(arguments, number))
            log.write(state.step, {f"train/{k}": v for k, v in figures.items()})
            bar.set_postfix(loss=f"{figures['loss']:.3f}")
            bar.update()
            stopped = stop.asked
            out_of_time = arguments.minutes > 0 and time.monotonic() - begin > 60 * arguments.minutes
            if (number + 1) % arguments.save_every == 0 or number + 1 == arguments.steps or out_of_time:
                validation = state.validate(source, arguments)
                if validation:
                    log.write(state.step, {f"val/{k}": v for k, v in validation.items()})
                _saved(torch, state, config, folder, validation)
            elif stopped:
                _saved(torch, state, config, folder, validation)
            if out_of_time or stopped:
                break
    if stop.asked and state.step < arguments.steps:
        raise KeyboardInterrupt(f"interrupted; step {state.step} kept in {folder}; go on with --resume")
    return Outcome(state.step, state.step - first, time.monotonic() - begin, validation, folder / WEIGHTS)


class State:
    """Weights, their running average and the optimiser."""

    def __init__(self, torch: Any, config: ScoreTraining, params: dict[str, Any]) -> None:
        from storm_core.training.moving_average import MovingAverage  # needs torch

        self._torch, self.config, self.network = torch, config, config.model.network
        device = config.training.device
        self.params = {k: torch.tensor(v, device=device).requires_grad_(k not in FIXED) for k, v in params.items()}
        self._predicted = partial(predicted, torch)
        if config.training.compile:
            self._predicted = partial(predicted, torch, encoder=torch.compile(encode, dynamic=False),
                                      head=torch.compile(score_and_error, dynamic=False))
        self._moving = MovingAverage(self.params, config.training.ema)
        learned = [v for k, v in self.params.items() if k not in FIXED]
        self.optimizer = torch.optim.AdamW(learned, lr=config.training.learning_rate, betas=(0.9, 0.99),
                                           weight_decay=config.training.weight_decay)

    @property
    def step(self) -> int:
        """Steps taken so far, those before an interruption included."""
        return self._moving.steps

    @property
    def average(self) -> dict[str, Any]:
        """The averaged weights, which are validated and shipped."""
        return self._moving.state

    def go_on(self, average: dict[str, Any], optimizer: dict[str, Any], step: int) -> None:
        """Where an interrupted run was."""
        for name, value in average.items():
            self.average[name].copy_(value)
        self._moving.steps = step
        self.optimizer.load_state_dict(optimizer)

    def learn(self, batch: Batch, rate: float) -> dict[str, float]:
        """One step; losses by part of the range of levels."""
        torch = self._torch
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, figures = self._loss(self.params, batch)
        loss.backward()
        learned = [v for k, v in self.params.items() if k not in FIXED]
        norm = float(torch.nn.utils.clip_grad_norm_(learned, 2.0))
        if np.isfinite(norm):
            self.optimizer.step()
        self._moving.update(self.params)
        return figures | {"gradient": norm, "rate": rate}

    def validate(self, source: Source, arguments: TrainingArguments) -> dict[str, float]:
        """Losses of the averaged weights on views that are never trained on, the same every time; {} without any."""
        if not source.validation:
            return {}
        count = math.ceil(source.validation / arguments.views)
        with self._torch.no_grad():
            tables = [self._loss(self.average, source.batch(FIRST_VALIDATION + k))[1] for k in range(count)]
        return {k: float(np.mean([t[k] for t in tables if k in t])) for k in tables[0]}

    def _loss(self, params: dict[str, Any], batch: Batch) -> tuple[Any, dict[str, float]]:
        score, error = self._predicted(params, self.network, batch, self.config.training.device)
        target = self._tensor(batch.target)
        miss = (score - target) ** 2
        of_error = self._torch.nn.functional.smooth_l1_loss(error, self._tensor(batch.error), beta=0.3)
        loss = miss.sum(-1).mean() + self.config.training.error_weight * of_error
        shift, turn = (miss[:, s].sum(-1).detach().cpu().numpy() for s in (slice(0, 3), slice(3, 6)))
        part = np.minimum((batch.level * BINS).astype(int), BINS - 1)
        figures = {"loss": float(loss.detach()), "error": float(of_error.detach())}
        for k in np.unique(part):
            figures |= {f"shift{k}": float(shift[part == k].mean()), f"turn{k}": float(turn[part == k].mean())}
        return loss, figures

    def _tensor(self, x: Any) -> Any:
        return self._torch.as_tensor(x, device=self.config.training.device)

    def weights(self, facts: dict[str, Any]) -> ScoreWeights:
        return ScoreWeights({k: v.detach().cpu().numpy() for k, v in self.average.items()}, self.network,
                            self.config.model.schedule, facts)


def predicted(torch: Any, params: dict[str, Any], network: NetworkConfig, batch: Batch, device: str,
              encoder: Callable[..., Cloud] = encode, head: Callable[..., tuple[Any, Any]] = score_and_error
              ) -> tuple[Any, Any]:
    """Score (B K, 6) and log error (B K,) of a batch. encoder, head: the network's two parts, maybe compiled."""
    x = {f.name: torch.as_tensor(getattr(batch, f.name), device=device) for f in fields(Batch)}
    scene = encoder(params, network, x["scene"], x["scene_normals"])
    scene = repeated(scene, len(batch.level) // len(batch.scene))
    obj = encoder(params, network, x["obj"], x["obj_normals"])
    return head(params, network, scene, obj, x["centers"], x["rays"], x["axes"], x["level"], x["widths"])


def _started(torch: Any, config: ScoreTraining, folder: Path, resume: bool) -> State:
    """A new state, or the one of the folder's checkpoint."""
    file = folder / CHECKPOINT
    torch.manual_seed(config.training.seed)
    if file.is_file() and not resume:
        raise ConfigError(f"{folder} holds a run already; continue it with --resume, or choose another training.out")
    if resume and not file.is_file():
        raise ConfigError(f"--resume: there is no checkpoint {file}")
    if not resume:
        require_own_folder(folder, "train score", CHECKPOINT, [f.name for f in fields(ScoreTraining)])
    if resume:
        kept = load_checkpoint(file, config.training.device, config.training.seed, KEPT)
        try:
            if json.loads(kept["model"]) != _model_of(config):
                raise ConfigError(f"{file} is of another network: {kept['model']}; keep the section `model` of its "
                                  "config")
            state = State(torch, config, {k: v.cpu().numpy() for k, v in kept["params"].items()})
            state.go_on(kept["average"], kept["optimizer"], int(kept["step"]))
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise damaged_checkpoint(file, error) from error
        return state
    if config.training.init:
        initial = load_weights(config.training.init)
        if initial.network != config.model.network:
            raise ConfigError(f"training.init {config.training.init} has the network {initial.network}, the section "
                              f"`model` says {config.model.network}; make them equal")
        return State(torch, config, initial.params)
    return State(torch, config, initial_parameters(config.model.network, config.training.seed))


def _model_of(config: ScoreTraining) -> dict[str, Any]:
    return {name: getattr(config.model, name) for name in sorted(f.name for f in fields(config.model))}


def _saved(torch: Any, state: State, config: ScoreTraining, folder: Path, validation: dict[str, float]) -> None:
    kept = {"params": {k: v.detach() for k, v in state.params.items()}, "average": state.average, "step": state.step,
            "optimizer": state.optimizer.state_dict(), "model": json.dumps(_model_of(config)),
            "seed": config.training.seed}
    with whole_file(folder / CHECKPOINT) as path:
        torch.save(kept, path)
    facts = {"steps": state.step, "source": config.data.source, "seed": config.training.seed,
             "views": state.step * config.training.views, "validation": validation}
    with whole_file(folder / WEIGHTS) as path:
        save_weights(path, state.weights(facts))
    with whole_file(folder / "config.yaml") as path:
        path.write_text(arguments_yaml(config))
