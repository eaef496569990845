"""Images of which something is missing: asked about, kept from training, never taken for empty."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from transect.errors import TransectError
from transect.types import Problem, Survey

__all__ = ["kept_apart", "missing_ones", "unsure_images"]


def unsure_images(problems: Iterable[Problem]) -> frozenset[str]:
    """Images of which something may be missing because of what was left out."""
    return frozenset(name for problem in problems for name in problem.unsure)


def kept_apart(survey: Survey, names: Collection[str]) -> Survey:
    """Keep images from training: they get the split ``test``."""
    if not names:
        return survey
    images = (replace(i, split="test") if i.name in names else i for i in survey.images)
    return replace(survey, images=tuple(images))


def missing_ones(
    survey: Survey, without: Sequence[str], missing: str | None, what: str, where: str
) -> Survey:
    """Refuse training images without annotation, or keep them from training, as asked.

    Args:
        survey: Any survey.
        without: Training images without annotation.
        missing: empty, unlabelled, or None to refuse.
        what: What they lack, e.g. mask.
        where: Where it would stand, e.g. masks/.

    Raises:
        TransectError: If there are some and nobody said what that means.
    """
    if not without or missing == "empty":
        return survey
    if missing is None:
        hint = (
            'pass missing="unlabelled" to keep them from training'
            if what in ("identity", "label")
            else 'pass missing="empty" if that means there is nothing on them, or '
            'missing="unlabelled" to keep them from training'
        )
        raise TransectError(
            f"{len(without)} of {len(survey.training())} images have no {what} (first: "
            f"{without[0]}). Add them to {where}, or {hint}."
        )
    return kept_apart(survey, set(without))
