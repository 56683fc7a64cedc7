"""One process or many: `torchrun` sets the environment, this reads it."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from storm_core.models.devices import require_torch_device


@dataclass(frozen=True)
class Crew:
    """rank of size processes; device of this one."""

    rank: int
    size: int
    device: str

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network whose gradients are averaged over all processes."""
        if self.size == 1:
            return network
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(network, device_ids=[self.device] if self.device.startswith("cuda") else None)

    def summed(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        if self.size > 1:
            distributed.barrier()

    def leave(self) -> None:
        if self.size > 1:
            distributed.destroy_process_group()


def join(device: str) -> Crew:
    """This process among those of torchrun; alone without it. NCCL on GPUs, gloo on CPUs.

    Raises:
      BackendError: the device is none or not there.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and size > 1:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    require_torch_device(device, "device")
    if device.startswith("cuda") and size > 1:
        torch.cuda.set_device(device)
    if size > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Crew(rank, size, device)
