"""Optimisers by name, with one rate for the pretrained part and one for the rest; freezing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from transect.errors import TransectError, unknown_name
from transect.recipe import Optimizer

__all__ = ["OPTIMIZERS", "build_optimizer", "freeze", "hold_frozen_norms", "set_lr"]


def _adamw(groups: list[dict[str, Any]], spec: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, spec.lr, spec.betas, weight_decay=spec.weight_decay)


def _adam(groups: list[dict[str, Any]], spec: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, spec.lr, spec.betas, weight_decay=spec.weight_decay)


def _sgd(groups: list[dict[str, Any]], spec: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups,
        spec.lr,
        momentum=spec.momentum,
        nesterov=spec.nesterov and spec.momentum > 0,
        weight_decay=spec.weight_decay,
    )


def _rmsprop(groups: list[dict[str, Any]], spec: Optimizer) -> torch.optim.Optimizer:
    # Keras's memory of .9: torch's .99 makes the first steps of every restart ten times too long.
    return torch.optim.RMSprop(
        groups, spec.lr, alpha=0.9, momentum=spec.momentum, weight_decay=spec.weight_decay
    )


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Optimizer], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adam": _adam,
    "sgd": _sgd,
    "rmsprop": _rmsprop,
}


def build_optimizer(model: nn.Module, spec: Optimizer) -> torch.optim.Optimizer:
    """Make the optimiser of a stage over the parameters that are not frozen.

    Args:
        model: With ``encoder_parameters()`` if ``spec.encoder_lr`` is not 1.
        spec: Name and numbers.

    Returns:
        The optimiser; every group carries its factor on the rate as ``"scale"``.

    Raises:
        TransectError: On an unknown name, a model without an encoder part where one is needed,
            or nothing left to train.
    """
    if spec.name not in OPTIMIZERS:
        raise unknown_name("optimizer.name", spec.name, OPTIMIZERS)
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise TransectError(
            "no parameter of the model is left to train. Set the stage's freeze to none."
        )
    if spec.encoder_lr == 1.0:
        groups = [{"params": trainable, "scale": 1.0}]
    else:
        encoder = {id(p) for p in _part(model, "encoder", "optimizer.encoder_lr")}
        inner = [p for p in trainable if id(p) in encoder]
        outer = [p for p in trainable if id(p) not in encoder]
        groups = [{"params": inner, "scale": spec.encoder_lr}, {"params": outer, "scale": 1.0}]
    return OPTIMIZERS[spec.name]([group for group in groups if group["params"]], spec)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of every group to ``lr`` times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("scale", 1.0)


def freeze(model: nn.Module, what: str) -> None:
    """Freeze a part of the model and release all others.

    Args:
        model: With ``encoder_parameters()`` or ``head_parameters()`` as needed.
        what: none, encoder or all_but_head.

    Raises:
        TransectError: On another word, or a model without that part.
    """
    if what not in {"none", "encoder", "all_but_head"}:
        raise unknown_name("freeze", what, ["none", "encoder", "all_but_head"])
    for parameter in model.parameters():
        parameter.requires_grad_(what != "all_but_head")
    if what == "encoder":
        for parameter in _part(model, "encoder", "freeze=encoder"):
            parameter.requires_grad_(False)
    if what == "all_but_head":
        for parameter in _part(model, "head", "freeze=all_but_head"):
            parameter.requires_grad_(True)


def hold_frozen_norms(model: nn.Module) -> None:
    """Put batch norms whose weights are frozen into evaluation mode, so that they stay as they are.

    To be called after ``model.train()``.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            own = list(module.parameters(recurse=False))
            if own and not any(p.requires_grad for p in own):
                module.eval()


def _part(model: nn.Module, name: str, wanted_by: str) -> list[nn.Parameter]:
    """The parameters of the encoder or the head."""
    method = getattr(model, f"{name}_parameters", None)
    if method is None:
        raise TransectError(
            f"{wanted_by} needs a model with {name}_parameters(); {type(model).__name__} has none. "
            "Leave that setting at its default, or add the method to your model."
        )
    return list(cast("Callable[[], list[nn.Parameter]]", method)())
