"""What is wrong with masks: empty, tiny, scattered, or shifted against their pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.audit.findings import Finding
from transect.data.folder import in_threads
from transect.data.images import read_image
from transect.data.labels import mask_labels
from transect.errors import TransectError
from transect.types import Image, Survey

__all__ = ["RARE_EMPTY", "mask_findings", "mask_shift", "shift_surface"]

SHIFT_PX = 12
"""Largest shift of masks that is looked for."""
_SHIFT_SAMPLE = 150
_LARGEST_PX = 1024
RARE_EMPTY = 0.05
"""Where so few pictures are empty or less, an empty one may have been forgotten; our guess."""


def mask_findings(
    survey: Survey, *, progress: Callable[[int, int], None] | None = None
) -> list[Finding]:
    """Find masks that are empty, tiny, scattered or shifted.

    Args:
        survey: With masks.
        progress: Called with (done, all) while they are read.

    Returns:
        Findings; empty for clean masks.
    """
    images = [i for i in survey.images if i.name in survey.masks]
    step = max(1, len(images) // _SHIFT_SAMPLE)
    sampled = {image.name for image in images[::step]}

    def look(image: Image) -> dict[str, Any] | None:
        try:
            labels = mask_labels(survey, image)
            facts = _mask_facts(labels, survey.mask_kind == "instances")
            fits = image.size_hw[0] * image.size_hw[1] <= _LARGEST_PX**2 * 16
            small = len(images) <= 2000 or image.name in sampled
            if small and fits and facts["pixels"] >= 30:
                facts["surface"] = shift_surface(_grey(image), labels)
            return facts
        except TransectError:
            return None  # told already, when the survey was opened or the picture decoded

    seen = in_threads(look, images, progress)
    rows = [(i, f) for i, f in zip(images, seen, strict=True) if f is not None]
    found = _empty_masks(rows, survey) + _tiny(rows) + _scattered(rows)
    return found + mask_shift({i.name: f["surface"] for i, f in rows if "surface" in f})


def _mask_facts(labels: NDArray[np.int32], instances: bool) -> dict[str, Any]:
    """Sizes of the objects, and instances that lie in several pieces."""
    front = (labels > 0).astype(np.uint8)
    pixels = int(front.sum())
    if not pixels:
        return {"pixels": 0, "areas": np.zeros(0, np.int64), "scattered": 0}
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(front, connectivity=8)
    if not instances:
        high, wide = labels.shape
        left, top, right, bottom = (stats[1:, i] for i in range(4))
        whole = (left > 0) & (top > 0) & (left + right < wide) & (top + bottom < high)
        return {"pixels": pixels, "areas": stats[1:, cv2.CC_STAT_AREA][whole], "scattered": 0}
    areas = np.bincount(labels[labels > 0])
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    areas[cut[cut > 0]] = 0  # what the border cuts may be small
    # One number in two far places is two objects under one name.
    pairs = np.unique(labels[front > 0].astype(np.int64) * count + pieces[front > 0])
    owners, parts = np.unique(pairs // count, return_counts=True)
    scattered = 0
    for owner in owners[parts > 1]:
        sizes = np.bincount(pieces[labels == owner])
        sizes = np.sort(sizes[sizes > 0])
        scattered += int(sizes[-2] > 0.25 * sizes[-1] and sizes[-2] > 20)
    return {"pixels": pixels, "areas": areas[areas > 0], "scattered": scattered}


def _empty_masks(rows: Sequence[tuple[Image, Mapping[str, Any]]], survey: Survey) -> list[Finding]:
    """Empty masks where hardly any is empty; where many are, that is how the survey is."""
    names = tuple(i.name for i, f in rows if f["pixels"] == 0 and i.split != "test")
    if not names or len(names) > max(RARE_EMPTY * len(rows), 1):
        return []
    return [
        Finding(
            "empty",
            "warning",
            names,
            f"{len(names)} of {len(rows)} masks are empty, where nearly all others have objects.",
            "Look whether there is truly nothing on these pictures.",
        )
    ]


def _tiny(rows: Sequence[tuple[Image, Mapping[str, Any]]]) -> list[Finding]:
    """Objects of a few pixels, where objects are much larger."""
    areas = [f["areas"] for _, f in rows if len(f["areas"])]
    if not areas:
        return []
    median = float(np.median(np.concatenate(areas)))
    limit = min(4.0, 0.02 * median)
    if limit < 1:
        return []
    hit = [(i.name, int((f["areas"] <= limit).sum())) for i, f in rows]
    names = tuple(name for name, times in hit if times)
    total = sum(times for _, times in hit)
    if not names:
        return []
    return [
        Finding(
            "tiny",
            "warning",
            names,
            f"{total} objects in {len(names)} masks have at most {limit:.0f} pixels; the median "
            f"object has {median:.0f}.",
            "They are mostly slips of the brush: remove them, or let training ignore them.",
        )
    ]


def _scattered(rows: Sequence[tuple[Image, Mapping[str, Any]]]) -> list[Finding]:
    """Instances in several large pieces."""
    names = tuple(i.name for i, f in rows if f["scattered"])
    if not names or len(names) > 0.2 * len(rows) + 1:
        return []
    return [
        Finding(
            "scattered",
            "warning",
            names,
            f"{sum(f['scattered'] for _, f in rows)} objects in {len(names)} masks lie in several "
            "large pieces: probably two objects under one number.",
            "Give each its own number.",
        )
    ]


def shift_surface(grey: NDArray[np.uint8], labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """How well mask edges fit image edges at every shift of the mask.

    Args:
        grey: (H, W) uint8.
        labels: (H, W), 0 is background.

    Returns:
        (25, 25): standardised over the shifts; the middle is no shift. The value at (r, c) is for
        the mask moved by r - 12 rows and c - 12 columns.
    """
    side = 2 * SHIFT_PX + 1
    gx = cv2.Sobel(grey, cv2.CV_32F, 1, 0)
    gy = cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = np.sqrt(gx * gx + gy * gy)
    strength = np.minimum(strength, np.percentile(strength, 98))  # a few glints must not decide
    edge = np.zeros(labels.shape, np.float32)
    edge[:, 1:] = np.maximum(edge[:, 1:], labels[:, 1:] != labels[:, :-1])
    edge[1:] = np.maximum(edge[1:], labels[1:] != labels[:-1])
    inner = edge[SHIFT_PX:-SHIFT_PX, SHIFT_PX:-SHIFT_PX]
    if min(inner.shape, default=0) < 8 or inner.sum() < 20:
        return np.zeros((side, side), np.float32)
    inner = inner - inner.mean()
    # matchTemplate slides the mask's edges over the image's: the place of the peak is the shift.
    surface = cv2.matchTemplate(strength.astype(np.float32), inner.astype(np.float32), cv2.TM_CCORR)
    spread = float(surface.std())
    if spread < 1e-6:
        return np.zeros((side, side), np.float32)
    return np.asarray((surface - surface.mean()) / spread, np.float32)


def mask_shift(surfaces: Mapping[str, NDArray[np.float32]]) -> list[Finding]:
    """Findings from the surfaces: the whole survey shifted, or single masks.

    Args:
        surfaces: Image to ``shift_surface``.

    Returns:
        One finding for the survey, or one for the single images; nothing where edges of masks
        follow no edges of images (then a shift cannot be told).
    """
    usable = {n: s for n, s in surfaces.items() if np.abs(s).max(initial=0) > 0}
    if len(usable) < 5:
        return []
    stack = np.stack(list(usable.values()))
    mean = np.median(stack, axis=0)
    row, column = np.unravel_index(int(mean.argmax()), mean.shape)
    dy, dx = int(row) - SHIFT_PX, int(column) - SHIFT_PX
    peak, zero = float(mean.max()), float(mean[SHIFT_PX, SHIFT_PX])
    sure = peak >= 2.5
    if sure and max(abs(dy), abs(dx)) >= 2 and zero < 0.7 * peak:
        return [
            Finding(
                "shifted-masks",
                "fault",
                tuple(usable),
                f"the masks lie {abs(dy)} pixels too {'high' if dy > 0 else 'low'} and {abs(dx)} "
                f"too far {'left' if dx > 0 else 'right'} against the images (median of "
                f"{len(usable)}).",
                f"Move them by {dy} rows and {dx} columns, or export them again.",
            )
        ]
    if not sure or max(abs(dy), abs(dx)) > 1:
        return []
    names = []
    for name, surface in usable.items():
        y, x = np.unravel_index(int(surface.argmax()), surface.shape)
        far = max(abs(int(y) - SHIFT_PX), abs(int(x) - SHIFT_PX))
        here = float(surface[SHIFT_PX - 1 : SHIFT_PX + 2, SHIFT_PX - 1 : SHIFT_PX + 2].max())
        # The peak must stand alone and be as high as the survey's typical one.
        ring = surface.copy()
        ring[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = -9
        alone = float(surface.max()) - float(ring.max())
        stands = surface.max() >= max(0.8 * peak, 3.0) and alone > 1.0
        if far >= 3 and stands and here < 0.4 * surface.max():
            names.append(name)
    if not names or len(names) > 0.2 * len(usable) + 1:
        return []
    return [
        Finding(
            "shifted-masks",
            "fault",
            tuple(names),
            f"{len(names)} masks lie beside their objects, while those of the other "
            f"{len(usable) - len(names)} fit.",
            "Export these masks again, or check that they belong to these images.",
        )
    ]


def _grey(image: Image) -> NDArray[np.uint8]:
    """The picture in grey."""
    from transect.audit.fingerprints import grey_of, picture_uint8

    return grey_of(picture_uint8(read_image(image.path)))
