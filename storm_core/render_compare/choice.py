"""Which refiner and scorer the configuration names, and where their weights come from. Nothing is ever downloaded."""

from pathlib import Path

import numpy as np

from storm_core.config import RefinerConfig
from storm_core.errors import WeightsError
from storm_core.geometry.mesh import ObjectModel
from storm_core.models.packages import require_packages
from storm_core.models.sharing import OnePerProcess, state_of
from storm_core.models.shipped import shipped_file
from storm_core.render_compare.forward import PairForward
from storm_core.render_compare.refiner import HostRefiner, Hypotheses, Network, PairRefiner, PairScorer, Poses
from storm_core.render_compare.weights import PairWeights, load_pair_weights
from storm_core.types import Frame

_NETWORKS: OnePerProcess[Network] = OnePerProcess()


def open_weights(path: str, kind: str) -> PairWeights:
    """Weights of a `.safetensors` of STORM, of an official checkpoint (`.pth`), or, path empty, those that ship.

    Raises:
      WeightsError: missing, damaged, or of another network.
    """
    if not path:
        file = shipped(kind)
        if not file.is_file():
            raise WeightsError(f"no weights of the {kind} at {file}; train them with `storm train {kind} --config "
                               f"config/refiner/{kind}.yaml`, name a file, or leave the section `refiner` switched off")
        return load_pair_weights(file, kind)
    if Path(path).suffix in (".pth", ".pt"):
        require_packages(f"refiner.weights {path}", "torch")
        from storm_core.render_compare.official import load_official

        return load_official(Path(path).expanduser(), kind)
    return load_pair_weights(path, kind)


def open_network(weights: PairWeights, device: str) -> Network:
    """The network on `numpy` (needs no torch), `cpu` or `cuda`."""
    if device == "numpy":
        return PairForward(weights)
    require_packages(f"refiner.device {device}", "torch")
    from storm_core.render_compare.torch_network import TorchNetwork

    return TorchNetwork(weights, device)


def shared_network(path: str, kind: str, device: str) -> Network:
    """The network of `open_weights`, one for all: registration, tracking and catching up look through the same."""
    file = Path(path).expanduser() if path else shipped(kind)
    return _NETWORKS.get((kind, device, state_of(file)), lambda: open_network(open_weights(path, kind), device))


def open_refiner(config: RefinerConfig) -> PairRefiner:
    """The refiner that the configuration names."""
    network = shared_network(config.weights, "refiner", config.device)
    if config.device.startswith("cuda"):
        from storm_core.render_compare.device import DeviceRefiner
        from storm_core.render_compare.torch_network import TorchNetwork

        assert isinstance(network, TorchNetwork)
        return DeviceRefiner(network, config.device, max_hypotheses=config.max_hypotheses,
                             batch=config.hypothesis_batch_size)
    return HostRefiner(network, network.scaling, max_hypotheses=config.max_hypotheses,
                       batch=config.hypothesis_batch_size)


def open_scorer(config: RefinerConfig) -> PairScorer:
    """The scorer that the configuration names."""
    network = shared_network(config.scorer_weights, "scorer", config.device)
    return PairScorer(network, network.scaling, batch=config.hypothesis_batch_size)


class Proposals:
    """What registration and tracking ask for: a few steps of the refiner, or none where it is switched off."""

    def __init__(self, config: RefinerConfig) -> None:
        self._refiner, self._iterations = open_refiner(config), config.iterations

    def __call__(self, frame: Frame, model: ObjectModel, cam_from_objs: Poses) -> Poses:
        """Refined copies of poses (N, 4, 4); those that ended up behind the camera are left out."""
        poses = self._refiner.refine(frame, [Hypotheses(model, cam_from_objs)], self._iterations)[0]
        z = poses[:, 2, :3] @ model.center + poses[:, 2, 3]
        return poses[(z > 0.02) & np.isfinite(poses).all((1, 2))]


def shipped(kind: str) -> Path:
    """The weights of that kind that come with STORM."""
    return shipped_file(f"{kind}.safetensors")
