"""The encoder of the score network: a point cloud becomes a few vectors that turn with it, and descriptors that do not.

A PointNet on vector neurons (Deng et al., ICCV 2021). Instead of a neighbour graph, Gaussian neighbourhoods of two
widths say where around each point the cloud lies: smooth, and the same however densely the cloud was sampled.
"""

from dataclasses import dataclass
from typing import Any

from storm_core.score_model.vectors import Array, bend, cross, dot, namespace, relu, squared_distances

Params = dict[str, Any]

NEIGHBOURHOODS = (0.08, 0.2)
"""Widths of the neighbourhoods within a cloud [diameters]."""

POINT_CHANNELS = 6


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; stored with its weights.

    Attributes:
      channels: vectors per latent. blocks: residual blocks of the encoder. heads: matchings by descriptor.
      hidden: width of the scalar layers. points: object points. scene_points: scene points.
      latents: the head sees the latents (False: matches alone, an ablation).
      object_axes: the head sees the axes of the object frame; for weights of one object, whose frame means something.
    """

    channels: int = 32
    blocks: int = 2
    heads: int = 3
    hidden: int = 128
    points: int = 64
    scene_points: int = 80
    latents: bool = True
    object_axes: bool = False


@dataclass(frozen=True, eq=False)
class Cloud:
    """An encoded cloud of B scenes or particles.

    Attributes:
      points: (B, N, 3). normals: (B, N, 3). latent: (B, 3, C). descriptors: (B, N, C), invariant to rotations.
      mean: (B, 3) of the points.
    """

    points: Array
    normals: Array
    latent: Array
    descriptors: Array
    mean: Array


def encode(params: Params, config: NetworkConfig, points: Array, normals: Array) -> Cloud:
    """Latent and descriptors of clouds: points and unit normals (B, N, 3), in diameters."""
    xp = namespace(points)
    mean = points.mean(-2)
    x = points - mean[:, None]
    d2 = squared_distances(x, x)
    around = []
    for width in NEIGHBOURHOODS:
        w = xp.exp(-d2 / (2 * width * width))
        around.append((w @ x) / w.sum(-1)[..., None] - x)
    a, b = (v / width for v, width in zip(around, NEIGHBOURHOODS, strict=True))
    base = xp.stack([x, normals, a, b], -1)
    turned = cross(xp.stack([normals, a], -1), xp.stack([x, x], -1))
    v = xp.concatenate([base, turned], -1)
    h = bend(v @ params["enc_in"], params["enc_in_k"])
    for i in range(config.blocks):
        pooled = h.mean(-3)[:, None] @ params[f"enc{i}_g"]
        h = h + bend(h @ params[f"enc{i}"] + pooled, params[f"enc{i}_k"])
    latent = h.mean(-3) @ params["enc_out"]
    # Lengths along learned directions do not change when everything turns.
    inner = dot(h, (h.mean(-3)[:, None] + h) @ params["enc_dir"])
    inner = inner / xp.sqrt(1 + inner * inner)
    descriptors = relu(inner @ params["enc_inv"] + params["enc_inv_b"]) @ params["enc_inv2"] + params["enc_inv2_b"]
    return Cloud(points, normals, latent, descriptors, mean)


def repeated(cloud: Cloud, count: int) -> Cloud:
    """Every scene `count` times in a row: one encoding for all its particles."""

    def again(x: Array) -> Array:
        shape = tuple(x.shape)
        xp = namespace(x)
        return xp.broadcast_to(x[:, None], (shape[0], count, *shape[1:])).reshape(shape[0] * count, *shape[1:])

    return Cloud(again(cloud.points), again(cloud.normals), again(cloud.latent), again(cloud.descriptors),
                 again(cloud.mean))


def turned_cloud(cloud: Cloud, turns: Array) -> Cloud:
    """A cloud after rotations (B, 3, 3) about the origin, without encoding it again."""
    xp = namespace(turns)
    back = xp.swapaxes(turns, -1, -2)
    return Cloud(cloud.points @ back, cloud.normals @ back, turns @ cloud.latent, cloud.descriptors,
                 (turns @ cloud.mean[..., None])[..., 0])
