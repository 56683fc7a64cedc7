"""The small learned verifier: crop in, log-odds out; plain NumPy, so that tracking needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from storm_core.monitor.crop import INPUTS, SIDE
from storm_core.monitor.forward import log_odds_kernel

Array = NDArray[np.float32]

LAYERS = ((INPUTS, 16, 2), (16, 24, 2), (24, 32, 1), (32, 48, 2), (48, 64, 1))
"""Convolutions of 3 x 3 px, each followed by a rectifier: channels in, channels out, stride."""

HIDDEN = 32
"""Width of the layer between pooling and answer."""

SHRINK = int(np.prod([stride for _, _, stride in LAYERS]))


@dataclass(frozen=True, eq=False)
class CropNetwork:
    """Weights by name: conv<k>.weight (out, in, 3, 3), conv<k>.bias, head0 and head1 (linear, torch's layout)."""

    params: Mapping[str, Array]

    def of_crop(self, crop: NDArray[np.uint8]) -> float:
        """As `log_odds`, of one crop (PLANES, SIDE, SIDE): compiled, and beside other threads."""
        return log_odds_kernel(crop, *self._compiled)

    @cached_property
    def _compiled(self) -> tuple[tuple[tuple[Array, Array], ...], tuple[int, ...], tuple[Array, ...]]:
        p = {name: np.ascontiguousarray(value, np.float32) for name, value in self.params.items()}
        layers = tuple((p[f"conv{k}.weight"].reshape(after, -1), p[f"conv{k}.bias"])
                       for k, (_, after, _) in enumerate(LAYERS))
        head = tuple(p[f"head{k}.{name}"] for k in (0, 1) for name in ("weight", "bias"))
        return layers, tuple(stride for _, _, stride in LAYERS), head

    def log_odds(self, x: Array) -> Array:
        """Log-odds (N,) that a pose is within 0.1 diameter, of inputs (N, INPUTS, SIDE, SIDE)."""
        for k, (_, _, stride) in enumerate(LAYERS):
            x = np.maximum(_convolved(x, self.params[f"conv{k}.weight"], self.params[f"conv{k}.bias"], stride), 0)
        # The mean says how much is wrong, the maximum that something is.
        x = np.concatenate([x.mean((-2, -1)), x.max((-2, -1))], 1)
        x = np.maximum(x @ self.params["head0.weight"].T + self.params["head0.bias"], 0)
        return (x @ self.params["head1.weight"].T + self.params["head1.bias"])[:, 0]


def shapes() -> dict[str, tuple[int, ...]]:
    """Name -> shape of every array."""
    out: dict[str, tuple[int, ...]] = {}
    for k, (before, after, _) in enumerate(LAYERS):
        out |= {f"conv{k}.weight": (after, before, 3, 3), f"conv{k}.bias": (after,)}
    last = LAYERS[-1][1]
    return out | {"head0.weight": (HIDDEN, 2 * last), "head0.bias": (HIDDEN,), "head1.weight": (1, HIDDEN),
                  "head1.bias": (1,)}


def _convolved(x: Array, weight: Array, bias: Array, stride: int) -> Array:
    """Convolution (N, out, H / stride, W / stride) with one zero around (N, in, H, W), as one matrix product."""
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, height + 2, width + 2), np.float32)
    padded[:, :, 1:-1, 1:-1] = x
    h, w = height // stride, width // stride
    columns = np.empty((n, channels, 9, h, w), np.float32)
    for k in range(9):
        v, u = divmod(k, 3)
        columns[:, :, k] = padded[:, :, v:v + height:stride, u:u + width:stride]
    flat = weight.reshape(len(weight), -1) @ columns.reshape(n, channels * 9, h * w)
    return flat.reshape(n, -1, h, w) + bias[:, None, None]


assert SIDE % SHRINK == 0
