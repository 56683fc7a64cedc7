"""The small network over one crop, compiled: it is asked while other objects are tracked on other threads.

Its slow twin is `CropNetwork.log_odds(inputs(crop[None]))` in NumPy.
"""

import numpy as np

from storm_core.kernels import njit
from storm_core.monitor.crop import AGREES, GAP, INPUTS, LEAST_SPREAD

_WIDEST = 3.0
"""Colours are held to so many standard deviations."""


@njit(cache=True)
def inputs_kernel(crop, out):  # noqa: ANN001
    """As `crop.inputs`, of one crop (PLANES, SIDE, SIDE) into out (INPUTS, SIDE + 2, SIDE + 2), whose rim stays."""
    side = crop.shape[1]
    mean, square, count = np.zeros(6), np.zeros(2), 0
    for v in range(side):
        for u in range(side):
            gap = abs(np.float32(crop[6, v, u]) - 128) if crop[6, v, u] > 0 else np.float32(0)
            if crop[8, v, u] > 0 and gap / np.float32(127) <= AGREES / GAP:
                count += 1
                for k in range(6):
                    mean[k] += crop[k, v, u]
                    square[k // 3] += float(crop[k, v, u]) ** 2
    n = max(count, 1)
    spread = np.empty(2)
    for k in range(2):
        of_means = 0.0
        for i in range(3):
            mean[3 * k + i] /= n
            of_means += mean[3 * k + i] ** 2
        variance = max(square[k] - count * of_means, 0.0) / (3 * n)
        spread[k] = max(np.sqrt(variance), 255.0 * LEAST_SPREAD)
    for v in range(side):
        for u in range(side):
            inside = crop[8, v, u] > 0
            for k in range(6):
                value = (crop[k, v, u] - mean[k]) / spread[k // 3]
                shown = k < 3 or inside
                out[k, v + 1, u + 1] = min(max(value, -_WIDEST), _WIDEST) if shown else 0.0
            known, around = crop[6, v, u], crop[7, v, u]
            out[6, v + 1, u + 1] = (float(known) - 128.0) / 127.0 if inside and known > 0 else 0.0
            out[7, v + 1, u + 1] = (float(around) - 128.0) / 127.0 if around > 0 else 0.0
            out[8, v + 1, u + 1] = 1.0 if inside else 0.0
            out[9, v + 1, u + 1] = 1.0 if around > 0 else 0.0


@njit(cache=True)
def convolution_kernel(padded, weight, bias, stride):  # noqa: ANN001
    """Rectified convolution of 3 x 3 px of (C, H + 2, W + 2), with a rim of zeros around the result as around x."""
    channels, height, width = padded.shape
    h, w = (height - 2) // stride, (width - 2) // stride
    columns = np.empty((channels * 9, h * w), np.float32)
    for c in range(channels):
        for k in range(9):
            row = columns[9 * c + k]
            for y in range(h):
                for x in range(w):
                    row[y * w + x] = padded[c, k // 3 + stride * y, k % 3 + stride * x]
    flat = np.dot(weight, columns)
    out = np.zeros((len(bias), h + 2, w + 2), np.float32)
    for c in range(len(bias)):
        for y in range(h):
            for x in range(w):
                out[c, y + 1, x + 1] = max(flat[c, y * w + x] + bias[c], np.float32(0))
    return out


@njit(cache=True, nogil=True)
def log_odds_kernel(crop, layers, strides, head):  # noqa: ANN001
    """Log-odds of one crop (PLANES, SIDE, SIDE).

    layers: (weight (out, in * 9), bias (out,)) of each convolution. head: weight, bias, weight, bias of the two linear
    layers.
    """
    side = crop.shape[1]
    x = np.zeros((INPUTS, side + 2, side + 2), np.float32)
    inputs_kernel(crop, x)
    for k in range(len(strides)):
        weight, bias = layers[k]
        x = convolution_kernel(x, weight, bias, strides[k])
    channels, n = x.shape[0], (x.shape[1] - 2) * (x.shape[2] - 2)
    pooled = np.empty(2 * channels)
    for c in range(channels):  # what is rectified is at least zero, as the rim is
        pooled[c], pooled[channels + c] = x[c].sum() / n, x[c].max()
    hidden_weight, hidden_bias, weight, bias = head
    out = float(bias[0])
    for i in range(len(hidden_bias)):
        value = float(hidden_bias[i])
        for c in range(2 * channels):
            value += hidden_weight[i, c] * pooled[c]
        out += weight[0, i] * max(value, 0.0)
    return out
