"""New pictures beside a survey: copies of what is there, and how they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transect.audit.duplicates import find_duplicates
from transect.audit.findings import Finding
from transect.audit.fingerprints import Prints, chosen, take_prints
from transect.audit.quality import problem_findings
from transect.audit.shift import Shift, adversarial_validation
from transect.data.folder import list_new
from transect.types import Image

__all__ = ["compare_new"]

_SHIFTED = 0.7  # AUROC above which new pictures are called different; our guess


def compare_new(
    prints: Prints,
    new: Path,
    images: Sequence[Image],
    threads: int | None,
    seed: int,
    progress: Callable[[int, int], None],
) -> tuple[list[Finding], dict[str, float], dict[str, Any]]:
    """Compare new pictures with a survey's.

    Args:
        prints: Of the survey.
        new: Folder of the new pictures.
        images: Of the survey; those of its split ``test`` are left out of the shift.
        threads: How many decode; None is one per core.
        seed: Of the classifier.
        progress: Called with (done, all).

    Returns:
        Findings; a weight for each of the survey's pictures by name; facts of the shift.
    """
    others, problems = list_new(new)
    fresh = take_prints(others, threads=threads, progress=progress)
    found = problem_findings((*problems, *fresh.problems))
    both = _together(prints, fresh)
    pairs = find_duplicates(both).pairs
    across = pairs[(pairs[:, 0] < len(prints)) & (pairs[:, 1] >= len(prints))]
    if len(across):
        names = tuple(dict.fromkeys(prints.names[a] for a in across[:, 0].tolist()))
        found.append(
            Finding(
                "leak",
                "fault",
                names,
                f"{len(names)} pictures stand in {new} as well (first: {names[0]}).",
                "A score on them says nothing: remove them from one of the two.",
            )
        )
    usable = {image.name for image in images if image.split != "test"}
    own = chosen(prints, np.array([i for i, n in enumerate(prints.names) if n in usable], np.int64))
    shift = adversarial_validation(own, fresh, seed=seed)
    found += _shift_findings(shift, len(fresh))
    weights = dict(zip(own.names, shift.weights.tolist(), strict=True))
    record = {
        "auroc": round(shift.auroc, 4),
        "interval": [round(v, 4) for v in shift.interval],
        "reasons": [list(r) for r in shift.reasons[:8]],
        "scale": round(shift.scale, 4),
        "scale_interval": [round(v, 4) for v in shift.scale_interval],
        "effective_share": round(shift.effective, 4),
        "new_images": len(fresh),
    }
    return found, weights, record


def _shift_findings(shift: Shift, count: int) -> list[Finding]:
    """A warning where new pictures are of another sort, and where their scale differs."""
    found = []
    if shift.interval[0] > _SHIFTED:
        why = "; ".join(f"{n} {a:.3g} -> {b:.3g}" for n, _, a, b in shift.reasons[:3])
        found.append(
            Finding(
                "shift",
                "warning",
                (),
                f"the {count} new pictures are told apart from the survey's with AUROC "
                f"{shift.auroc:.2f}, by {why}.",
                "Do not trust scores from the survey alone: annotate some of the new pictures, or "
                f"train with the importance weights ({100 * shift.effective:.0f} % of the survey "
                "is left in effect).",
            )
        )
    low, high = shift.scale_interval
    if low > 1.15 or high < 1 / 1.15:
        found.append(
            Finding(
                "scale",
                "warning",
                (),
                f"things appear {shift.scale:.2f} times as large in the new pictures "
                f"(95 % interval {low:.2f} to {high:.2f}).",
                f"Resize the new pictures by {1 / shift.scale:.2f}, or train with scale "
                "augmentation that covers it.",
            )
        )
    return found


def _together(a: Prints, b: Prints) -> Prints:
    """Prints of two sets in a row."""
    names = ("md5", "hashes", "flat", "grey", "colour", "features", "size_hw", "channels")
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(a, name), getattr(b, name)])
        for name in (*names, "edges", "edge_length")
    }
    return Prints(
        names=(*a.names, *b.names),
        keypoints=(*a.keypoints, *b.keypoints),
        descriptors=(*a.descriptors, *b.descriptors),
        **parts,
    )
