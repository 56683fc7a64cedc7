"""The trained networks in torch, on CPU or CUDA: bfloat16, channels-last, and CUDA graphs where there is CUDA."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storm_core.models.devices import require_torch_device
from storm_core.render_compare.forward import check_tensors
from storm_core.render_compare.networks import RefineNet, ScoreNet
from storm_core.render_compare.shape import NetworkShape
from storm_core.render_compare.weights import PairWeights

Array = NDArray[np.float32]


def built(weights: PairWeights, device: str) -> RefineNet | ScoreNet:
    """The network with its weights, for inference.

    Raises:
      WeightsError: they do not fit. BackendError: no such device.
    """
    require_torch_device(device, "refiner.device")
    check_tensors(weights)
    network = RefineNet(weights.shape) if weights.kind == "refiner" else ScoreNet(weights.shape)
    state = {name: torch.from_numpy(value.copy()) for name, value in weights.tensors.items()}
    # Counters of the normalisations are not kept; everything else must be there.
    counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict(state | counters)
    return network.to(device=device, memory_format=torch.channels_last).eval()


class TorchNetwork:
    """A refiner or a scorer that is only run; arrays in and out are NumPy's."""

    def __init__(self, weights: PairWeights, device: str, dtype: torch.dtype | None = None) -> None:
        """dtype: the networks' arithmetic; None = float32 on the CPU, bfloat16 on CUDA."""
        self._network, self.scaling = built(weights, device), weights.scaling
        self._device = torch.device(device)
        self._dtype = dtype or (torch.bfloat16 if self._device.type == "cuda" else torch.float32)

    @property
    def shape(self) -> NetworkShape:
        return self._network.shape

    @torch.inference_mode()
    def motions(self, pairs: Array) -> tuple[Array, Array]:
        shift, turn = self.motions_of(torch.from_numpy(pairs).to(self._device))
        return shift.cpu().numpy(), turn.cpu().numpy()

    @torch.inference_mode()
    def motions_of(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Raw shift (N, 3) and turn (N, 3 or 6), float32, of pairs (N, 2, channels, S, S) on the network's device."""
        assert isinstance(self._network, RefineNet)
        with self._precision():
            shift, turn = self._network(*_halves(pairs))
        return shift.float(), turn.float()

    @torch.inference_mode()
    def describe(self, pairs: Array) -> Array:
        assert isinstance(self._network, ScoreNet)
        with self._precision():
            return self._network.describe(*_halves(torch.from_numpy(pairs).to(self._device))).float().cpu().numpy()

    @torch.inference_mode()
    def compare(self, vectors: Array) -> Array:
        assert isinstance(self._network, ScoreNet)
        with self._precision():
            return self._network.compare(torch.from_numpy(vectors).to(self._device)[None])[0].float().cpu().numpy()

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)


def _halves(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Renders and pictures (N, channels, S, S), channels last in memory."""
    return (pairs[:, 0].contiguous(memory_format=torch.channels_last),
            pairs[:, 1].contiguous(memory_format=torch.channels_last))
