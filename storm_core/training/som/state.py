"""What a run needs to go on exactly where it stopped."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from storm_core.errors import ConfigError, WeightsError
from storm_core.report.atomic import whole_file
from storm_core.som.hsfa.checkpoint import backbone_of, fingerprint, load_state
from storm_core.som.hsfa.network import HsfaNetwork
from storm_core.training.moving_average import MovingAverage

FILE = "state.pt"


def save_state(folder: Path, step: int, best: float, network: HsfaNetwork, average: MovingAverage,
               optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    with whole_file(folder / FILE) as part:
        torch.save({"step": step, "best": best, "network": network.trained_state(), "average": average.state,
                    "average_steps": average.steps, "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict(),
                    "settings": asdict(network.settings), "backbone": fingerprint(backbone_of(network))}, part)


def load_run(folder: Path, network: HsfaNetwork, average: MovingAverage, optimizer: torch.optim.Optimizer,
             scaler: torch.amp.GradScaler) -> tuple[int, float]:
    """Put a stopped run back; returns its step and best figure.

    Raises:
      WeightsError: nothing to go on with, damaged, or of another network.
    """
    file = folder / FILE
    if not file.is_file():
        raise WeightsError(f"{file} does not exist; start without --resume")
    try:
        # weights_only: a state file can hold tensors and numbers, never code.
        kept: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if kept["settings"] != asdict(network.settings) or kept["backbone"] != fingerprint(backbone_of(network)):
            raise ConfigError(f"{file} belongs to a network of another size or backbone; use the settings in "
                              f"{folder / 'config.yaml'}")
        load_state(network, kept["network"], str(file))
        average.state = {name: value.to(average.state[name].device) for name, value in kept["average"].items()}
        average.steps = kept["average_steps"]
        optimizer.load_state_dict(kept["optimizer"])
        scaler.load_state_dict(kept["scaler"])
        return int(kept["step"]), float(kept["best"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError) as error:
        raise WeightsError(f"{file} is damaged: {error}") from error


def optimizer_of(network: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """AdamW without decay on biases, norms and scales."""
    trained = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.AdamW([{"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
                              {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0}], lr=rate)
