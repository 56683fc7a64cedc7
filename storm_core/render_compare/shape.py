"""The shape of the two networks and how their inputs and outputs are scaled: everything that is not a weight."""

from dataclasses import dataclass

import numpy as np

from storm_core.errors import ConfigError

INPUT_CHANNELS = 6
"""RGB in [0, 1] and the place of each pixel relative to the hypothesis."""


@dataclass(frozen=True)
class NetworkShape:
    """Attributes:
    width: channels after the first convolution; the trunk has 2, 4 and 8 times as many. The published networks: 64.
    blocks: residual blocks per stage (published: 2). heads: of the attention. feedforward: its hidden width, 0 = as
      wide as the tokens. batch_norm: normalise after convolutions. rotation: outputs for it, 3 (axis-angle) or 6.
    crop: side of the input [px]. channels: of each of the two inputs.
    """

    width: int = 16
    blocks: int = 2
    heads: int = 4
    feedforward: int = 0
    batch_norm: bool = True
    rotation: int = 3
    crop: int = 48
    channels: int = INPUT_CHANNELS

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 1 or self.crop < 16:
            raise ConfigError(f"a network needs width >= 1, blocks >= 1 and crop >= 16, got {self.width}, "
                              f"{self.blocks}, {self.crop}")
        if self.rotation not in (3, 6):
            raise ConfigError(f"rotation must be 3 (axis-angle) or 6 (two columns), got {self.rotation}")
        if self.heads < 1 or self.tokens_width % self.heads:
            raise ConfigError(f"heads must divide {self.tokens_width} (8 times the width), got {self.heads}")

    @property
    def tokens_width(self) -> int:
        """Channels of a token."""
        return 8 * self.width

    @property
    def tokens(self) -> int:
        """Tokens of a crop: one per 8 x 8 px."""
        return int(np.ceil(np.ceil(np.ceil(self.crop / 2) / 2) / 2)) ** 2


@dataclass(frozen=True)
class Scaling:
    """How crops are cut and outputs become motions.

    Attributes:
      crop_ratio: side of the crop [diameters]. bound: coordinates at least so large count as missing [radii].
      turn: what an output of one (after tanh) turns by [rad].
      shift: None: shifts are in radii of the object, unbounded; or what an output of one (after tanh) shifts by [m],
        per axis.
    """

    crop_ratio: float = 1.2
    bound: float = 2.0
    turn: float = 1.9
    shift: tuple[float, float, float] | None = None


OFFICIAL_SHAPE = NetworkShape(width=64, blocks=2, heads=4, feedforward=512, crop=160)
"""FoundationPose, arXiv 2312.08344."""
