"""`crops` in torch: renders and pictures of many hypotheses without leaving a device; the slow twin of the kernel."""

from dataclasses import dataclass

import torch
from torch import Tensor

from storm_core.geometry.mesh import ObjectModel
from storm_core.render_compare.crops import AMBIENT, COARSE_CROP, GREY
from storm_core.render_compare.device_raster import Rasterizer
from storm_core.render_compare.shape import Scaling
from storm_core.types import Frame

_MOST_TAPS = 4
_MIN_Z = 0.02


@dataclass(frozen=True, eq=False)
class DeviceModel:
    """The surface that is drawn: vertices (V, 3) [m], faces (F, 3), colors (V, 3) in [0, 1], center (3,), diameter."""

    vertices: Tensor
    faces: Tensor
    colors: Tensor
    center: Tensor
    diameter: float


@dataclass(frozen=True, eq=False)
class DeviceFrame:
    """One picture: rgb (H, W, 3) in [0, 1], depth (H, W) [m], camera (4,) = fx fy cx cy [px]."""

    rgb: Tensor
    depth: Tensor
    camera: Tensor


def device_model(model: ObjectModel, side: int, device: torch.device) -> DeviceModel:
    """The surface that crops of this side [px] show."""
    surface = model.coarse if side <= COARSE_CROP else model
    vertices = torch.as_tensor(surface.vertices, dtype=torch.float32, device=device)
    colors = (torch.full_like(vertices, GREY) if surface.colors is None
              else torch.as_tensor(surface.colors, device=device).float())
    return DeviceModel(vertices, torch.as_tensor(surface.faces, device=device).long(), colors / 255,
                       torch.as_tensor(model.center, dtype=torch.float32, device=device), float(model.diameter))


def uploaded(frame: Frame, device: torch.device) -> DeviceFrame:
    """The one transfer of a refinement."""
    # Frames are read-only, which tensors cannot be: copied once here.
    return DeviceFrame(torch.tensor(frame.rgb, device=device).float() / 255,
                       torch.tensor(frame.depth, device=device),
                       torch.as_tensor(frame.camera.vector, dtype=torch.float32, device=device))


def device_pairs(frame: DeviceFrame, model: DeviceModel, cam_from_objs: Tensor, side: int, scaling: Scaling,
                 rasterize: Rasterizer) -> Tensor:
    """As `crops.crop_pairs`: (N, 2, 6, side, side) for poses (N, 4, 4)."""
    rotation, shift = cam_from_objs[:, :3, :3], cam_from_objs[:, :3, 3]
    center = rotation @ model.center + shift
    center = torch.cat([center[:, :2], center[:, 2:].clamp(min=_MIN_Z)], 1)
    fx, fy, cx, cy = frame.camera
    step = scaling.crop_ratio * model.diameter * fx / center[:, 2] / side
    x0 = fx * center[:, 0] / center[:, 2] + cx - 0.5 * step * (side - 1)
    y0 = fy * center[:, 1] / center[:, 2] + cy - 0.5 * step * (side - 1)
    cameras = torch.stack([fx / step, fy / step, (cx - x0) / step, (cy - y0) / step], 1)
    rays = _rays(cameras, side)
    vertices = model.vertices @ rotation.transpose(1, 2) + shift[:, None]
    face = rasterize(vertices, model.faces, cameras, side)
    color, place = _shaded(vertices, model, face, rays)
    shown = (face >= 0)[..., None]
    rendered = torch.cat([color, _relative(place, center, shown, model.diameter, scaling.bound)], -1)
    x, y = _pixels(x0, step, side), _pixels(y0, step, side)
    depth, inside = _nearest(frame.depth[..., None], x, y)
    measured = inside & (depth > 1e-3)
    seen = torch.cat([_blurred(frame.rgb, x0, y0, step, side),
                      _relative(rays * depth, center, measured, model.diameter, scaling.bound)], -1)
    return torch.stack([rendered, seen], 1).permute(0, 1, 4, 2, 3)


def _rays(cameras: Tensor, side: int) -> Tensor:
    """Directions (N, side, side, 3) with z = 1."""
    at = torch.arange(side, device=cameras.device, dtype=cameras.dtype)
    x = (at[None] - cameras[:, 2:3]) / cameras[:, 0:1]
    y = (at[None] - cameras[:, 3:4]) / cameras[:, 1:2]
    x, y = x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)
    return torch.stack([x, y, torch.ones_like(x)], -1)


def _shaded(vertices: Tensor, model: DeviceModel, face: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Lit colours and camera-frame places (N, S, S, 3) [m] where the rays meet the faces; 0 without a face."""
    corner = model.faces[face.clamp(min=0)]  # (N, S, S, 3)
    batch = torch.arange(len(vertices), device=face.device)[:, None, None, None]
    a, b, c = vertices[batch, corner].unbind(-2)
    e1, e2 = b - a, c - a
    normal = torch.linalg.cross(e1, e2)
    square = (normal**2).sum(-1, keepdim=True).clamp(min=1e-30)
    along = (normal * rays).sum(-1, keepdim=True)
    depth = (normal * a).sum(-1, keepdim=True) / torch.where(along == 0, torch.ones_like(along), along)
    place = rays * depth
    off = place - a
    b1 = ((torch.linalg.cross(off, e2) * normal).sum(-1, keepdim=True) / square).clamp(0, 1)
    b2 = ((torch.linalg.cross(e1, off) * normal).sum(-1, keepdim=True) / square).clamp(0, 1)
    colors = model.colors[corner]
    color = (1 - b1 - b2).clamp(min=0) * colors[..., 0, :] + b1 * colors[..., 1, :] + b2 * colors[..., 2, :]
    facing = along.abs() / (square.sqrt() * rays.norm(dim=-1, keepdim=True))
    shown = (face >= 0)[..., None]
    return (color * (AMBIENT + (1 - AMBIENT) * facing)) * shown, place * shown


def _relative(place: Tensor, center: Tensor, known: Tensor, diameter: float, bound: float) -> Tensor:
    """Places relative to the centres (N, 3) [radii]; unknown and far coordinates are 0."""
    relative = (place - center[:, None, None]) / (diameter / 2)
    return torch.where(known & (relative.abs() < bound), relative, torch.zeros_like(relative))


def _pixels(start: Tensor, step: Tensor, side: int, shift: float | Tensor = 0.0) -> Tensor:
    """Picture coordinates (N, side) of crop pixels, moved by `shift` crop pixels."""
    at = torch.arange(side, device=start.device, dtype=start.dtype)
    return torch.floor(start[:, None] + step[:, None] * (at[None] + shift) + 0.5).long()


def _nearest(picture: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Values (N, S, S, C) of a picture (H, W, C) at columns x and rows y (N, S), and whether they lie inside."""
    h, w = picture.shape[:2]
    inside = ((x >= 0) & (x < w))[:, None, :] & ((y >= 0) & (y < h))[:, :, None]
    value = picture[y.clamp(0, h - 1)[:, :, None], x.clamp(0, w - 1)[:, None, :]]
    return value * inside[..., None], inside[..., None]


def _blurred(rgb: Tensor, x0: Tensor, y0: Tensor, step: Tensor, side: int) -> Tensor:
    """Mean colours (N, S, S, 3) of the pixels that crop pixels cover, at most 4 x 4 of them."""
    taps = (step + 0.5).floor().clamp(1, _MOST_TAPS)
    total = torch.zeros(len(x0), side, side, 3, device=rgb.device)
    count = torch.zeros(len(x0), side, side, 1, device=rgb.device)
    for j in range(_MOST_TAPS):
        for i in range(_MOST_TAPS):
            used = ((i < taps) & (j < taps))[:, None, None, None]
            x = _pixels(x0, step, side, ((i + 0.5) / taps - 0.5)[:, None])
            y = _pixels(y0, step, side, ((j + 0.5) / taps - 0.5)[:, None])
            value, inside = _nearest(rgb, x, y)
            total += value * used
            count += inside & used
    return total / count.clamp(min=1)
