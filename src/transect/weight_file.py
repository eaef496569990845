"""Tensors from files of strangers: the one place that opens what may be a pickle, as data only."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from transect.errors import TransectError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_weights"]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name from a file, executing nothing of it.

    Args:
        path: A ``.safetensors`` file, or a ``.pth`` / ``.pt`` file that holds only tensors (a
            ``state_dict``, possibly under the key ``state_dict`` or ``model``).

    Returns:
        Name to tensor, on the CPU.

    Raises:
        TransectError: If the file is missing, is broken, or holds anything but tensors.
    """
    import torch

    if not path.is_file():
        raise TransectError(f"weights file {path} does not exist. Check the path in 'weights'.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(str(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise TransectError(
                f"{path} is not a readable safetensors file: {error}. Download it again."
            ) from error
    if path.suffix not in {".pth", ".pt"}:
        raise TransectError(
            f"weights must be a .safetensors file; got {path.name}. Pickled formats can run "
            "code when they are opened: convert it with safetensors.torch.save_file first."
        )
    try:
        # The one place of this library that opens such a file.
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise TransectError(
            f"{path} holds more than tensors, or is damaged; it is not opened, because a pickle "
            "can run code. Convert it with safetensors.torch.save_file."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    tensors = {str(k): v for k, v in dict(loaded).items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise TransectError(f"{path} holds no named tensors. Save a model's state_dict instead.")
    return tensors
