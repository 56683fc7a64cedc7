"""One training run of the HSFA network: the loop, its checkpoints and its resumption."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from storm_core.config import flatten
from storm_core.errors import ConfigError
from storm_core.report.atomic import whole_file
from storm_core.som.hsfa import checkpoint
from storm_core.som.hsfa.network import HsfaNetwork, seeded
from storm_core.som.hsfa.settings import NetworkSettings
from storm_core.training.logs import open_logs
from storm_core.training.moving_average import MovingAverage
from storm_core.training.slices import Stop, finishing_steps
from storm_core.training.som.distributed import Crew
from storm_core.training.som.losses import Losses, objective
from storm_core.training.som.samples import Batch, Samples, collate
from storm_core.training.som.settings import TrainSettings
from storm_core.training.som.state import load_run, optimizer_of, save_state
from storm_core.training.som.validate import validate

Progress = Callable[[int, Mapping[str, float]], None]
"""(steps done, latest figures)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """steps: done in all. steps_now: by this call. best: highest validation IoU (nan without validation). figures: of
    the last validation.
    """

    steps: int
    steps_now: int
    best: float
    figures: Mapping[str, float]
    seconds: float


def rate_at(step: int, settings: TrainSettings) -> float:
    """Learning rate: linear warm-up, then cosine to last_rate."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.last_rate + (settings.rate - settings.last_rate) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def train(out: Path, settings: TrainSettings, network_settings: NetworkSettings, training: Samples,
          validation: Samples | None, crew: Crew, *, resume: bool = False, backbone: nn.Module | None = None,
          begun: Callable[[], None] | None = None, progress: Progress | None = None) -> Outcome:
    """Train and leave in `out`: last.safetensors and best.safetensors (moving averages), state.pt, log.jsonl.

    Args:
      begun: called by the leading process once nothing can refuse the run any more, to write what lies beside it.

    Raises:
      ConfigError: settings that this machine cannot follow.
      WeightsError: nothing to resume, or of another network.
      KeyboardInterrupt: SIGINT or SIGTERM came to a single process; the step was finished and kept.
    """
    if settings.amp == "fp16" and not crew.device.startswith("cuda"):
        raise ConfigError("amp fp16 needs CUDA; use bf16 or off on the CPU")
    network = seeded(network_settings, settings.seed, backbone).to(crew.device).train()
    average = MovingAverage(network.trained_state(), settings.ema)
    optimizer = optimizer_of(network, settings.rate, settings.decay)
    scaler = torch.amp.GradScaler(crew.device.split(":")[0], enabled=settings.amp == "fp16")
    first, best = load_run(out, network, average, optimizer, scaler) if resume else (0, float("-inf"))
    wrapped = crew.wrapped(network)
    described = flatten(settings) | asdict(network_settings)
    logs = open_logs(out, settings.wandb, described, first, "storm-som") if crew.leads else None
    begin, figures, done = time.perf_counter(), {}, first
    with contextlib.ExitStack() as stack:
        if logs is not None:
            stack.callback(logs.close)
        # Several processes would have to agree on the step they stop at.
        stop = stack.enter_context(finishing_steps()) if crew.size == 1 else Stop()
        if begun is not None and crew.leads:
            begun()
        if first >= settings.steps and validation is not None:
            figures = validate(network, average.state, validation, settings.data.val_samples, settings.batch, crew)
        for step, batch in enumerate(_batches(training, settings, crew, first), first):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(step, settings)
            losses = _step(wrapped, network, batch.to(crew.device), optimizer, scaler, settings, crew)
            average.update(network.trained_state())
            done, stopped = step + 1, stop.asked
            latest = {"rate": rate_at(step, settings)}
            if done % settings.log_every == 0 or done == settings.steps:
                latest |= {f"loss/{name}": float(value) for name, value in zip(Losses._fields, losses, strict=True)}
            if done % settings.validate_every == 0 or done == settings.steps:
                if validation is not None:
                    figures = validate(network, average.state, validation, settings.data.val_samples, settings.batch,
                                       crew)
                    latest |= figures
                better = figures.get("val/iou", float("nan")) > best
                best = figures["val/iou"] if better else best
                if crew.leads:
                    _keep(out, done, best, better, network, average, optimizer, scaler)
                crew.wait()
            elif stopped:
                _keep(out, done, best, False, network, average, optimizer, scaler)
            if logs is not None and len(latest) > 1:
                logs.write(done, latest)
            if progress is not None:
                progress(done, latest)
            if stopped:
                break
    if stop.asked and done < settings.steps:
        raise KeyboardInterrupt(f"interrupted; step {done} kept in {out}; go on with --resume")
    return Outcome(steps=max(first, settings.steps), steps_now=max(0, settings.steps - first),
                   best=best if math.isfinite(best) else float("nan"), figures=figures,
                   seconds=time.perf_counter() - begin)


def _step(wrapped: nn.Module, network: HsfaNetwork, batch: Batch, optimizer: torch.optim.Optimizer,
          scaler: torch.amp.GradScaler, settings: TrainSettings, crew: Crew) -> Losses:
    kind = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[settings.amp]
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(crew.device.split(":")[0], dtype=kind, enabled=settings.amp != "off"):
        masks = wrapped(batch.query, batch.views, batch.text)
    losses = objective(masks.logits.float(), masks.iou.float(), batch.target, settings.loss)
    scaler.scale(losses.total).backward()
    scaler.unscale_(optimizer)
    if settings.clip > 0:
        nn.utils.clip_grad_norm_(network.trainable(), settings.clip)
    scaler.step(optimizer)
    scaler.update()
    return Losses(*(value.detach() for value in losses))


def _batches(samples: Samples, settings: TrainSettings, crew: Crew, first: int) -> Iterator[Batch]:
    """Batches of the steps from `first`; sample numbers depend on step and rank alone."""
    numbers = [[(step * crew.size + crew.rank) * settings.batch + k for k in range(settings.batch)]
               for step in range(first, settings.steps)]
    together = partial(collate, queries=settings.data.queries)
    if not settings.workers:
        yield from (together([samples[k] for k in batch]) for batch in numbers)
        return
    # Spawned: a forked copy of a process with compiled kernels and threads may hang.
    yield from torch.utils.data.DataLoader(samples, batch_sampler=numbers, num_workers=settings.workers,
                                           collate_fn=together, multiprocessing_context="spawn")


def _keep(out: Path, step: int, best: float, better: bool, network: HsfaNetwork, average: MovingAverage,
          optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    # A run whose validation never showed an object still leaves a network to use.
    for name in ("last", "best") if better or not (out / "best.safetensors").exists() else ("last",):
        with whole_file(out / f"{name}.safetensors") as part:
            checkpoint.save(network, part, average.state)
    save_state(out, step, best, network, average, optimizer, scaler)


def write_summary(out: Path, outcome: Outcome, head: Mapping[str, object]) -> None:
    with whole_file(out / "results.json") as file:
        clean = {k: v if math.isfinite(v) else None for k, v in {**outcome.figures, "best": outcome.best}.items()}
        file.write_text(json.dumps({**head, "steps": outcome.steps, "seconds": outcome.seconds, **clean}, indent=1)
                        + "\n")


def text_vectors(settings: TrainSettings, network: NetworkSettings, keys: frozenset[str]) -> dict[str, Tensor]:
    """(text_dim,) of every object that settings.text describes, by key or by the name after the dataset.

    Raises:
      ConfigError: text and network do not go together.
    """
    if bool(settings.text) != bool(network.text_dim):
        raise ConfigError(f"text is {settings.text or 'empty'!r} and network.text_dim is {network.text_dim}; give both "
                          "or neither")
    if not settings.text:
        return {}
    from storm_core.models.store import resolve
    from storm_core.som.hsfa.text import TextEncoder, read_descriptions

    descriptions = read_descriptions(Path(settings.text).expanduser())
    encoder = TextEncoder(resolve(settings.text_encoder, "text_encoder"))
    if encoder.dim != network.text_dim:
        raise ConfigError(f"network.text_dim is {network.text_dim}, but the text encoder gives {encoder.dim}")
    said = {key: descriptions.get(key, descriptions.get(key.split("/")[-1], "")) for key in sorted(keys)}
    known = [key for key, text in said.items() if text]
    if not known:
        return {}
    return dict(zip(known, encoder.embed([said[key] for key in known]), strict=True))
