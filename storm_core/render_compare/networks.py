"""RefineNet and ScoreNet of FoundationPose (Wen et al., CVPR 2024, arXiv 2312.08344), in any width and crop size.

Written from the paper and the public list of weight names, which are kept, so that official checkpoints fit key for
key. Making a network never touches disk or net. Needs torch; `forward` runs trained weights without it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from storm_core.render_compare.shape import NetworkShape


class Convolution(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)]
        layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
        self.net = nn.Sequential(*layers, nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity (He et al. 2016)."""

    def __init__(self, channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d if batch_norm else lambda _: nn.Identity()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1), norm(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1), norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Places(nn.Module):
    """Adds sines of the place of a token in its sequence (Vaswani et al. 2017)."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        place = torch.arange(tokens, dtype=torch.float32)[:, None]
        rate = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
        table = torch.stack([torch.sin(place * rate), torch.cos(place * rate)], -1).reshape(1, tokens, -1)
        self.register_buffer("pe", table[..., :width].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[:, : x.shape[1]]


def _single(shape: NetworkShape) -> nn.Sequential:
    """Encoder of one picture: a quarter of its side, twice the width."""
    w, norm = shape.width, shape.batch_norm
    return nn.Sequential(Convolution(shape.channels, w, 7, 2, batch_norm=norm),
                         Convolution(w, 2 * w, 3, 2, batch_norm=norm),
                         *(Residual(2 * w, batch_norm=norm) for _ in range(shape.blocks)))


def _pair(shape: NetworkShape) -> nn.Sequential:
    """Encoder of both pictures together: an eighth of their side, eight times the width."""
    w, norm = shape.width, shape.batch_norm
    return nn.Sequential(*(Residual(4 * w, batch_norm=norm) for _ in range(shape.blocks)),
                         Convolution(4 * w, 8 * w, 3, 2, batch_norm=norm),
                         *(Residual(8 * w, batch_norm=norm) for _ in range(shape.blocks)))


def _tokens(single: nn.Module, pair: nn.Module, places: Places, rendered: Tensor, seen: Tensor) -> Tensor:
    """Tokens (N, T, C) of N pairs of pictures (N, channels, S, S)."""
    first, second = single(torch.cat([rendered, seen])).unflatten(0, (2, -1)).unbind(0)
    joint = pair(torch.cat([first, second], 1))
    return places(joint.flatten(2).transpose(1, 2))


class RefineNet(nn.Module):
    """How a hypothesis must move, in camera axes, shift and turn apart."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.tokens_width
        self.encodeA, self.encodeAB = _single(shape), _pair(shape)
        self.pos_embed = Places(width, shape.tokens)
        hidden = shape.feedforward or width
        self.trans_head, self.rot_head = (
            nn.Sequential(nn.TransformerEncoderLayer(width, shape.heads, hidden, dropout=0.0, batch_first=True),
                          nn.Linear(width, outputs)) for outputs in (3, shape.rotation))

    def forward(self, rendered: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Raw shift (N, 3) and turn (N, 3 or 6) of pairs (N, channels, S, S) of render and picture."""
        x = _tokens(self.encodeA, self.encodeAB, self.pos_embed, rendered, seen)
        return self.trans_head(x).mean(1), self.rot_head(x).mean(1)


class ScoreNet(nn.Module):
    """Which of several hypotheses of one object is best."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.tokens_width
        self.encoderA, self.encoderAB = _single(shape), _pair(shape)
        self.pos_embed = Places(width, shape.tokens)
        self.att = nn.MultiheadAttention(width, shape.heads, batch_first=True)
        self.att_cross = nn.MultiheadAttention(width, shape.heads, batch_first=True)
        self.linear = nn.Linear(width, 1)

    def describe(self, rendered: Tensor, seen: Tensor) -> Tensor:
        """One vector (N, C) per pair (N, channels, S, S)."""
        x = _tokens(self.encoderA, self.encoderAB, self.pos_embed, rendered, seen)
        return self.att(x, x, x, need_weights=False)[0].mean(1)

    def compare(self, vectors: Tensor) -> Tensor:
        """Scores (G, K) of groups of vectors (G, K, C) that are compared with each other."""
        return self.linear(self.att_cross(vectors, vectors, vectors, need_weights=False)[0])[..., 0]

    def forward(self, rendered: Tensor, seen: Tensor, group: int) -> Tensor:
        """Scores (N / group, group) of pairs (N, channels, S, S), hypotheses of one object in one picture together."""
        vectors = self.describe(rendered, seen)
        return self.compare(vectors.reshape(-1, group, vectors.shape[-1]))
