"""Layers on vector neurons, written once for NumPy and torch.

A feature is a list of vectors in space: arrays (..., 3, C), the channel last. Linear maps mix channels and never
coordinates, so turning the input turns the output (Deng et al., Vector Neurons, ICCV 2021). Every function works on
NumPy arrays and on torch tensors: training runs in torch, inference needs NumPy alone, and there is one forward pass.
"""

from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy array or a torch tensor."""

LEAK = 0.2
EPS = 1e-6


def namespace(x: Array) -> ModuleType:
    """The module whose functions work on x: numpy or torch."""
    if isinstance(x, np.ndarray):
        return np
    import torch

    return torch


def cross(a: Array, b: Array) -> Array:
    """Cross products of vectors along axis -2 of (..., 3, C)."""
    xp = namespace(a)
    ax, ay, az = a[..., 0, :], a[..., 1, :], a[..., 2, :]
    bx, by, bz = b[..., 0, :], b[..., 1, :], b[..., 2, :]
    return xp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -2)


def dot(a: Array, b: Array) -> Array:
    """Inner products (..., C) of vectors (..., 3, C)."""
    return (a * b).sum(-2)


def bend(q: Array, weight: Array) -> Array:
    """Vector ReLU of (..., 3, C): the part of q against a learned direction shrinks to LEAK. weight: (C, C)."""
    xp = namespace(q)
    k = q @ weight
    along = (q * k).sum(-2)[..., None, :]
    against = xp.where(along < 0, along, 0 * along)
    return q - (1 - LEAK) * against / ((k * k).sum(-2)[..., None, :] + EPS) * k


def softmax(x: Array, axis: int) -> Array:
    xp = namespace(x)
    e = xp.exp(x - xp.amax(x, axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x: Array) -> Array:
    xp = namespace(x)
    return 0.5 * (1 + xp.tanh(0.5 * x))


def relu(x: Array) -> Array:
    """Leaky, so that no scalar neuron dies."""
    xp = namespace(x)
    return xp.where(x > 0, x, 0.1 * x)


def squared_distances(a: Array, b: Array) -> Array:
    """(..., M, N) between points (..., M, 3) and (..., N, 3)."""
    xp = namespace(a)
    inner = a @ xp.swapaxes(b, -1, -2)
    d2 = (a * a).sum(-1)[..., :, None] + (b * b).sum(-1)[..., None, :] - 2 * inner
    return xp.where(d2 > 0, d2, 0 * d2)
