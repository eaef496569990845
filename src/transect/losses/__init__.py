"""Losses, all called ``loss(logits, target, *, valid=None)``, and sums of them written as text."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from transect.losses.density import density_sum, optimal_transport
from transect.losses.expression import CombinedLoss, ScheduledLoss, parse, scheduled
from transect.losses.lovasz import (
    lovasz,
    lovasz_elu,
    lovasz_elu_raw,
    lovasz_skip_empty,
    lovasz_softmax,
    lovasz_symmetric,
)
from transect.losses.overlap import dice, dice_positive, jaccard, log_dice, tversky
from transect.losses.pixelwise import (
    balanced_bce,
    bce,
    ce,
    ce_balanced,
    focal,
    l1,
    mse,
    multilabel_soft_margin,
    smooth_l1,
)
from transect.losses.ranking import kappa, lsep, multilabel_margin
from transect.losses.shape import active_contour, boundary

__all__ = ["COMBINATIONS", "LOSSES", "CombinedLoss", "ScheduledLoss", "parse_loss", "scheduled"]

LOSSES: dict[str, Callable[..., Tensor]] = {
    loss.__name__: loss
    for loss in (
        active_contour,
        balanced_bce,
        bce,
        boundary,
        ce,
        ce_balanced,
        density_sum,
        dice,
        dice_positive,
        focal,
        jaccard,
        kappa,
        l1,
        log_dice,
        lovasz,
        lovasz_elu,
        lovasz_elu_raw,
        lovasz_skip_empty,
        lovasz_softmax,
        lovasz_symmetric,
        lsep,
        mse,
        multilabel_margin,
        multilabel_soft_margin,
        optimal_transport,
        smooth_l1,
        tversky,
    )
}

COMBINATIONS: dict[str, str] = {
    "bce_dice": "bce + dice",
    "salt_1st": "0.5 * bce + 0.5 * dice",  # bes, stage 1
    "salt_2nd": "focal(gamma=2) + lovasz_elu",
    "salt_4th": "0.9 * bce + 0.5 * dice",  # its first ten epochs
    "salt_11th": "bce + 0.5 * lovasz",
    "salt_14th": "0.25 * bce + 0.75 * lovasz_elu",
    "salt_15th": "ce + lovasz_softmax",
    "salt_28th": "0.1 * bce + 0.9 * lovasz_elu_raw",
    "one_plus_bce_minus_dice": "bce + dice",  # the winners' "Dice" there is the coefficient
    "bce_log_dice": "bce + log_dice",  # BCE - log(Dice coefficient)
    "bce_dice_focal": "bce + dice + focal(gamma=2)",
    "bce_dice_positive": "bce + dice_positive",
    # The digest's "2.7 BCE + 0.9 Dice + 0.1 empty BCE": the last term is 0.1 * bce on ``empty``.
    "weighted_bce_dice": "2.7 * bce + 0.9 * dice",
    "mask_and_class": "1024 * bce",  # beside 1 * bce on the ``empty`` output
    "focal_lovasz": "focal(gamma=2) + lovasz_elu",
    "focal_kappa": "focal(gamma=2) + kappa",
    "bce_jaccard": "bce + jaccard(smooth=10)",  # salt 107th place
}


def parse_loss(text: str) -> CombinedLoss:
    """Read a sum of losses, e.g. ``"0.1 * bce + 0.9 * focal(gamma=2)"``; nothing is executed.

    Args:
        text: Names of ``LOSSES`` with weights and parameters, or a name of ``COMBINATIONS``.

    Returns:
        A loss of the usual signature.

    Raises:
        TransectError: On an unknown name or parameter; the nearest one is suggested.

    Example:
        >>> [(term.weight, term.name) for term in parse_loss("0.1 * bce + 0.9 * lovasz").terms]
        [(0.1, 'bce'), (0.9, 'lovasz')]
    """
    return parse(text, LOSSES, COMBINATIONS)
