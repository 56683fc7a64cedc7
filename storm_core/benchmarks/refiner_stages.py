"""The stages of learned refinement, timed one by one on a made-up frame."""

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from storm_core.config import RefinerConfig
from storm_core.errors import BackendError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.viewpoints import super_fibonacci_rotations
from storm_core.models.devices import require_torch_device
from storm_core.models.packages import require_packages
from storm_core.render_compare.choice import open_network, open_weights
from storm_core.render_compare.crops import crop_pairs
from storm_core.render_compare.forward import tensor_shapes
from storm_core.render_compare.refiner import HostRefiner, Hypotheses, PairRefiner
from storm_core.render_compare.shape import NetworkShape, Scaling
from storm_core.render_compare.weights import PairWeights
from storm_core.simulation.objects import make_object
from storm_core.types import Frame

Reference = Callable[[Any, Any], Any] | str
"""Another RefineNet, or why there is none."""


def bench_weights(config: RefinerConfig, width: int, crop: int) -> PairWeights:
    """The configured refiner, or random weights of a width and crop."""
    if width == 0:
        return open_weights(config.weights, "refiner")
    shape, rng = NetworkShape(width=width, crop=crop), np.random.default_rng(0)
    tensors = {name: (np.abs if name.endswith("running_var") else np.asarray)(
        rng.normal(0, 0.05, size)).astype(np.float32) for name, size in tensor_shapes(shape, "refiner").items()}
    return PairWeights("refiner", tensors, shape, Scaling(), {})


def stages(weights: PairWeights, config: RefinerConfig, count: int, iterations: int, repeats: int,
           theirs: Reference) -> dict[str, tuple[float, float | None]]:
    """(ours, FoundationPose's network or None) [ms]: crops and network of `count` hypotheses, and the whole."""
    model = make_object("cereal_box")
    frame, poses = _scene(count)
    batch, cuda = config.hypothesis_batch_size, config.device.startswith("cuda")
    network = open_network(weights, config.device)
    pairs = crop_pairs(frame, model, poses, weights.shape.crop, weights.scaling)
    refiner: PairRefiner
    if cuda:
        from storm_core.render_compare.device import DeviceRefiner
        from storm_core.render_compare.torch_network import TorchNetwork

        assert isinstance(network, TorchNetwork)
        refiner = DeviceRefiner(network, config.device, max_hypotheses=count, batch=batch)
    else:
        refiner = HostRefiner(network, weights.scaling, max_hypotheses=count, batch=batch)
    chunks = [pairs[k:k + batch] for k in range(0, count, batch)]
    out: dict[str, tuple[float, float | None]] = {}
    out["crops"] = _milliseconds(lambda: crop_pairs(frame, model, poses, weights.shape.crop, weights.scaling), repeats,
                                 cuda=False), None
    reference = None if isinstance(theirs, str) else _milliseconds(
        lambda: [theirs(chunk[:, 0], chunk[:, 1]) for chunk in chunks], repeats, cuda=cuda)
    out["network"] = _milliseconds(lambda: [network.motions(chunk) for chunk in chunks], repeats, cuda=cuda), reference
    out["refine"] = _milliseconds(lambda: refiner.refine(frame, [Hypotheses(model, poses)], iterations), repeats,
                                  cuda=cuda), None
    return out


def foundationpose_network(folder: str, shape: NetworkShape, device: str) -> Reference:
    """FoundationPose's own RefineNet with random weights, from the user's checkout; its licence is theirs to follow.

    Raises:
      BackendError: the folder is no checkout, or there is no such device.
    """
    require_packages("--foundationpose", "torch")
    import torch

    learning = Path(folder).expanduser() / "learning" / "models"
    if not (learning / "refine_network.py").is_file():
        raise BackendError(f"--foundationpose {folder} is no checkout of FoundationPose (no {learning.name}/"
                           "refine_network.py in learning/)")
    places = [str(learning), str(Path(folder).expanduser())]
    sys.path[:0] = places
    try:
        module = importlib.import_module("refine_network")
    except ImportError as error:
        return f"its modules need {error.name}, which is not installed"
    finally:
        for place in places:
            sys.path.remove(place)

    class Settings(SimpleNamespace):
        """Its networks ask for settings as attributes and as items."""

        def __getitem__(self, name: str) -> Any:
            return getattr(self, name)

    where = "cpu" if device == "numpy" else device
    require_torch_device(where, "refiner.device")
    network = module.RefineNet(cfg=Settings(use_BN=True, rot_rep="axis_angle"), c_in=shape.channels).to(where).eval()

    @torch.inference_mode()
    def run(rendered: Any, seen: Any) -> Any:
        with torch.autocast(where.split(":")[0], torch.float16, enabled=where != "cpu"):
            return network(torch.from_numpy(rendered.copy()).to(where), torch.from_numpy(seen.copy()).to(where))

    return run


def _scene(count: int) -> tuple[Frame, np.ndarray]:
    """A frame of noise and poses (count, 4, 4) in it: the time depends on neither."""
    rng = np.random.default_rng(0)
    camera = PinholeCamera(640, 480, 600.0, 600.0, 319.5, 239.5)
    frame = Frame(rgb=rng.integers(0, 255, (480, 640, 3), np.uint8),
                  depth=rng.uniform(0.5, 0.9, (480, 640)).astype(np.float32), camera=camera, stamp_ns=0)
    poses = np.repeat(np.eye(4)[None], count, 0)
    poses[:, :3, :3] = super_fibonacci_rotations(max(count, 2))[:count]
    poses[:, 2, 3] = 0.7
    return frame, poses


def _milliseconds(call: Callable[[], Any], repeats: int, *, cuda: bool) -> float:
    """The shortest of the repeats after one to warm up: CPU time, or by the clock where a GPU does the work."""
    synchronize: Callable[[], Any] = lambda: None  # noqa: E731
    if cuda:
        import torch

        synchronize = torch.cuda.synchronize
    clock = time.perf_counter if cuda else time.process_time
    times = []
    for _ in range(repeats + 1):
        synchronize()
        begin = clock()
        call()
        synchronize()
        times.append(clock() - begin)
    return 1e3 * min(times[1:])
