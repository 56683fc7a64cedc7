"""Size of the HSFA network. It travels with the weights, in the checkpoint, not in the parameter file."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from storm_core.errors import WeightsError

ENCODERS = ("dinov2", "lite")


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Attributes:
    encoder: dinov2 = frozen DINOv2 with registers on RGB; lite = a small one trained from scratch on RGB-D.
    input_px: side of the square input. patch_px: side of one token.
    dim: width of the tokens. heads: of every attention. cross_dim: width of query-to-reference attention.
    mlp_dim: hidden width of the query MLP. depth: attention blocks.
    masks: masks per answer, ordered by no meaning; the one of highest predicted IoU is taken.
    text_dim: length of the text vector, 0 = without text. iou_dim: hidden width of the IoU head.
    layer_scale: initial size of every residual branch.
    lite_layers: transformer layers of the lite encoder.
    """

    encoder: str = "dinov2"
    input_px: int = 224
    patch_px: int = 14
    dim: int = 768
    heads: int = 8
    cross_dim: int = 256
    mlp_dim: int = 2048
    depth: int = 3
    masks: int = 1
    text_dim: int = 0
    iou_dim: int = 384
    layer_scale: float = 1e-4
    lite_layers: int = 4

    def __post_init__(self) -> None:
        sizes = ("input_px", "patch_px", "dim", "heads", "cross_dim", "mlp_dim", "iou_dim", "depth", "masks",
                 "lite_layers")
        for name in sizes:
            if getattr(self, name) < 1:
                raise WeightsError(f"impossible network settings: {name} must be at least 1, got {getattr(self, name)}")
        problems = {
            f"encoder must be one of {', '.join(ENCODERS)}, got {self.encoder!r}": self.encoder not in ENCODERS,
            f"input_px {self.input_px} must be a multiple of patch_px {self.patch_px}": self.input_px % self.patch_px,
            f"dim {self.dim} and cross_dim {self.cross_dim} must be multiples of heads {self.heads}":
                self.dim % self.heads or self.cross_dim % self.heads,
            f"dim {self.dim} must be a multiple of 8": self.dim % 8,
            f"the lite encoder has patches of 8 or 16 px, got {self.patch_px}":
                self.encoder == "lite" and self.patch_px not in (8, 16),
            f"text_dim must be 0 (without text) or more, got {self.text_dim}": self.text_dim < 0,
        }
        for text, wrong in problems.items():
            if wrong:
                raise WeightsError(f"impossible network settings: {text}")

    @property
    def grid(self) -> int:
        """Tokens along one side of the input."""
        return self.input_px // self.patch_px

    @property
    def mask_px(self) -> int:
        """Side of the predicted masks."""
        return 4 * self.grid


FULL = NetworkSettings()
"""The published size: DINOv2 base, three blocks."""

LITE = NetworkSettings(encoder="lite", input_px=128, patch_px=8, dim=128, heads=4, cross_dim=128, mlp_dim=256, depth=3,
                       iou_dim=128, layer_scale=0.1, lite_layers=3)
"""som-lite: RGB-D from scratch, a few MB."""

PRESETS = {"full": FULL, "lite": LITE}


def settings_from(values: Mapping[str, Any]) -> NetworkSettings:
    """Settings of a mapping as a checkpoint or a YAML file holds it; `preset` names where it starts from.

    Raises:
      WeightsError: an unknown key or preset, or a value of the wrong type.
    """
    values = dict(values)
    preset = values.pop("preset", "full")
    if preset not in PRESETS:
        raise WeightsError(f"unknown network preset {preset!r}; known: {', '.join(PRESETS)}")
    known = {f.name: getattr(PRESETS[preset], f.name) for f in fields(NetworkSettings)}
    for name, value in values.items():
        if name not in known:
            raise WeightsError(f"unknown network setting {name!r}; known: {', '.join(known)}")
        if type(known[name]) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(known[name]):
            raise WeightsError(f"network setting {name} must be {type(known[name]).__name__}, got {value!r}")
        known[name] = value
    return NetworkSettings(**known)
