"""A moving average of weights: what is validated and kept."""

import torch
from torch import Tensor


class MovingAverage:
    """Average of a trained state; the first steps count more, so that it is useful before 1 / (1 - decay) steps."""

    def __init__(self, state: dict[str, Tensor], decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.state = {name: value.detach().clone() for name, value in state.items()}

    @torch.no_grad()
    def update(self, state: dict[str, Tensor]) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in state.items():
            if value.is_floating_point():
                self.state[name].lerp_(value.detach().to(self.state[name]), 1 - decay)
            else:
                self.state[name].copy_(value)
