"""Which triangle each pixel of many small pictures shows, in torch: nvdiffrast where it is installed, or plain torch.

The plain one tries every triangle at every pixel: slow on a CPU, where it serves as the twin of the compiled kernel,
and without branches or round trips, as a GPU likes it.
"""

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from storm_core.rendering.raster import NEAR

Rasterizer = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""(vertices (N, V, 3) in camera frames [m], faces (F, 3), cameras (N, 4) = fx fy cx cy [px], side) -> face index
(N, side, side), -1 = background. Both sides of a face are drawn; faces that reach behind the camera are not."""

_AT_ONCE = 2**26
"""Numbers (triangles x pixels x pictures) that are tried at once."""

_EDGE = 1e-6


def rasterizer_of(device: torch.device) -> Rasterizer:
    """The fastest one that this machine has for a device."""
    if device.type == "cuda" and find_spec("nvdiffrast") is not None:
        return _nvdiffrast(device)
    return every_triangle


def every_triangle(vertices: Tensor, faces: Tensor, cameras: Tensor, side: int) -> Tensor:
    """A `Rasterizer` in plain torch. Barycentric coordinates and 1/z are affine in pixels, so each is one product."""
    n, device = len(vertices), vertices.device
    z = vertices[..., 2]
    safe = z.clamp(min=NEAR)
    x = cameras[:, 0:1] * vertices[..., 0] / safe + cameras[:, 2:3]
    y = cameras[:, 1:2] * vertices[..., 1] / safe + cameras[:, 3:4]
    corners = torch.stack([x, y, 1 / safe, (z > NEAR).to(x.dtype)], -1)[:, faces]  # (N, F, 3, 4)
    x0, y0, w0 = corners[:, :, 0, :3].unbind(-1)
    dx1, dy1, dw1 = (corners[:, :, 1, :3] - corners[:, :, 0, :3]).unbind(-1)
    dx2, dy2, dw2 = (corners[:, :, 2, :3] - corners[:, :, 0, :3]).unbind(-1)
    area = dx1 * dy2 - dx2 * dy1
    drawn = (corners[..., 3].amin(-1) > 0) & (area != 0)
    inverse = torch.where(drawn, 1 / torch.where(drawn, area, torch.ones_like(area)), torch.zeros_like(area))
    first = torch.stack([dy2 * inverse, -dx2 * inverse, (dx2 * y0 - dy2 * x0) * inverse], -1)
    second = torch.stack([-dy1 * inverse, dx1 * inverse, (dy1 * x0 - dx1 * y0) * inverse], -1)
    slope = first * dw1[..., None] + second * dw2[..., None]
    slope = torch.cat([slope[..., :2], slope[..., 2:] + w0[..., None]], -1)
    at = torch.arange(side, device=device, dtype=x.dtype)
    pixels = torch.stack([at.repeat(side), at.repeat_interleave(side), torch.ones(side * side, device=device)])
    nearest = torch.zeros(n, side * side, device=device, dtype=x.dtype)
    face = torch.full((n, side * side), -1, device=device, dtype=torch.long)
    step = max(1, _AT_ONCE // max(1, n * side * side))
    for k in range(0, len(faces), step):
        part = slice(k, k + step)
        b1, b2, near = (c[:, part] @ pixels for c in (first, second, slope))
        inside = (b1 >= -_EDGE) & (b2 >= -_EDGE) & (b1 + b2 <= 1 + _EDGE) & drawn[:, part, None]
        value, index = torch.where(inside, near, torch.zeros_like(near)).max(1)
        better = value > nearest
        nearest = torch.where(better, value, nearest)
        face = torch.where(better, index + k, face)
    return face.reshape(n, side, side)


def _nvdiffrast(device: torch.device) -> Rasterizer:
    import nvdiffrast.torch as dr

    context = dr.RasterizeCudaContext(device=device)

    def rasterize(vertices: Tensor, faces: Tensor, cameras: Tensor, side: int) -> Tensor:
        x, y, z = vertices.unbind(-1)
        # Row 0 is at y = -1 there, and pixel centres lie half a pixel inside, so that nothing has to be turned over.
        across = (cameras[:, 0:1] * x + (cameras[:, 2:3] + 0.5) * z) * (2 / side) - z
        down = (cameras[:, 1:2] * y + (cameras[:, 3:4] + 0.5) * z) * (2 / side) - z
        near, far = z.amin().clamp(min=NEAR), z.amax() + NEAR
        depth = (z * (far + near) - 2 * far * near) / (far - near)
        drawn, _ = dr.rasterize(context, torch.stack([across, down, depth, z], -1).float().contiguous(),
                                faces.int().contiguous(), (side, side))
        return drawn[..., 3].long() - 1

    return rasterize
