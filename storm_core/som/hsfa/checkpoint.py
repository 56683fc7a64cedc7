"""HSFA weights on disk: one safetensors file that says how large its network is and on which backbone it builds."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from storm_core.errors import WeightsError
from storm_core.models.packages import require_packages
from storm_core.som.hsfa.network import HsfaNetwork
from storm_core.som.hsfa.settings import NetworkSettings, settings_from

FORMAT = "storm-hsfa-1"


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a checkpoint says about itself. backbone: `fingerprint` of the frozen backbone, "" without one."""

    settings: NetworkSettings
    backbone: str


def fingerprint(model: nn.Module | None) -> str:
    """Hash of names, shapes and values of all weights of a frozen backbone."""
    if model is None:
        return ""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def backbone_of(network: HsfaNetwork) -> nn.Module | None:
    return getattr(network.encoder, "model", None)


def save(network: HsfaNetwork, path: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write the trained part of a network (or `state` in its place, e.g. its moving average)."""
    require_packages("a checkpoint", "safetensors")
    from safetensors.torch import save_file

    tensors = {k: v.detach().cpu().contiguous() for k, v in (state or network.trained_state()).items()}
    save_file(tensors, path, {"format": FORMAT, "settings": json.dumps(asdict(network.settings)),
                              "backbone": fingerprint(backbone_of(network))})


def read_header(path: Path) -> Header:
    """What the checkpoint was made with.

    Raises:
      WeightsError: missing, damaged, or no checkpoint of this network.
    """
    require_packages("a checkpoint", "torch", "safetensors")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
        if meta.get("format") != FORMAT:
            raise WeightsError(f"{path} is no checkpoint of `storm train som` (format {meta.get('format')!r}, expected "
                               f"{FORMAT!r})")
        return Header(settings=settings_from(json.loads(meta["settings"])), backbone=meta["backbone"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"cannot read the checkpoint {path}: {error}") from error


def load(path: Path, backbone: nn.Module | None = None) -> HsfaNetwork:
    """The network of a checkpoint, in evaluation mode on the CPU.

    Raises:
      WeightsError: as `read_header`, a tensor is missing or does not fit, or the backbone is another one.
    """
    from safetensors.torch import load_file

    header = read_header(path)
    found = fingerprint(backbone)
    if found != header.backbone:
        raise WeightsError(f"{path} was trained on the backbone {header.backbone[:12] or 'none'}, but "
                           f"{found[:12] or 'none'} was given; set som.hsfa.backbone to the one of the training")
    network = HsfaNetwork(header.settings, backbone)
    load_state(network, load_file(path), str(path))
    return network.eval()


def load_state(network: HsfaNetwork, state: dict[str, torch.Tensor], source: str) -> None:
    """Put a trained state into a network; every tensor must be there and fit."""
    wanted = network.trained_state()
    for name, value in wanted.items():
        if name not in state or state[name].shape != value.shape:
            got = tuple(state[name].shape) if name in state else "nothing"
            raise WeightsError(f"{source}: {name} must have the shape {tuple(value.shape)}, the file has {got}")
    extra = set(state) - set(wanted)
    if extra:
        raise WeightsError(f"{source} has tensors this network does not know, e.g. {min(extra)}")
    network.load_state_dict(state, strict=False)
