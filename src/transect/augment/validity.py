"""Which kinds of augmentation are on, which of them the data allows, and what is misspelt."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from transect.errors import TransectError, unknown_name
from transect.recipe import Augment

__all__ = ["BORDERS", "DECLARED", "POLICIES", "allowed", "check_augment", "invalid_kinds"]

DECLARED = ("hflip", "vflip", "rot90", "rotate")
BORDERS = ("reflect", "edge", "zero")
POLICIES = ("none", "randaugment", "autoaugment")


def invalid_kinds(spec: Augment) -> tuple[str, ...]:
    """Name the kinds that are on but not declared physically possible; they are not applied.

    Args:
        spec: The augmentation.

    Returns:
        Names out of hflip, vflip, rot90, rotate.

    Example:
        >>> invalid_kinds(Augment(hflip=0.5, vflip=0.5, valid=("hflip",)))
        ('vflip',)
    """
    on = {
        "hflip": spec.hflip > 0,
        "vflip": spec.vflip > 0,
        "rot90": spec.rot90 > 0,
        "rotate": spec.rotate != 0 and spec.rotate_p > 0,
    }
    return tuple(kind for kind in DECLARED if on[kind] and kind not in spec.valid)


def check_augment(spec: Augment) -> None:
    """Check names and ranges, once, before training starts.

    Args:
        spec: The augmentation.

    Raises:
        TransectError: On an unknown border, policy or kind, a probability outside [0, 1], or a
            range that is empty or not positive.
    """
    if spec.border not in BORDERS:
        raise unknown_name("augment.border", spec.border, BORDERS)
    if spec.policy not in POLICIES:
        raise unknown_name("augment.policy", spec.policy, POLICIES)
    for kind in spec.valid:
        if kind not in DECLARED:
            raise unknown_name("an entry of augment.valid", kind, DECLARED)
    chances = ("hflip", "vflip", "rot90", "invert", "grey", "channel_shuffle")
    names = [n for n in vars(spec) if n.endswith("_p") or n in chances]
    for name in names:
        if not 0 <= getattr(spec, name) <= 1:
            raise TransectError(
                f"augment.{name} is a probability; got {getattr(spec, name)}. Give 0 to 1."
            )
    if not 0 < spec.scale[0] <= spec.scale[1]:
        raise TransectError(
            f"augment.scale must be a positive range; got {spec.scale}. Give (smallest, largest)."
        )
    bounds = {"crop": 0.5, "perspective": 0.5, "grid": 0.5, "aspect": 1.0, "cutout": 1.0}
    bounds["piecewise"] = 0.5
    for name, below in bounds.items():
        if not 0 <= getattr(spec, name) < below:
            raise TransectError(
                f"augment.{name} must be at least 0 and below {below}; got {getattr(spec, name)}."
            )
    if not 0 < spec.low_resolution <= 1:
        raise TransectError(
            f"augment.low_resolution must be above 0 and at most 1; got {spec.low_resolution}. "
            "1 switches it off."
        )


@lru_cache(maxsize=256)
def allowed(spec: Augment, early: bool) -> Augment:
    """The augmentation without what the data forbids; before the warm-up's end, only its flips.

    Args:
        spec: The augmentation; it is checked.
        early: Whether training has not yet reached ``spec.warmup``.

    Returns:
        The augmentation to apply.

    Raises:
        TransectError: As ``check_augment``.
    """
    check_augment(spec)
    off = dict.fromkeys(invalid_kinds(spec), 0.0)
    spec = replace(spec, **off)  # type: ignore[arg-type]
    if not early:
        return spec
    return Augment(hflip=spec.hflip, vflip=spec.vflip, border=spec.border, valid=spec.valid)
