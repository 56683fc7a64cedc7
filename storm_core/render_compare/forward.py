"""The trained networks in plain NumPy: what `networks` says in torch, without it.

Normalisations are folded into the convolutions before them, pictures are (N, H, W, C), and a convolution is one matrix
product of its patches: at these sizes nearly as fast as torch on one core.
"""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from storm_core.errors import WeightsError
from storm_core.render_compare.shape import NetworkShape
from storm_core.render_compare.weights import PairWeights

Array = NDArray[np.float32]
_EPSILON = 1e-5
"""Of both kinds of normalisation, as in torch."""


class PairForward:
    """A refiner or a scorer that is only run."""

    def __init__(self, weights: PairWeights) -> None:
        """Raises WeightsError when a tensor is missing, superfluous or of another shape than the network's."""
        self.shape, self.scaling, self._refiner = weights.shape, weights.scaling, weights.kind == "refiner"
        check_tensors(weights)
        self._tensors = weights.tensors
        letter = "encodeA" if self._refiner else "encoderA"
        self._single = _encoder(weights.tensors, letter, [2, 2], weights.shape)
        self._pair = _encoder(weights.tensors, f"{letter}B", [2], weights.shape, first=weights.shape.blocks)
        self._places = weights.tensors["pos_embed.pe"]

    def motions(self, pairs: Array) -> tuple[Array, Array]:
        """Raw shift (N, 3) and turn (N, 3 or 6) of pairs (N, 2, channels, S, S) of render and picture."""
        tokens = self._tokens(pairs)
        return self._head(tokens, "trans_head"), self._head(tokens, "rot_head")

    def describe(self, pairs: Array) -> Array:
        """The scorer's vectors (N, C) of pairs (N, 2, channels, S, S)."""
        return self._attention(self._tokens(pairs), "att").mean(1)

    def compare(self, vectors: Array) -> Array:
        """Scores (K,) of the vectors (K, C) of hypotheses that are compared with each other."""
        x = self._attention(vectors[None], "att_cross")[0]
        return (x @ self._tensors["linear.weight"].T + self._tensors["linear.bias"])[:, 0]

    def _tokens(self, pairs: Array) -> Array:
        """(N, T, C)."""
        n = len(pairs)
        both = np.ascontiguousarray(np.moveaxis(pairs, 2, -1).swapaxes(0, 1)).reshape(2 * n, *pairs.shape[3:], -1)
        for layer in self._single:
            both = layer(both)
        x = np.concatenate([both[:n], both[n:]], -1)
        for layer in self._pair:
            x = layer(x)
        x = x.reshape(n, -1, x.shape[-1])
        return x + self._places[:, : x.shape[1]]

    def _head(self, tokens: Array, name: str) -> Array:
        """Mean over tokens of a transformer layer (Vaswani et al. 2017, normalised after both halves), made linear."""
        t = self._tensors
        x = _normed(tokens + self._attention(tokens, f"{name}.0.self_attn"), t, f"{name}.0.norm1")
        inner = np.maximum(x @ t[f"{name}.0.linear1.weight"].T + t[f"{name}.0.linear1.bias"], 0)
        x = _normed(x + inner @ t[f"{name}.0.linear2.weight"].T + t[f"{name}.0.linear2.bias"], t, f"{name}.0.norm2")
        return x.mean(1) @ t[f"{name}.1.weight"].T + t[f"{name}.1.bias"]

    def _attention(self, x: Array, name: str) -> Array:
        """Self-attention of sequences (N, T, C)."""
        t, heads = self._tensors, self.shape.heads
        n, count, width = x.shape
        mixed = x @ t[f"{name}.in_proj_weight"].T + t[f"{name}.in_proj_bias"]
        query, key, value = mixed.reshape(n, count, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        match = query @ key.swapaxes(-1, -2) * np.float32((width // heads) ** -0.5)
        match = np.exp(match - match.max(-1, keepdims=True))
        match /= match.sum(-1, keepdims=True)
        joined = (match @ value).transpose(0, 2, 1, 3).reshape(n, count, width)
        return joined @ t[f"{name}.out_proj.weight"].T + t[f"{name}.out_proj.bias"]


class _Convolution:
    """One convolution with its normalisation folded in; `stride` 1 or 2, padded to keep the size."""

    def __init__(self, weight: Array, bias: Array, stride: int, *, relu: bool) -> None:
        outputs, _, self._kernel, _ = weight.shape
        self._matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, outputs))
        self._bias, self._stride, self._relu = bias, stride, relu

    def __call__(self, x: Array) -> Array:
        n, _, _, channels = x.shape
        k, half = self._kernel, self._kernel // 2
        padded = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
        windows = sliding_window_view(padded, (k, k), (1, 2))[:, :: self._stride, :: self._stride]
        h, w = windows.shape[1:3]
        patches = np.ascontiguousarray(windows.transpose(0, 1, 2, 4, 5, 3)).reshape(n * h * w, k * k * channels)
        out = patches @ self._matrix
        out += self._bias
        if self._relu:
            np.maximum(out, 0, out=out)
        return out.reshape(n, h, w, -1)


class _Residual:
    def __init__(self, first: _Convolution, second: _Convolution) -> None:
        self._first, self._second = first, second

    def __call__(self, x: Array) -> Array:
        out = self._second(self._first(x))
        out += x
        return np.maximum(out, 0, out=out)


def _encoder(tensors: Mapping[str, Array], name: str, strides: list[int], shape: NetworkShape, first: int = 0
             ) -> list[_Convolution | _Residual]:
    """Layers of an encoder: `first` residual blocks, convolutions with these strides, `shape.blocks` more blocks."""
    convolutions = range(first, first + len(strides))
    layers: list[_Convolution | _Residual] = []
    for k in range(first + len(strides) + shape.blocks):
        part = f"{name}.{k}"
        if k in convolutions:
            weight, bias = _folded(tensors, f"{part}.net.0", f"{part}.net.1", shape)
            layers.append(_Convolution(weight, bias, strides[k - first], relu=True))
        else:
            layers.append(_Residual(*(_Convolution(*_folded(tensors, f"{part}.conv{i}", f"{part}.bn{i}", shape), 1,
                                                   relu=i == 1) for i in (1, 2))))
    return layers


def _folded(tensors: Mapping[str, Array], convolution: str, norm: str, shape: NetworkShape) -> tuple[Array, Array]:
    """Weight and bias of a convolution and the batch normalisation after it."""
    weight, bias = tensors[f"{convolution}.weight"], tensors[f"{convolution}.bias"]
    if not shape.batch_norm:
        return weight, bias
    scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + np.float32(_EPSILON))
    return (weight * scale[:, None, None, None],
            (bias - tensors[f"{norm}.running_mean"]) * scale + tensors[f"{norm}.bias"])


def _normed(x: Array, tensors: Mapping[str, Array], name: str) -> Array:
    """Layer normalisation over the last axis."""
    x = x - x.mean(-1, keepdims=True)
    x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(_EPSILON))
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def tensor_shapes(shape: NetworkShape, kind: str) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of a network, counters of its normalisations left out."""
    w, names = shape.width, ("encodeA", "encodeAB") if kind == "refiner" else ("encoderA", "encoderAB")
    out: dict[str, tuple[int, ...]] = {}

    def layer(name: str, norm: str, inputs: int, outputs: int, kernel: int) -> None:
        out[f"{name}.weight"], out[f"{name}.bias"] = (outputs, inputs, kernel, kernel), (outputs,)
        if shape.batch_norm:
            out.update({f"{norm}.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")})

    def stage(name: str, plan: list[tuple[int, int, int]]) -> None:
        for k, (inputs, outputs, kernel) in enumerate(plan):
            if kernel:
                layer(f"{name}.{k}.net.0", f"{name}.{k}.net.1", inputs, outputs, kernel)
            else:
                for i in (1, 2):
                    layer(f"{name}.{k}.conv{i}", f"{name}.{k}.bn{i}", outputs, outputs, 3)

    stage(names[0], [(shape.channels, w, 7), (w, 2 * w, 3), *[(0, 2 * w, 0)] * shape.blocks])
    stage(names[1], [*[(0, 4 * w, 0)] * shape.blocks, (4 * w, 8 * w, 3), *[(0, 8 * w, 0)] * shape.blocks])
    c = shape.tokens_width
    hidden = shape.feedforward or c
    out["pos_embed.pe"] = (1, shape.tokens, c)

    def attention(name: str) -> None:
        out.update({f"{name}.in_proj_weight": (3 * c, c), f"{name}.in_proj_bias": (3 * c,),
                    f"{name}.out_proj.weight": (c, c), f"{name}.out_proj.bias": (c,)})

    if kind == "scorer":
        attention("att")
        attention("att_cross")
        return out | {"linear.weight": (1, c), "linear.bias": (1,)}
    for name, outputs in (("trans_head", 3), ("rot_head", shape.rotation)):
        attention(f"{name}.0.self_attn")
        out.update({f"{name}.0.linear1.weight": (hidden, c), f"{name}.0.linear1.bias": (hidden,),
                    f"{name}.0.linear2.weight": (c, hidden), f"{name}.0.linear2.bias": (c,),
                    f"{name}.1.weight": (outputs, c), f"{name}.1.bias": (outputs,)})
        out.update({f"{name}.0.norm{i}.{part}": (c,) for i in (1, 2) for part in ("weight", "bias")})
    return out


def check_tensors(weights: PairWeights) -> None:
    """WeightsError naming the first tensor that is missing, superfluous or of another shape than the network's."""
    wanted = tensor_shapes(weights.shape, weights.kind)
    for name in sorted(wanted.keys() | weights.tensors.keys()):
        have = tuple(weights.tensors[name].shape) if name in weights.tensors else None
        if have != wanted.get(name):
            raise WeightsError(f"the weights do not fit the {weights.kind}: {name} has shape {have}, needs "
                               f"{wanted.get(name)}; they belong to another network")
