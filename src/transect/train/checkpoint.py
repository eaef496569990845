"""The state of a run as one safetensors file, and the thread that writes it beside training."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from transect.errors import TransectError
from transect.files import atomic_path

__all__ = [
    "State",
    "Writer",
    "load_weights",
    "optimizer_tensors",
    "read_state",
    "restore_optimizer",
    "save_tensors",
    "tensors_of",
    "under",
    "write_state",
]

_KEY = "json"


@dataclass(frozen=True)
class State:
    """A moment of training from which it can go on.

    Attributes:
        tensors: Names begin with what they belong to: ``model/``, ``optim/``, ``ema/``, ...
        scalars: JSON values.
    """

    tensors: dict[str, Tensor]
    scalars: dict[str, Any]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], scalars: Any = None) -> None:
    """Write a safetensors file, whole or not at all; equal content gives equal bytes.

    Raises:
        TransectError: If the disk is full or the folder cannot be written.
    """
    # In the order given: a resumed history is then written as an undisturbed one is.
    metadata = None if scalars is None else {_KEY: json.dumps(scalars)}
    with atomic_path(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata)
        except SafetensorError as error:  # it wraps the errors of the system in text
            if "code: 28" in str(error) or "No space" in str(error):
                raise OSError(ENOSPC, "no space left", str(path)) from error
            raise


def write_state(path: Path, state: State) -> None:
    """Write a state, whole or not at all, with a sum over its scalars."""
    text = json.dumps(state.scalars, sort_keys=True)
    save_tensors(path, state.tensors, {"scalars": state.scalars, "sum": _sum(text)})


def read_state(path: Path) -> State:
    """Read what ``write_state`` wrote. No code is run.

    Raises:
        TransectError: If the file is not such a state.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        scalars = record["scalars"]
        if record["sum"] != _sum(json.dumps(scalars, sort_keys=True)):
            raise KeyError("sum")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TransectError(
            f"{path} is not a state that training can go on from ({error}). Remove the folder "
            f"{path.parent} to train this part again."
        ) from error
    return State(tensors, scalars)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a snapshot into a model.

    Raises:
        TransectError: If the file is missing, damaged, or of another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TransectError(
            f"{path} does not hold weights of this model: {reason} Was the recipe changed after "
            "training?"
        ) from error


def tensors_of(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Copies on the CPU, each with memory of its own, named ``prefix + name``."""
    return {
        prefix + name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in state.items()
    }


def under(state: State, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.tensors.items()
        if name.startswith(prefix)
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and counters of an optimiser, named ``number of the parameter/key``."""
    tensors = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{number}/{key}"] = value
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` gave, in the parameters' own memory layout.

    The layout matters for repeatability: another one may take another kernel.
    """
    optimizer.state.clear()
    parameters = _parameters(optimizer)
    for name, tensor in tensors.items():
        number, key = name.split("/", 1)
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape and tensor.ndim > 0:
            value = torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False)
            value.copy_(tensor)
        else:
            value = tensor.clone()
        optimizer.state[parameter][key] = value


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Writer:
    """Writes files in the order given, in one thread beside training.

    A state is written at most every ``every`` seconds, because a later one makes it
    superfluous; ``drain`` writes the one that waits. An error of the thread is raised at the
    next call.
    """

    def __init__(self, *, every: float) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="transect-writer")
        self._jobs: list[Future[None]] = []
        self._every = every
        self._waiting: Callable[[], None] | None = None
        self._written = time.monotonic()

    def submit(self, job: Callable[[], None]) -> None:
        """Write something that must be on disk before any later state."""
        self._raise(keep=4)
        self._jobs.append(self._pool.submit(job))

    def submit_state(self, job: Callable[[], None]) -> None:
        """Write a state now if the last one is old enough, else hold it."""
        self._waiting = job
        if time.monotonic() - self._written >= self._every:
            self._flush()

    def drain(self) -> None:
        """Wait until everything is on disk."""
        self._flush()
        self._raise(keep=0)

    def close(self) -> None:
        """End the thread; what waits is written first."""
        try:
            self.drain()
        finally:
            self._pool.shutdown(wait=True)

    def _flush(self) -> None:
        if self._waiting is not None:
            job, self._waiting = self._waiting, None
            self._written = time.monotonic()
            self.submit(job)

    def _raise(self, keep: int) -> None:
        """Wait until no more than ``keep`` jobs are left, and raise their errors."""
        while len(self._jobs) > keep or (self._jobs and self._jobs[0].done()):
            self._jobs.pop(0).result()
