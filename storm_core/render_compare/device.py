"""The refiner on one device, without a round trip to the host inside its loop: render, crop, look, move, all in torch.

Works on any torch device; made for CUDA, where the network runs in bfloat16 as CUDA graphs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from storm_core.render_compare.cuda_graphs import Function, Graphs
from storm_core.render_compare.device_crops import DeviceFrame, DeviceModel, device_model, device_pairs, uploaded
from storm_core.render_compare.device_raster import Rasterizer, rasterizer_of
from storm_core.render_compare.refiner import Hypotheses, Poses
from storm_core.render_compare.shape import Scaling
from storm_core.render_compare.torch_network import TorchNetwork
from storm_core.types import Frame


class DeviceRefiner:
    """As `refiner.HostRefiner`, all of it on one device."""

    def __init__(self, network: TorchNetwork, device: str, *, max_hypotheses: int = 252, batch: int = 64,
                 rasterizer: Rasterizer | None = None) -> None:
        """network: on that device; others may use it as well.

        batch: hypotheses that are drawn and seen at once; halved for good when the memory does not suffice.
        """
        self._network = network
        self._scaling, self._device = network.scaling, torch.device(device)
        self._most, self.batch = max_hypotheses, batch
        self._rasterize = rasterizer or rasterizer_of(self._device)
        self._models: dict[str, DeviceModel] = {}
        self._motions: Function = self._network.motions_of
        if self._device.type == "cuda":
            self._motions = Graphs(self._network.motions_of)

    @torch.inference_mode()
    def refine(self, frame: Frame, hypotheses: Sequence[Hypotheses], iterations: int) -> list[Poses]:
        """See `refiner.PairRefiner`."""
        seen = uploaded(frame, self._device)
        models = [self._model(h) for h in hypotheses]
        poses = [torch.as_tensor(np.asarray(h.cam_from_objs[: self._most]), dtype=torch.float32, device=self._device)
                 .reshape(-1, 4, 4) for h in hypotheses]
        sizes = [len(p) for p in poses]
        for _ in range(iterations if sum(sizes) else 0):
            shift, turn = self._looked_at(seen, models, poses)
            poses = [_moved(p, m, s, t, self._scaling) for p, m, s, t in
                     zip(poses, models, shift.split(sizes), turn.split(sizes), strict=True)]
        return [p.double().cpu().numpy() for p in poses]

    def _model(self, hypotheses: Hypotheses) -> DeviceModel:
        key = hypotheses.model.sha256
        if key not in self._models:
            self._models[key] = device_model(hypotheses.model, self._network.shape.crop, self._device)
        return self._models[key]

    def _looked_at(self, frame: DeviceFrame, models: list[DeviceModel], poses: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Raw shift and turn of all hypotheses, in batches that fit into the memory."""
        while True:
            try:
                parts = [self._motions(chunk) for chunk in self._chunks(frame, models, poses)]
                return torch.cat([shift for shift, _ in parts]), torch.cat([turn for _, turn in parts])
            except torch.OutOfMemoryError:
                if self.batch == 1:
                    raise
                self.batch = max(1, self.batch // 2)

    def _chunks(self, frame: DeviceFrame, models: list[DeviceModel], poses: list[Tensor]) -> Iterator[Tensor]:
        """Pairs (<= batch, 2, C, S, S), drawn when they are asked for. Objects share them: ten tracked objects cost
        little more than one."""
        waiting: list[Tensor] = []
        room = self.batch
        for model, rest in zip(models, poses, strict=True):
            while len(rest):
                some, rest = rest[:room], rest[room:]
                waiting.append(device_pairs(frame, model, some, self._network.shape.crop, self._scaling,
                                            self._rasterize))
                room -= len(some)
                if room == 0:
                    yield torch.cat(waiting)
                    waiting, room = [], self.batch
        if waiting:
            yield torch.cat(waiting)


def _moved(poses: Tensor, model: DeviceModel, shift: Tensor, turn: Tensor, scaling: Scaling) -> Tensor:
    """As `motion.read_motion` and `motion.moved`."""
    metres = (shift * (model.diameter / 2) if scaling.shift is None
              else torch.tanh(shift) * shift.new_tensor(scaling.shift))
    rotation = _exponential(torch.tanh(turn) * scaling.turn) if turn.shape[1] == 3 else _from_columns(turn)
    rotation = rotation @ poses[:, :3, :3]
    center = poses[:, :3, :3] @ model.center + poses[:, :3, 3] + metres
    out = poses.clone()
    out[:, :3, :3] = rotation
    out[:, :3, 3] = center - rotation @ model.center
    return out


def _exponential(omega: Tensor) -> Tensor:
    """Rotations (N, 3, 3) of axis-angle vectors (N, 3), after Rodrigues."""
    angle = omega.norm(dim=1, keepdim=True).clamp(min=1e-8)[..., None]
    x, y, z = omega.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    half = torch.sin(angle / 2) / angle
    return torch.eye(3, device=omega.device) + torch.sin(angle) / angle * cross + 2 * half**2 * (cross @ cross)


def _from_columns(six: Tensor) -> Tensor:
    """Rotations (N, 3, 3) of two unfinished columns each."""
    first = torch.nn.functional.normalize(six[:, :3], dim=1)
    second = six[:, 3:] - (six[:, 3:] * first).sum(1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)
