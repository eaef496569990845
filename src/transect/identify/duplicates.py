"""Photos that are there twice, and individuals that may be there under two names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.matching.features import grey_uint8

__all__ = ["DuplicatePhotos", "Merge", "PhotoPrint", "duplicate_photos", "photo_print"]
__all__ += ["propose_merges", "resolve_duplicates"]

THUMB = 32  # side of the thumbnail that prints are compared on


@dataclass(frozen=True)
class PhotoPrint:
    """What is kept of a photo to compare it with all others.

    Attributes:
        md5: Of the file.
        hash64: Perceptual hash: signs of the 8 x 8 lowest cosine waves.
        thumb: (32, 32, 3) float32, each channel with mean 0 and deviation 1.
        size_hw: Of the photo.
        channels: 1 (grey) or 3.
    """

    md5: str
    hash64: int
    thumb: NDArray[np.float32]
    size_hw: tuple[int, int]
    channels: int


@dataclass(frozen=True)
class DuplicatePhotos:
    """Two photos that are one.

    Attributes:
        first: Row of the one.
        second: Row of the other, larger.
        how: ``md5``, ``hash`` (same size, near hash, near pixels: the rule of the whale kernel) or
            ``correlation`` (another size or mode, but all channels agree).
        correlation: Least correlation over the channels of the thumbnails.
    """

    first: int
    second: int
    how: str
    correlation: float


@dataclass(frozen=True)
class Merge:
    """Two names that may be one individual.

    Attributes:
        keep: The name with more photos.
        other: The other one.
        score: Mean of the two directions' evidence, higher is surer.
        photos: Photos that speak for it.
        why: One sentence.
    """

    keep: str
    other: str
    score: float
    photos: int
    why: str


def photo_print(path: Path, image: NDArray[np.generic]) -> PhotoPrint:
    """Take the print of a photo.

    Args:
        path: Its file.
        image: (H, W) or (H, W, C), as decoded.
    """
    import cv2

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    grey = grey_uint8(image)
    small = cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = np.asarray(cv2.dct(small))[:8, :8].ravel()
    signs = waves > np.median(waves[1:])
    bits = int(np.packbits(signs).view(">u8")[0])
    colour = np.asarray(image)
    channels = 1 if colour.ndim == 2 or colour.shape[2] < 3 else 3
    planes = grey if channels == 1 else colour[..., :3]
    thumb = cv2.resize(
        np.ascontiguousarray(planes.astype(np.float32)),
        (THUMB, THUMB),
        interpolation=cv2.INTER_AREA,
    )
    thumb = np.broadcast_to(thumb.reshape(THUMB, THUMB, -1), (THUMB, THUMB, 3)).astype(np.float32)
    thumb = thumb - thumb.mean(axis=(0, 1))
    thumb /= np.maximum(thumb.std(axis=(0, 1)), 1e-6)
    return PhotoPrint(digest, bits, thumb, (grey.shape[0], grey.shape[1]), channels)


def duplicate_photos(
    prints: Sequence[PhotoPrint],
    *,
    distance: int = 6,
    difference: float = 0.1,
    correlation: float = 0.98,
    progress: Callable[[int, int], None] | None = None,
) -> list[DuplicatePhotos]:
    """Find photos that are there twice.

    Args:
        prints: Of all photos.
        distance: Most differing bits of the hash.
        difference: Largest mean squared difference of the standardised thumbnails.
        correlation: Least correlation of every channel, for photos of different size or mode.
        progress: Called with photos done and photos in all.

    Returns:
        Pairs, by rows.

    References:
        Whale kernel: hash distance <= 6, same mode and size, and mean squared difference of the
        standardised pixels <= 0.1. Correlation per channel: digest of 39 competitions.
    """
    count = len(prints)
    bits = np.array([p.hash64 for p in prints], np.uint64)
    names = np.array([p.md5 for p in prints])
    found: list[DuplicatePhotos] = []
    for start in range(0, count, 256):
        rows = np.arange(start, min(start + 256, count))
        apart = np.bitwise_count(bits[rows, None] ^ bits[None])
        # A resized copy may differ in a few more bits than the same pixels do.
        near = (apart <= distance + 4) | (names[rows, None] == names[None])
        near &= rows[:, None] < np.arange(count)[None]
        for at, other in zip(*np.nonzero(near), strict=True):
            first, second = int(rows[at]), int(other)
            pair = _compared(
                prints[first],
                prints[second],
                int(apart[at, other]),
                (distance, difference, correlation),
            )
            if pair is not None:
                found.append(DuplicatePhotos(first, second, *pair))
        if progress is not None:
            progress(int(rows[-1]) + 1, count)
    return found


def _compared(
    a: PhotoPrint, b: PhotoPrint, apart: int, limits: tuple[int, float, float]
) -> tuple[str, float] | None:
    """How two prints are one photo, and their least correlation; None if they are not."""
    distance, difference, correlation = limits
    agree = float((a.thumb * b.thumb).mean(axis=(0, 1)).min())
    if a.md5 == b.md5:
        return "md5", agree
    squared = float(((a.thumb - b.thumb) ** 2).mean())
    same_kind = a.size_hw == b.size_hw and a.channels == b.channels
    if apart <= distance and same_kind and squared <= difference:
        return "hash", agree
    # Photos of a burst resemble each other as much: only another size or mode makes a copy likely.
    if not same_kind and agree >= correlation:
        return "correlation", agree
    return None


def resolve_duplicates(
    duplicates: Sequence[DuplicatePhotos],
    identities: Sequence[str],
    sizes: Sequence[int],
    *,
    unknown: str = "unknown",
) -> tuple[list[int], list[tuple[int, ...]]]:
    """Settle which copies to leave out, and which photos nobody can label.

    Args:
        duplicates: Of ``duplicate_photos``.
        identities: (N,) of the photos.
        sizes: (N,) pixels; of copies the largest stays.
        unknown: The label of none we know; a copy with a name settles it.

    Returns:
        Rows of copies that training should leave out; and groups of rows that are one photo under
        different names: ambiguous, to be left out of training and shown to the user.
    """
    parent = list(range(len(identities)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for pair in duplicates:
        a, b = root(pair.first), root(pair.second)
        parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for row in range(len(identities)):
        groups.setdefault(root(row), []).append(row)
    out: list[int] = []
    ambiguous: list[tuple[int, ...]] = []
    for rows in groups.values():
        if len(rows) == 1:
            continue
        names = {identities[r] for r in rows} - {unknown}
        if len(names) > 1:
            ambiguous.append(tuple(rows))
            out += rows
            continue
        named = [r for r in rows if identities[r] != unknown] or rows
        keep = max(named, key=lambda r: (sizes[r], -r))
        out += [r for r in rows if r != keep]
    return sorted(out), ambiguous


def propose_merges(
    chance: NDArray[np.floating],
    identities: Sequence[str],
    *,
    same_photo: Sequence[tuple[int, ...]] = (),
    level: float = 0.9,
    unknown: str = "unknown",
) -> list[Merge]:
    """Propose pairs of names that are one individual; nothing is merged by itself.

    Two names are proposed if a photo stands under both, or if photos of each resemble the other's:
    the mean over a name's photos of the best chance with the other's, in both directions.

    Args:
        chance: (N, N) calibrated probability that two photos show one individual, from models that
            had not seen the row's photo; NaN or -inf where there is none.
        identities: (N,) of the photos.
        same_photo: Groups of rows that are one photo, of ``resolve_duplicates``.
        level: Least mean chance in both directions.
        unknown: The label of none we know; it is no individual.

    Returns:
        Proposals, surest first.

    References:
        The whale 3rd place found 89 such pairs by hand; yu4u merged them before training.
    """
    names = np.asarray([str(i) for i in identities])
    people, person, photos = np.unique(names, return_inverse=True, return_counts=True)
    found: dict[tuple[int, int], Merge] = {}

    def propose(a: int, b: int, score: float, count: int, why: str) -> None:
        keep, other = (a, b) if (photos[a], -a) >= (photos[b], -b) else (b, a)
        key = (min(a, b), max(a, b))
        if key not in found or found[key].score < score:
            found[key] = Merge(str(people[keep]), str(people[other]), score, count, why)

    for rows in same_photo:
        owners = sorted({int(person[r]) for r in rows if names[r] != unknown})
        for i, a in enumerate(owners):
            for b in owners[i + 1 :]:
                propose(a, b, 1.0, len(rows), "one photo stands under both names")
    table = np.where(np.isfinite(chance), chance, 0.0)
    order = np.argsort(person, kind="stable")
    starts = np.searchsorted(person[order], np.arange(len(people)))
    best = np.maximum.reduceat(table[:, order], starts, axis=1)  # (N, people)
    mean = np.add.reduceat(best[order], starts, axis=0) / photos[:, None]  # (people, people)
    both = np.minimum(mean, mean.T)
    for a, b in zip(*np.nonzero(np.triu(both >= level, 1)), strict=True):
        if unknown in (people[a], people[b]):
            continue
        propose(
            int(a),
            int(b),
            float((mean[a, b] + mean[b, a]) / 2),
            int(photos[a] + photos[b]),
            f"the photos of each resemble the other's ({both[a, b]:.2f})",
        )
    return sorted(found.values(), key=lambda m: (-m.score, m.keep, m.other))
