"""Test-time views: a batch turned, mirrored or resampled; maps are brought back and averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from transect.errors import TransectError, unknown_name

__all__ = ["VIEWS", "View", "view", "view_mean", "with_views"]

_EPSILON = 1e-7  # least value of a geometric or negative power mean; float32 resolves 6e-8


@dataclass(frozen=True)
class View:
    """One way to look at a batch.

    Attributes:
        name: As recipes call it.
        apply: From (N, C, H, W) to the view, which may have other sides.
        invert: From the view's maps (N, T, h, w) and the original (H, W) back to (N, T, H, W).
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    invert: Callable[[Tensor, tuple[int, int]], Tensor]


def _exact(name: str, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> View:
    """A view that only moves pixels."""
    return View(name, there, lambda maps, _: back(maps))


def _mirror(name: str, *axes: int) -> View:
    return _exact(name, lambda x: x.flip(axes), lambda x: x.flip(axes))


def _turn(name: str, quarters: int) -> View:
    return _exact(name, lambda x: x.rot90(quarters, (2, 3)), lambda x: x.rot90(-quarters, (2, 3)))


VIEWS: Mapping[str, View] = MappingProxyType(
    {
        one.name: one
        for one in (
            _exact("identity", lambda x: x, lambda x: x),
            _mirror("hflip", 3),
            _mirror("vflip", 2),
            _mirror("hvflip", 2, 3),
            _turn("rot90", 1),
            _turn("rot180", 2),
            _turn("rot270", 3),
            _exact("transpose", lambda x: x.transpose(2, 3), lambda x: x.transpose(2, 3)),
        )
    }
)
"""The views that move pixels exactly; ``view`` also knows ``scale:FACTOR``."""


def view(name: str) -> View:
    """Look a view up.

    Args:
        name: A key of ``VIEWS``, or ``scale:0.8``: the batch resampled by that factor.

    Raises:
        TransectError: If there is no such view.

    Example:
        >>> view("rot90").invert(view("rot90").apply(torch.eye(3)[None, None]), (3, 3))[0, 0, 0]
        tensor([1., 0., 0.])
    """
    if name in VIEWS:
        return VIEWS[name]
    kind, _, factor = name.partition(":")
    if kind != "scale":
        raise unknown_name("view", name, [*VIEWS, "scale:0.8"])
    scale = _number(factor, f"the factor of view '{name}'", "scale:0.8")
    if not 0.1 <= scale <= 10:
        raise TransectError(f"the factor of view '{name}' must be in [0.1, 10]. 0.8 is usual.")

    def apply(x: Tensor) -> Tensor:
        size = [max(1, round(side * scale)) for side in x.shape[2:]]
        return _resized(x, (size[0], size[1]))

    return View(name, apply, _resized)


def with_views(
    forward: Callable[[Tensor], Tensor], names: Sequence[str], mean: str = "arithmetic"
) -> Callable[[Tensor], Tensor]:
    """Make a function that runs ``forward`` on every view of a batch and averages the maps.

    Args:
        forward: From (N, C, H, W) to maps (N, T, H, W); probabilities, for any mean but the
            arithmetic one. It must take any H and W.
        names: Views.
        mean: As in ``view_mean``.

    Returns:
        A function of the same kind.

    Raises:
        TransectError: On an unknown view or mean, or without views.
    """
    if not names:
        raise TransectError("views must name at least one view. Use identity.")
    views = [view(name) for name in names]
    if len(views) == 1 and views[0].name == "identity":
        return forward
    into, out_of = view_mean(mean)

    def run(x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        total: Tensor | None = None
        for one in views:  # one at a time, so that memory does not grow with their number
            seen = one.apply(x).contiguous(memory_format=torch.channels_last)
            part = into(one.invert(forward(seen), size))
            total = part if total is None else total + part
        assert total is not None
        return out_of(total / len(views))

    return run


def view_mean(mean: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The two halves of a mean: what is summed, and what undoes it.

    Args:
        mean: ``arithmetic``; ``geometric``; or ``power:ALPHA``, the ALPHA-th root of the mean of
            ALPHA-th powers (1 is arithmetic, 2 favours confident views, -1 is harmonic).

    Raises:
        TransectError: If it is none of these.
    """
    if mean == "arithmetic":
        return (lambda p: p), (lambda p: p)
    if mean == "geometric":
        return (lambda p: p.clamp_min(_EPSILON).log()), torch.exp
    kind, _, alpha = mean.partition(":")
    if kind != "power":
        raise unknown_name("view_mean", mean, ["arithmetic", "geometric", "power:0.5"])
    power = _number(alpha, f"the exponent of '{mean}'", "power:0.5")
    if power == 0 or not abs(power) <= 100:  # refuses nan, too
        raise TransectError(
            f"the exponent of '{mean}' must be within -100..100 and not 0. "
            "The limit at 0 is called geometric."
        )
    least = _EPSILON if power < 0 else 0.0
    return (lambda p: p.clamp_min(least) ** power), (lambda p: p ** (1 / power))


def _resized(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Bilinear, with the area taken into account when shrinking."""
    if tuple(x.shape[2:]) == size_hw:
        return x
    return functional.interpolate(
        x, size=size_hw, mode="bilinear", align_corners=False, antialias=True
    )


def _number(text: str, what: str, example: str) -> float:
    """Parse a number out of a name."""
    try:
        return float(text)
    except ValueError as error:
        raise TransectError(f"{what} must be a number; got '{text}'. Write {example}.") from error
