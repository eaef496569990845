"""The devices that train one model together: one of them here, several under ``accelerate``."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

__all__ = ["Team", "is_main_process"]


def is_main_process() -> bool:
    """Whether this process writes the files; under ``accelerate launch`` only the first does."""
    return int(os.environ.get("WORLD_SIZE", "1")) <= 1 or int(os.environ.get("RANK", "0")) == 0


class Team:
    """This process's place among those that train one model.

    ``accelerate launch`` sets ``WORLD_SIZE``; only then is accelerate imported.

    Attributes:
        rank: Of this process; 0 writes the files and evaluates.
        world: Number of processes.
        device: What this process computes on.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.world = 0, 1
        self.device = torch.device(device)
        self._accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import Accelerator

            self._accelerator = Accelerator(cpu=self.device.type == "cpu")
            self.device = self._accelerator.device
            self.rank = self._accelerator.process_index
            self.world = self._accelerator.num_processes

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass averages gradients over the team."""
        if self.world == 1 or not any(p.requires_grad for p in model.parameters()):
            return model
        from torch.nn.parallel import DistributedDataParallel

        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def share(self, value: Any) -> Any:
        """Rank 0's value, on every process."""
        if self.world == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            self._accelerator.wait_for_everyone()
