"""The noise-conditioned score network: scene cloud, object cloud, pose and noise level in, score of the pose out.

Three parts, all equivariant to rotations of the scene. An encoder of vector neurons, shared by scene and object, gives
each cloud a latent (C vectors) and each point invariant descriptors. The contact part matches the clouds at several
widths and by descriptor, weighs every match, and solves for the small motion that the matches ask for. The head mixes
these motions and the latents' own torque into a score, by gates that see the noise level and invariants only.

Lengths are in object diameters, coordinates relative to the hypothesised object centre, axes those of the camera.
A parameter set is a flat dict of arrays, see `initial_parameters`.
"""

import numpy as np
from numpy.typing import NDArray

from storm_core.score_model.encoder import POINT_CHANNELS, Cloud, NetworkConfig, Params
from storm_core.score_model.motions import motion_by_planes, motion_by_points
from storm_core.score_model.vectors import (
    EPS,
    Array,
    bend,
    cross,
    dot,
    namespace,
    relu,
    sigmoid,
    softmax,
    squared_distances,
)

WIDTHS = (0.025, 0.06, 0.15, 0.4)
"""Widths of the matches between clouds [diameters]."""

SOLVED = (0, 1, 2)
"""Which widths ask for a motion by point-to-plane residuals."""

FREQUENCIES = 16


def initial_parameters(config: NetworkConfig, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random weights; the last layers start small, so that an untrained network answers nearly zero."""
    rng = np.random.default_rng(seed)
    c, h, heads = config.channels, config.hidden, config.heads
    out: dict[str, NDArray[np.float32]] = {}

    def linear(name: str, fan_in: int, fan_out: int, gain: float = 1.0, bias: bool = False) -> None:
        out[name] = (rng.normal(0, gain / np.sqrt(fan_in), (fan_in, fan_out))).astype(np.float32)
        if bias:
            out[name + "_b"] = np.zeros(fan_out, np.float32)

    linear("enc_in", POINT_CHANNELS, c, 2.0)
    linear("enc_in_k", c, c)
    for i in range(config.blocks):
        linear(f"enc{i}", c, c)
        linear(f"enc{i}_g", c, c)
        linear(f"enc{i}_k", c, c)
    linear("enc_out", c, c)
    linear("enc_dir", c, c)
    linear("enc_inv", c, c, bias=True)
    linear("enc_inv2", c, c, bias=True)
    linear("match_q", c, heads * 16, bias=True)
    linear("match_k", c, heads * 16, bias=True)
    out["match_near"] = np.full(heads, -1.0, np.float32)
    scalars = _pair_scalars(config)
    linear("pair1", scalars + c, 48, bias=True)
    linear("pair2", 48, _weights(config) + c, bias=True)
    linear("back1", 2 * len(WIDTHS) + c, 24, bias=True)
    linear("back2", 24, c, bias=True)
    vectors = _pair_vectors(config)
    linear("pair_v", vectors, c, 2.0)
    linear("back_v", 2 * len(WIDTHS) + 2, c, 2.0)
    k = _head_vectors(config)
    linear("mix", k, 2 * c)
    linear("mix_k", 2 * c, 2 * c)
    s = _head_scalars(config)
    linear("trunk1", s, h, bias=True)
    linear("trunk2", h, h, bias=True)
    linear("level1", 2 * FREQUENCIES, h, bias=True)
    linear("level2", h, h, bias=True)
    linear("gate1", h, h, bias=True)
    linear("gate2", h, 2 * (2 * c + 2 * _motions(config)), 0.1, bias=True)
    linear("error1", h, h // 2, bias=True)
    linear("error2", h // 2, 1, bias=True)
    out["frequencies"] = np.geomspace(0.2, 8.0, FREQUENCIES).astype(np.float32)
    out["identity6"] = np.eye(6, dtype=np.float32)
    return out


FIXED = ("frequencies", "identity6")
"""Entries of a parameter set that are not trained."""


def _motions(config: NetworkConfig) -> int:
    return len(SOLVED) + config.heads


def _weights(config: NetworkConfig) -> int:
    return len(SOLVED) + config.heads


def _pair_scalars(config: NetworkConfig) -> int:
    return 3 * len(WIDTHS) + 3 * config.heads


def _pair_vectors(config: NetworkConfig) -> int:
    return 2 * (len(WIDTHS) + config.heads) + 2


def _head_vectors(config: NetworkConfig) -> int:
    c = config.channels
    return 2 * c + (3 * c if config.latents else 0) + 4 + (3 if config.object_axes else 0)


def _head_scalars(config: NetworkConfig) -> int:
    c = config.channels
    pooled = _pair_scalars(config) + 2 * len(WIDTHS) + _weights(config) + 4 * _motions(config)
    return pooled + 2 * c + 3 + (3 * c if config.latents else 0)


def score_and_error(
    params: Params, config: NetworkConfig, scene: Cloud, obj: Cloud, centers: Array, rays: Array, axes: Array,
    level: Array, widths: Array,
) -> tuple[Array, Array]:
    """Score times noise width, and the expected pose error.

    Args:
      scene: relative to a fixed point (scene.points + that point = camera frame). obj: relative to the object centre.
      centers: (B, 3) hypothesised object centre relative to the scene's fixed point [diameters].
      rays: (B, 3) unit directions from the camera to the object. axes: (B, 3, 3) rotations of the hypotheses.
      level: (B,) noise level in [0, 1].
      widths: (B, 2) noise widths of shift [diameters] and turn [rad] at that level.

    Returns:
      (B, 6) score of (shift, turn) times its width: minus the standard normal noise where that can be seen.
      (B,) log of the mean point error [diameters], whatever the level says.
    """
    xp = namespace(centers)
    p, q = obj.points, scene.points - centers[:, None]
    d2 = squared_distances(p, q)
    forward = [softmax(-d2 / (2 * h * h), -1) for h in WIDTHS]
    backward = [softmax(-d2 / (2 * h * h), -2) for h in WIDTHS]
    shape = (*obj.descriptors.shape[:2], config.heads, 16)
    key = (scene.descriptors @ params["match_k"] + params["match_k_b"]).reshape(*scene.descriptors.shape[:2],
                                                                                config.heads, 16)
    query = (obj.descriptors @ params["match_q"] + params["match_q_b"]).reshape(shape)
    for i in range(config.heads):
        alike = query[:, :, i] @ xp.swapaxes(key[:, :, i], -1, -2) / 4
        forward.append(softmax(alike - xp.exp(params["match_near"][i]) * d2, -1))

    gaps = [a @ q - p for a in forward]
    matched = [a @ scene.normals for a in forward]
    facing = [(m * obj.normals).sum(-1) for m in matched]
    off = [(g * m).sum(-1) for g, m in zip(gaps, matched, strict=True)]
    length = [xp.sqrt((g * g).sum(-1) + EPS) for g in gaps]
    pair = xp.stack([*(xp.tanh(x / _scale(i)) for i, x in enumerate(length)),
                     *(xp.tanh(x / _scale(i)) for i, x in enumerate(off)), *facing], -1)
    hidden = relu(xp.concatenate([pair, obj.descriptors], -1) @ params["pair1"] + params["pair1_b"])
    gates = hidden @ params["pair2"] + params["pair2_b"]
    weights = sigmoid(gates[..., :_weights(config)])
    gates = gates[..., _weights(config):]

    vectors = xp.stack([*gaps, p, obj.normals], -1)
    arms = xp.stack([p] * len(gaps), -1)
    vectors = xp.concatenate([vectors, cross(arms, vectors[..., :len(gaps)])], -1)
    pooled = ((vectors @ params["pair_v"]) * gates[..., None, :]).mean(-3)
    back_pooled, back_scalars = _unexplained(params, backward, p, q, scene, obj)
    motions = [motion_by_planes(params["identity6"], p, gaps[k], matched[k], weights[..., i])
               for i, k in enumerate(SOLVED)]
    for i in range(config.heads):
        k, w = len(WIDTHS) + i, weights[..., len(SOLVED) + i]
        motions.append(motion_by_points(params["identity6"], p, gaps[k], w))
    motion = xp.stack(motions, -1)
    shift, turn = motion[:, :3], motion[:, 3:]

    mean_gap = scene.mean - centers
    direct = [mean_gap, obj.mean, cross(mean_gap[..., None], obj.mean[..., None])[..., 0], rays]
    channels = [pooled, back_pooled, xp.stack(direct, -1)]
    latent_scalars = []
    if config.latents:
        torque = cross(obj.latent, scene.latent)
        channels += [obj.latent, scene.latent, torque]
        latent_scalars = [dot(obj.latent, scene.latent), dot(obj.latent, obj.latent), dot(scene.latent, scene.latent)]
    if config.object_axes:
        channels.append(axes)
    mixed = bend(xp.concatenate(channels, -1) @ params["mix"], params["mix_k"])

    size = xp.sqrt(dot(shift, shift) + EPS), xp.sqrt(dot(turn, turn) + EPS)
    scalars = xp.concatenate([
        pair.mean(-2), back_scalars, weights.mean(-2), xp.tanh(4 * size[0]), xp.tanh(size[1]),
        xp.tanh(30 * size[0]), xp.tanh(10 * size[1]), _squashed(dot(pooled, pooled)),
        _squashed(dot(back_pooled, back_pooled)), *(_squashed(x) for x in latent_scalars),
        xp.stack([(mean_gap**2).sum(-1), (obj.mean**2).sum(-1), (mean_gap * obj.mean).sum(-1)], -1)], -1)
    trunk = relu(scalars @ params["trunk1"] + params["trunk1_b"])
    trunk = relu(trunk @ params["trunk2"] + params["trunk2_b"])
    gate = _gates(params, trunk, level)

    # A motion counts in units of the noise, and no further than the noise reaches.
    units = xp.concatenate([_limited(shift / widths[:, None, :1]), _limited(turn / widths[:, None, 1:])], -1)
    choices = xp.concatenate([mixed, units], -1)
    half = choices.shape[-1]
    score = xp.concatenate([(choices * gate[:, None, :half]).sum(-1), (choices * gate[:, None, half:]).sum(-1)], -1)
    error = relu(trunk @ params["error1"] + params["error1_b"]) @ params["error2"] + params["error2_b"]
    return score, error[:, 0] - 2.0


def _scale(index: int) -> float:
    """Length at which a gap of a match counts as large [diameters]."""
    return 2 * WIDTHS[index] if index < len(WIDTHS) else 0.5


def _squashed(x: Array) -> Array:
    xp = namespace(x)
    return x / xp.sqrt(1 + x * x)


def _limited(x: Array) -> Array:
    """Vectors (B, 3, C) whose length cannot pass 4."""
    xp = namespace(x)
    return x / xp.sqrt(1 + dot(x, x)[..., None, :] / 16)


def _gates(params: Params, trunk: Array, level: Array) -> Array:
    """Gates (B, 2 G) of the head from invariants and the Fourier features of the level."""
    xp = namespace(trunk)
    phase = level[:, None] * params["frequencies"] * float(np.pi)
    noise = xp.concatenate([xp.sin(phase), xp.cos(phase)], -1)
    noise = relu(noise @ params["level1"] + params["level1_b"]) @ params["level2"] + params["level2_b"]
    hidden = relu((trunk * (1 + noise) + noise) @ params["gate1"] + params["gate1_b"])
    return hidden @ params["gate2"] + params["gate2_b"]


def _unexplained(params: Params, backward: list[Array], p: Array, q: Array, scene: Cloud, obj: Cloud
                 ) -> tuple[Array, Array]:
    """What scene points say that no object point lies near: pooled vectors (B, 3, C) and scalars (B, 2 W)."""
    xp = namespace(p)
    gaps = [xp.swapaxes(a, -1, -2) @ p - q for a in backward]
    facing = [(xp.swapaxes(a, -1, -2) @ obj.normals * scene.normals).sum(-1) for a in backward]
    length = [xp.tanh(xp.sqrt((g * g).sum(-1) + EPS) / _scale(i)) for i, g in enumerate(gaps)]
    scalars = xp.stack([*length, *facing], -1)
    hidden = relu(xp.concatenate([scalars, scene.descriptors], -1) @ params["back1"] + params["back1_b"])
    gates = hidden @ params["back2"] + params["back2_b"]
    vectors = xp.stack([*gaps, q, scene.normals], -1)
    arms = xp.stack([q] * len(gaps), -1)
    vectors = xp.concatenate([vectors, cross(arms, vectors[..., :len(gaps)])], -1)
    pooled = ((vectors @ params["back_v"]) * gates[..., None, :]).mean(-3)
    return pooled, scalars.mean(-2)
