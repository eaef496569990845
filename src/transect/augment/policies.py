"""Fixed policies: a few kinds drawn per picture, with strengths from small tables of ours.

Unlike the published ones they run through the same single warp and single table as everything
else; a policy only decides which fields of ``Augment`` are on for one picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from transect.augment.draws import Draws
from transect.recipe import Augment

__all__ = ["with_policy"]

# What each kind changes at level 1; a level scales it. Strengths are our guess, in the range of
# RandAugment's ten-step scale (Cubuk 2019) at its upper end.
_STRENGTH: dict[str, dict[str, float]] = {
    "rotate": {"rotate": 30.0},
    "shear": {"shear": 0.3},
    "shift": {"shift": 0.3},
    "zoom": {"zoom": 0.4},
    "brightness": {"brightness": 0.4},
    "contrast": {"contrast": 0.8},
    "gamma": {"gamma": 1.0},
    "saturation": {"saturation": 0.9},
    "hue": {"hue": 0.1},
    "channel_shift": {"channel_shift": 0.2},
    "blur": {"blur": 2.0},
    "noise": {"noise": 0.1},
    "low_resolution": {"lost": 0.7},
    "equalise": {},
    "cutout": {"cutout": 0.4},
}
_OPERATIONS, _LEVEL = 2, 0.6  # RandAugment's N and M; M is 9 of 15 as often used

# Pairs of (kind, probability, level), in the spirit of the ImageNet policy of AutoAugment
# (Cubuk 2018); the table is ours.
_AUTO: tuple[tuple[tuple[str, float, float], tuple[str, float, float]], ...] = (
    (("rotate", 0.8, 0.7), ("equalise", 0.4, 1.0)),
    (("shear", 0.7, 0.6), ("contrast", 0.5, 0.7)),
    (("shift", 0.7, 0.5), ("gamma", 0.6, 0.6)),
    (("zoom", 0.8, 0.8), ("saturation", 0.5, 0.8)),
    (("brightness", 0.6, 0.7), ("contrast", 0.6, 0.7)),
    (("hue", 0.5, 0.6), ("noise", 0.4, 0.5)),
    (("equalise", 0.6, 1.0), ("rotate", 0.5, 0.4)),
    (("blur", 0.4, 0.5), ("low_resolution", 0.4, 0.6)),
    (("cutout", 0.7, 0.7), ("shift", 0.4, 0.4)),
    (("gamma", 0.6, 0.9), ("channel_shift", 0.5, 0.7)),
)


def with_policy(spec: Augment, draws: Draws) -> Augment:
    """Replace everything but flips and quarter turns by what the policy draws.

    Args:
        spec: The augmentation, with only what may be applied; ``policy`` names the policy.
        draws: Random numbers.

    Returns:
        The augmentation of one picture; ``spec`` itself if its policy is ``none``.
    """
    if spec.policy == "none":
        return spec
    kinds = [kind for kind in _STRENGTH if kind != "rotate" or "rotate" in spec.valid]
    if spec.policy == "randaugment":
        chosen = [(kinds[int(draws.unit() * len(kinds))], _LEVEL) for _ in range(_OPERATIONS)]
    else:
        pair = _AUTO[int(draws.unit() * len(_AUTO))]
        chosen = [(k, level) for k, p, level in pair if draws.chance(p) and k in kinds]
    fields: dict[str, Any] = {}
    for kind, level in chosen:
        fields |= _fields(kind, level)
    base = Augment(
        hflip=spec.hflip,
        vflip=spec.vflip,
        rot90=spec.rot90,
        border=spec.border,
        cutout_keep=spec.cutout_keep,
        valid=spec.valid,
    )
    return replace(base, colour_p=1.0, **fields)


def _fields(kind: str, level: float) -> dict[str, Any]:
    """The fields of ``Augment`` that switch one kind on at a level in [0, 1]."""
    amounts = {name: level * amount for name, amount in _STRENGTH[kind].items()}
    if kind == "zoom":
        return {"scale": (1 - amounts["zoom"], 1 + amounts["zoom"])}
    if kind == "low_resolution":
        return {"low_resolution": 1 - amounts["lost"], "low_resolution_p": 1.0}
    if kind == "equalise":
        return {"clahe_p": 1.0}
    if kind in ("blur", "noise", "cutout"):
        return {**amounts, f"{kind}_p": 1.0}
    return amounts
