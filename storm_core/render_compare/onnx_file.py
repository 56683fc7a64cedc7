"""The refiner as an ONNX file, and run from one by onnxruntime: for machines that have an accelerator of their own."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import WeightsError
from storm_core.models.packages import require_packages
from storm_core.render_compare.shape import NetworkShape
from storm_core.render_compare.weights import PairWeights

Array = NDArray[np.float32]
_INPUT, _OUTPUTS = "pairs", ("shift", "turn")


def export_refiner(weights: PairWeights, path: Path) -> None:
    """Write the refiner with any number of hypotheses per call: input `pairs` (N, 2, channels, S, S) of renders and
    pictures, outputs `shift` (N, 3) and `turn` (N, 3 or 6), raw.

    Raises:
      BackendError: torch, onnx or onnxscript is missing. WeightsError: the weights are not a refiner's.
    """
    require_packages("writing ONNX", "torch", "onnx", "onnxscript")
    import torch

    from storm_core.render_compare.torch_network import built

    if weights.kind != "refiner":
        raise WeightsError(f"only a refiner can be written as ONNX, not a {weights.kind}: its output depends on how "
                           "many hypotheses are compared")
    shape = weights.shape
    example = torch.zeros(2, 2, shape.channels, shape.crop, shape.crop)
    network = built(weights, "cpu")

    class OfPairs(torch.nn.Module):
        """The network as a function of one tensor, so that the number of hypotheses appears once."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.network(pairs[:, 0], pairs[:, 1])

    torch.onnx.export(OfPairs().eval(), (example,), str(path), input_names=[_INPUT], output_names=list(_OUTPUTS),
                      dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), dynamo=True, external_data=False, verbose=False)


def _session_errors() -> list[type[Exception]]:
    """The errors of onnxruntime, which share no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]


class OnnxRefiner:
    """A `refiner.Network` that is a refiner, run by onnxruntime."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises BackendError without onnxruntime, WeightsError for a file that it cannot read."""
        require_packages(f"running {path}", "onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session: Any = onnxruntime.InferenceSession(path.read_bytes(), options)
            _, _, channels, crop, _ = self._session.get_inputs()[0].shape
        except (OSError, RuntimeError, ValueError, IndexError, *_session_errors()) as error:
            raise WeightsError(f"cannot read {path} ({type(error).__name__}); write it again with "
                               "storm_core.render_compare.onnx_file.export_refiner") from error
        self.shape = NetworkShape(channels=channels, crop=crop)

    def motions(self, pairs: Array) -> tuple[Array, Array]:
        """Raw shift (N, 3) and turn (N, 3 or 6) of pairs (N, 2, channels, S, S) of render and picture."""
        shift, turn = self._session.run(list(_OUTPUTS), {_INPUT: np.ascontiguousarray(pairs)})
        return shift, turn
