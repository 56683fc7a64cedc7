"""Small networks and pictures for the tests of the learned backend. Nothing is downloaded: weights are random."""

from pathlib import Path

import numpy as np
import pytest

from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.views import ReferenceViews, render_views
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Frame
from test.synthetic import CAMERA, textured_box

WHY = "the learned stages need torch and transformers: make full"
torch = pytest.importorskip("torch", reason=WHY)
pytest.importorskip("transformers", reason=WHY)
pytest.importorskip("safetensors", reason=WHY)

from storm_core.som.hsfa.network import HsfaNetwork, seeded  # noqa: E402
from storm_core.som.hsfa.settings import NetworkSettings  # noqa: E402

torch.set_num_threads(1)

LITE = NetworkSettings(encoder="lite", input_px=64, patch_px=8, dim=32, heads=2, cross_dim=16, mlp_dim=64, depth=2,
                       iou_dim=16, layer_scale=0.1, lite_layers=1)
DINO = NetworkSettings(encoder="dinov2", input_px=56, patch_px=14, dim=32, heads=2, cross_dim=16, mlp_dim=64, depth=2,
                       iou_dim=16, layer_scale=0.1, text_dim=24)


def dino_backbone(seed: int = 0) -> "torch.nn.Module":
    """A `Dinov2WithRegistersModel` of two narrow layers with random weights."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(seed)
    return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=56, patch_size=14,
        num_register_tokens=4)).eval()


def lite_network(seed: int = 0) -> HsfaNetwork:
    return seeded(LITE, seed).eval()


def dino_network(seed: int = 0) -> HsfaNetwork:
    return seeded(DINO, seed, dino_backbone()).eval()


def small_views(model: ObjectModel | None = None, n: int = 4, size: int = 64) -> ReferenceViews:
    return render_views(model or textured_box(), n, size)


def table_frame(model: ObjectModel, poses: "np.ndarray", camera=CAMERA) -> tuple[Frame, "np.ndarray"]:  # noqa: ANN001
    """A frame of a model at poses (N, 4, 4) before a grey wall, and the masks (N, H, W) of the visible pixels."""
    drawn = NumbaRenderer().render(model, np.asarray(poses), camera)
    far = np.where(drawn.mask, drawn.depth, np.inf)
    nearest = far.argmin(0)
    depth = far.min(0)
    seen = np.isfinite(depth)
    rgb = np.full((camera.height, camera.width, 3), 90, np.uint8)
    rows, columns = np.nonzero(seen)
    rgb[seen] = drawn.color[nearest[seen], rows, columns] if drawn.color is not None else 160
    masks = np.stack([(nearest == k) & seen for k in range(len(drawn.mask))])
    return Frame(rgb=rgb, depth=np.where(seen, depth, 1.2).astype(np.float32), camera=camera, stamp_ns=7), masks


def saved(network: HsfaNetwork, path: Path) -> Path:
    from storm_core.som.hsfa.checkpoint import save

    save(network, path)
    return path
