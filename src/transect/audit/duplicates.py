"""Exact and near copies among up to millions of pictures: multi-index hashing, then pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.audit.fingerprints import Prints, hash64

__all__ = ["Copies", "find_duplicates", "hash_pairs"]

DISTANCE = 10
"""Most differing bits of candidates; the pixels decide."""
CORRELATION = 0.985
"""Least correlation of thumbnails, grey and per channel."""
RESIDUAL_LEVELS = 6.0
"""Largest root mean square difference of grey thumbnails after gain and offset are fitted."""
_PER_HASH = 64
"""Pictures of one and the same hash are compared with this many neighbours, not with all."""


@dataclass(frozen=True)
class Copies:
    """Pairs of rows that are one picture.

    Attributes:
        pairs: (P, 2) int64, the first smaller.
        kind: (P,) ``copy`` (same bytes), ``near-copy`` or ``turned``.
        correlation: (P,) of the grey thumbnails, in [0, 1].
    """

    pairs: NDArray[np.int64]
    kind: NDArray[np.str_]
    correlation: NDArray[np.float64]


def find_duplicates(prints: Prints, *, turned: bool = True) -> Copies:
    """Find pictures that are there twice, also resaved, resized, brightened, mirrored or turned.

    Flat pictures are left out: nothing is in them by which one could know them.

    Args:
        prints: Of all pictures.
        turned: Also look for mirrored and turned copies.

    Returns:
        The pairs. Candidates differ in at most 10 bits of a 64-bit perceptual hash; of them remain
        those whose thumbnails agree in every channel.
    """
    found: dict[tuple[int, int], tuple[str, float]] = {}
    busy = np.flatnonzero(~prints.flat)
    for a, b in busy[_same_bytes(prints.md5[busy])].tolist():
        found[(a, b)] = ("copy", 1.0)
    hashes = prints.hashes[busy]
    standard = prints.standardised()
    pairs = busy[hash_pairs(hashes, hashes, DISTANCE)]
    keep, agree = _verified(prints, standard, pairs, None)
    for (a, b), c in zip(pairs[keep].tolist(), agree[keep].tolist(), strict=True):
        found.setdefault((min(a, b), max(a, b)), ("near-copy", c))
    if turned:
        for turn in range(1, 8):
            other = np.array([hash64(_turned(prints.grey[i], turn)) for i in busy], np.uint64)
            pairs = busy[hash_pairs(hashes, other, 6)]
            keep, agree = _verified(prints, standard, pairs, turn)
            for (a, b), c in zip(pairs[keep].tolist(), agree[keep].tolist(), strict=True):
                found.setdefault((min(a, b), max(a, b)), ("turned", c))
    order = sorted(found)
    return Copies(
        np.array(order, np.int64).reshape(-1, 2),
        np.array([found[k][0] for k in order], dtype=np.str_),
        np.array([found[k][1] for k in order], np.float64),
    )


def hash_pairs(
    first: NDArray[np.uint64], second: NDArray[np.uint64], distance: int
) -> NDArray[np.int64]:
    """All pairs of 64-bit hashes that differ in few bits, without comparing all with all.

    The hash is cut into four words of 16 bits. If two hashes differ in at most ``distance`` bits,
    one of the words differs in at most ``distance // 4``; so every word is looked up with up to
    that many bits flipped.

    Args:
        first: (N,) hashes.
        second: (N,) hashes that they are looked up in: the same, or those of turned pictures.
        distance: Most differing bits, 0 to 11.

    Returns:
        (P, 2) rows (into first, into second), the first smaller than the second, no pair twice.

    References:
        Norouzi, Punjani and Fleet 2012: multi-index hashing.

    Example:
        >>> hash_pairs(np.array([0, 7, 255], np.uint64), np.array([0, 7, 255], np.uint64), 3)
        array([[0, 1]])
    """
    if not 0 <= distance <= 11:
        raise ValueError("distance must lie in 0..11")
    ours, owners = _distinct(first)
    theirs, others = _distinct(second)
    flips = _flips(distance // 4)
    near = []
    for word in range(4):
        key = ((ours >> np.uint64(16 * word)) & np.uint64(0xFFFF)).astype(np.int64)
        table = ((theirs >> np.uint64(16 * word)) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(table, kind="stable")
        starts = np.searchsorted(table[order], np.arange((1 << 16) + 1))
        for flip in flips:
            probe = key ^ flip
            low, count = starts[probe], starts[probe + 1] - starts[probe]
            left = np.repeat(np.arange(len(ours)), count)
            ends = np.cumsum(count)
            place = np.arange(len(left)) - np.repeat(ends - count, count) + np.repeat(low, count)
            right = order[place]
            close = np.bitwise_count(ours[left] ^ theirs[right]) <= distance
            near.append(left[close] * len(theirs) + right[close])
    codes = np.unique(np.concatenate(near)) if near else np.zeros(0, np.int64)
    left, right = codes // max(len(theirs), 1), codes % max(len(theirs), 1)
    return _expanded(left, right, owners, others)


def _distinct(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], list[NDArray[np.int64]]]:
    """The distinct hashes and the rows that have each."""
    values, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rows = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    return values, rows if len(values) else []


def _expanded(
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    owners: list[NDArray[np.int64]],
    others: list[NDArray[np.int64]],
) -> NDArray[np.int64]:
    """From pairs of hashes to pairs of rows; long lists are compared with neighbours only."""
    out = []
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        mine, yours = owners[a], others[b]
        if len(mine) * len(yours) == 1:
            out.append((int(mine[0]), int(yours[0])))
            continue
        if len(mine) * len(yours) <= _PER_HASH**2:
            out += [(int(i), int(j)) for i in mine for j in yours]
            continue
        for i in mine.tolist():
            at = int(np.searchsorted(yours, i))
            out += [(i, int(j)) for j in yours[max(0, at - _PER_HASH // 2) : at + _PER_HASH // 2]]
    pairs = np.array(out, np.int64).reshape(-1, 2)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def _flips(radius: int) -> NDArray[np.int64]:
    """All 16-bit words with at most ``radius`` bits set."""
    words = np.arange(1 << 16)
    return words[np.bitwise_count(words) <= radius]


def _same_bytes(md5: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Chains of rows with the same digest: each with the next."""
    if len(md5) < 2:
        return np.zeros((0, 2), np.int64)
    keys = np.ascontiguousarray(md5).view("V16").ravel()
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    return np.sort(np.stack([order[:-1][same], order[1:][same]], axis=1), axis=1)


def _turned(thumb: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """One of the eight ways to lay a square; 0 is as it was."""
    return np.rot90(thumb[:, ::-1] if turn >= 4 else thumb, turn % 4)


def _verified(
    prints: Prints,
    standard: NDArray[np.float32],
    pairs: NDArray[np.int64],
    turn: int | None,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which pairs agree in their pixels, and the correlation of their grey thumbnails."""
    keep = np.zeros(len(pairs), np.bool_)
    agree = np.zeros(len(pairs), np.float64)
    for start in range(0, len(pairs), 4096):
        part = pairs[start : start + 4096]
        a, b = part[:, 0], part[:, 1]
        if turn is None:
            best = (standard[a] * standard[b]).sum(axis=1)
            colour = _channel_agreement(prints.colour[a], prints.colour[b])
            spread = prints.grey[b].reshape(len(b), -1).astype(np.float32).std(axis=1)
            good = colour >= CORRELATION - 0.02
        else:
            best = np.zeros(len(part))
            for i, (m, n) in enumerate(part.tolist()):
                for way in (turn, _INVERSE[turn]):
                    laid = _turned(prints.grey[n], way).ravel().astype(np.float32)
                    laid -= laid.mean()
                    length = max(float(np.linalg.norm(laid)), 1e-6)
                    best[i] = max(best[i], float(standard[m] @ laid) / length)
            spread = prints.grey[b].reshape(len(b), -1).astype(np.float32).std(axis=1)
            good = np.ones(len(part), np.bool_)
        residual = spread * np.sqrt(np.clip(1 - best**2, 0, None))
        agree[start : start + 4096] = np.clip(best, 0, 1)
        good &= (best >= CORRELATION) & (residual <= RESIDUAL_LEVELS)
        # Two people's drawings of one plain stroke agree as well as two copies do.
        keep[start : start + 4096] = good & ((best >= 0.999) | ~_sparse(prints.grey[b]))
    return keep, agree


def _sparse(thumbs: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pictures that are one colour in all but a tenth of their area, (P,)."""
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    middle = np.median(flat, axis=1, keepdims=True)
    return np.asarray((np.abs(flat - middle) > 8).mean(axis=1) < 0.1)


_INVERSE = {1: 3, 2: 2, 3: 1, 4: 4, 5: 5, 6: 6, 7: 7}


def _channel_agreement(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Least correlation over the channels of colour thumbnails, (P,)."""
    x = a.reshape(len(a), -1, 3).astype(np.float32)
    y = b.reshape(len(b), -1, 3).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    y -= y.mean(axis=1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    # A channel without detail in both pictures cannot disagree.
    value = np.where(scale > 500.0, (x * y).sum(axis=1) / np.maximum(scale, 1e-6), 1.0)
    return np.asarray(value.min(axis=1), np.float64)
