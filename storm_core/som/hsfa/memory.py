"""The memory of an object, kept on disk by content: same views and same weights, same file."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from storm_core.onboarding.views import ReferenceViews
from storm_core.som.hsfa.channels import channels
from storm_core.som.hsfa.network import HsfaNetwork, Memory
from storm_core.som.hsfa.window import whole

VERSION = 1


def view_input(views: ReferenceViews, size: int, lamp: int = 0, chosen: list[int] | None = None) -> Tensor:
    """(V, 8, size, size) input of the views under one lamp; chosen: which of them, None = all."""
    window = whole(views.camera.height, views.camera.width, size)
    return torch.from_numpy(np.stack([
        channels(views.rgb[lamp, k], views.depth[k], views.camera, window, views.diameter)
        for k in (range(len(views)) if chosen is None else chosen)]))


def weights_key(network: HsfaNetwork) -> str:
    """Hash of all weights that make a memory."""
    from storm_core.som.hsfa.checkpoint import backbone_of, fingerprint

    digest = hashlib.sha256(fingerprint(backbone_of(network)).encode())
    for name, value in sorted(network.trained_state().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def remembered(network: HsfaNetwork, views: ReferenceViews, folder: Path, key: str, device: str) -> Memory:
    """Memory (one object) on `device`; from the cache when it is there, otherwise made and kept.

    Args:
      folder: of the cache; one that cannot be written is no error. key: `weights_key` of the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    what = f"memory{VERSION}|{key}|{_views_key(views)}|{torch.device(device).type}"
    path = folder / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.memory.safetensors"
    try:
        kept = load_file(path)
        return Memory(kept["keys"].to(device), kept["values"].to(device))
    except (OSError, KeyError, SafetensorError):
        pass
    made = network.remember(view_input(views, network.settings.input_px)[None].to(device))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=folder, suffix=".tmp")
        os.close(handle)
        save_file({"keys": made.keys.cpu().contiguous(), "values": made.values.cpu().contiguous()}, part)
        Path(part).replace(path)
    except OSError:
        pass
    return made


def _views_key(views: ReferenceViews) -> str:
    digest = hashlib.sha256(f"{views.diameter}|{views.camera}".encode())
    for array in (views.rgb[0], views.depth):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
