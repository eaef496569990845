"""Networks as plain functions from arrays to probabilities: weighted means, precision, device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.errors import TransectError, unknown_name
from transect.predict.views import with_views

__all__ = [
    "ACTIVATIONS",
    "PRECISIONS",
    "both_forward",
    "cpu_has_bf16",
    "image_forward",
    "network_forward",
]

_log = logging.getLogger(__name__)


def _halves(logits: Tensor) -> Tensor:
    """Probabilities in the first half of the maps, densities of objects in the second."""
    first, second = logits.chunk(2, dim=1)
    return torch.cat([first.sigmoid(), second.relu()], dim=1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: logits.softmax(dim=1),
    "none": lambda logits: logits,
    "sigmoid_density": _halves,
}
"""From logits (N, T, H, W) to the values that are averaged."""

PRECISIONS = ("auto", "fp32", "bf16")

_MEAN_LIMIT, _MOST_LIMIT = 0.002, 0.02
"""Mean and 99.9 % quantile of the difference from float32 that bf16 may make; our guess: a tenth
of the step between the thresholds that are searched, and two of its steps."""


def network_forward(
    models: Sequence[tuple[nn.Module, float]],
    *,
    device: str = "cpu",
    activation: str = "sigmoid",
    precision: str = "auto",
    views: Sequence[str] = ("identity",),
    view_mean: str = "arithmetic",
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Make one function of several networks: the weighted mean of their probabilities.

    Args:
        models: Networks (snapshots, folds) that give ``{"logits": (N, T, H, W)}`` or the tensor
            itself, with their weights. They are moved to the device, in channels-last order, and
            put into evaluation mode.
        device: As torch names it.
        activation: A name of ``ACTIVATIONS``; applied before the mean.
        precision: ``fp32``; ``bf16``; or ``auto``: bf16 on a GPU, and on a CPU that computes in
            it, provided noise differs from float32 by less than .002 in the mean and .02 at the
            99.9 % quantile.
        views: Names of ``predict.views``, averaged by ``view_mean``.
        view_mean: arithmetic, geometric or power:ALPHA.

    Returns:
        From (N, h, w, C) float32 to (N, T, h, w) float32; not safe to call from several threads.

    Raises:
        TransectError: On an unknown name, or without any network.
    """
    means = _means_of(models, device, {"logits": activation})
    return _as_arrays(with_views(lambda x: means(x)["logits"], views, view_mean), device, precision)


def both_forward(
    models: Sequence[tuple[nn.Module, float]],
    *,
    device: str = "cpu",
    activation: str = "sigmoid",
    precision: str = "auto",
    views: Sequence[str] = ("identity",),
    view_mean: str = "arithmetic",
) -> Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """``network_forward`` and ``image_forward`` in one pass: networks give both at once.

    Args:
        models: As in ``network_forward``, with the head ``empty``.
        device: As there, with the following four.
        activation: As there.
        precision: As there.
        views: As there.
        view_mean: As there.

    Returns:
        From (N, h, w, C) float32 to maps (N, T, h, w) and probabilities (N,) of any object, as
        the identity sees the picture, or the first view where that is not among them.

    Raises:
        TransectError: On an unknown name, or networks without that head.
    """
    means = _means_of(models, device, {"logits": activation, "empty": "sigmoid"})
    own = views.index("identity") if "identity" in views else 0
    told: list[Tensor] = []

    def run(x: Tensor) -> Tensor:
        found = means(x)
        told.append(found["empty"])
        return found["logits"]

    maps = _as_arrays(with_views(run, views, view_mean), device, precision)

    def forward(batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        told.clear()
        found = maps(batch)
        filled = told[own - len(views)][:, 0].cpu().numpy()  # noise may have been asked before
        return found, filled

    return forward


def image_forward(
    models: Sequence[tuple[nn.Module, float]],
    *,
    device: str = "cpu",
    output: str = "empty",
    views: Sequence[str] = ("identity",),
    precision: str = "fp32",
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Make a function that asks an image-level head: is there any object in the picture?

    Args:
        models: Networks that give ``{output: (N, 1) logit}``, with their weights.
        device: As torch names it.
        output: The head; ``empty`` is the logit of a NON-empty picture.
        views: Averaged arithmetically.
        precision: As in ``network_forward``.

    Returns:
        From (N, h, w, C) float32 to (N,) float32 probabilities.

    Raises:
        TransectError: If a network has no such head.
    """
    means = _means_of(models, device, {output: "sigmoid"})

    def run(x: Tensor) -> Tensor:
        return means(x)[output].reshape(len(x), 1, 1, 1).expand(-1, 1, *x.shape[2:])

    maps = _as_arrays(with_views(run, views, "arithmetic"), device, precision)
    return lambda batch: maps(batch)[:, 0, 0, 0].copy()


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware; emulated bf16 is slower than float32."""
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in known)


def _means_of(
    models: Sequence[tuple[nn.Module, float]], device: str, heads: Mapping[str, str]
) -> Callable[[Tensor], dict[str, Tensor]]:
    """The weighted means of the networks' outputs, each by its activation."""
    for activation in heads.values():
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
    total = sum(weight for _, weight in models)
    if not models or total <= 0:
        raise TransectError("there is no network with a weight above zero. Train a fold first.")
    for model, _ in models:
        model.eval().to(device).to(memory_format=torch.channels_last)

    def run(x: Tensor) -> dict[str, Tensor]:
        means: dict[str, Tensor] = {}
        for model, weight in models:
            given = model(x)
            found = given if isinstance(given, dict) else {"logits": given}
            for head, activation in heads.items():
                if head not in found:
                    raise TransectError(
                        f"the network has no output '{head}', only {', '.join(found)}. "
                        "Train it with that head (Network.image_head)."
                    )
                # Probabilities are averaged in float32 whatever the network computed in.
                part = ACTIVATIONS[activation](found[head].float()) * (weight / total)
                means[head] = means[head] + part if head in means else part
        return means

    return run


def _as_arrays(
    run: Callable[[Tensor], Tensor], device: str, precision: str
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Wrap a function of tensors: arrays in and out, without gradients, in the right precision."""
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    kind = torch.device(device).type
    state = {"half": precision == "bf16" or (precision == "auto" and kind == "cuda")}
    undecided = precision == "auto" and kind == "cpu" and cpu_has_bf16()

    def call(x: Tensor, half: bool) -> Tensor:
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            return run(x)

    def forward(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal undecided
        with torch.inference_mode():
            # (N, h, w, C) in memory is channels-last already: nothing is copied here on a CPU.
            x = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).to(device)
            if undecided:
                # By noise, not by the first pictures: what a picture gets must not depend on
                # which ones were asked before it, or a run that was killed would end otherwise.
                undecided = False
                noise = torch.randn((2, *x.shape[1:]), generator=torch.Generator().manual_seed(0))
                noise = noise.contiguous(memory_format=torch.channels_last)
                state["half"] = _close(call(noise, False), call(noise, True))
            found = call(x, state["half"])
            result: NDArray[np.float32] = found.float().contiguous().cpu().numpy()
            return result

    return forward


def _close(exact: Tensor, rounded: Tensor) -> bool:
    """Whether probabilities computed in bf16 may stand for those computed in float32."""
    difference: NDArray[Any] = (exact.float() - rounded.float()).abs().flatten().numpy()
    mean, most = float(difference.mean()), float(np.quantile(difference, 0.999))
    close = mean <= _MEAN_LIMIT and most <= _MOST_LIMIT
    _log.info("bf16 differs by %.5f on average and %.4f at most: %s", mean, most, close)
    return close
