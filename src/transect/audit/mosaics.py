"""Adjoining tiles of one larger picture, found by the continuity of their edges, and put together.

A tile's border row and the one before it foretell the row that would follow (2 e0 - e1). Where two
tiles adjoin, each border is what the other foretells. Candidates are mutual nearest neighbours;
how good a match must be is not guessed but read from decoys: the same edges laid backwards, which
have the same statistics and cannot adjoin. A match beyond what decoys reach is a seam; a weaker
one counts where its mosaic holds, and says the same, without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.audit.chance import above_chance
from transect.audit.fingerprints import Prints

__all__ = ["Seam", "find_seams", "reassemble"]

_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
_LEAST_SPREAD = 4 * 3.0  # quarter grey levels: an edge with less detail matches anything
_SHORTEST = 16
_DIMS = 48  # of the search; the full rows decide
_NEAR = 4
_DECOYS = 10_000
_CHANCE_SPREAD = 0.3  # of the logarithm of the lead; decoys of salt and nuclei have 0.15 to 0.4
LEAST_AGREEMENT = 0.6
LEAST_LEAD = 0.1
_FLOOR = float(-np.log(1 - LEAST_LEAD))
BUSY = 0.25
"""Least share of a border that differs from its median; a lower bar finds more in dark pictures."""
LARGEST_JUMP = 1.5
"""Times the step from row to row inside the tiles; half of the true seams have about 1."""


@dataclass(frozen=True)
class Seam:
    """Two tiles that adjoin.

    Attributes:
        first: Row of the tile on the left, or above.
        second: Row of the tile on the right, or below.
        down: Whether ``second`` lies below ``first`` (else to its right).
        agreement: Correlation of each border with what the other foretells, in [0, 1].
    """

    first: int
    second: int
    down: bool
    agreement: float


def find_seams(
    prints: Prints, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Seam, ...]:
    """Find tiles that adjoin.

    Args:
        prints: Of all pictures.
        progress: Called with (done, all).

    Returns:
        The seams, surest first; at most one per side of a tile.

    References:
        V. Gaitan's mosaics of the salt competition: 2 e0 - e1, z-scored, two nearest neighbours in
        both directions, ratio test. The decoys that set the limit are ours, after the target-decoy
        search of proteomics (Elias and Gygi 2007), as is the test of weak seams.
    """
    jobs = []
    for down, (ahead, behind) in ((False, (_RIGHT, _LEFT)), (True, (_BOTTOM, _TOP))):
        sizes = prints.edge_length[:, 0 if down else 1]
        full = prints.size_hw[:, 1 if down else 0]
        for side in np.unique(full):
            rows = np.flatnonzero((full == side) & ~prints.flat)
            if len(rows) >= 2 and sizes[rows[0]] >= _SHORTEST:
                jobs.append((down, ahead, behind, rows, int(sizes[rows[0]])))
    found: list[tuple[Seam, float]] = []
    decoys = [np.zeros(0)]
    for done, (down, ahead, behind, rows, samples) in enumerate(jobs):
        some, chance = _matched(prints, rows, samples, ahead, behind, down=down)
        found += some
        decoys.append(chance)
        if progress:
            progress(done + 1, len(jobs))
    limit = above_chance(np.concatenate(decoys), floor=_FLOOR, spread=_CHANCE_SPREAD)
    seams = [seam for seam, lead in found if lead >= limit]
    seams += _confirmed(seams, [seam for seam, lead in found if lead < limit])
    return tuple(sorted(seams, key=_surest))


def reassemble(seams: Sequence[Seam]) -> list[dict[int, tuple[int, int]]]:
    """Put tiles together, surest seams first; a seam that contradicts the layout is dropped.

    Args:
        seams: As ``find_seams`` gives them.

    Returns:
        For each mosaic of two tiles or more, row to (row, column) from the top left; the largest
        first.
    """
    place: dict[int, tuple[int, int]] = {}
    owner: dict[int, int] = {}
    members: dict[int, dict[tuple[int, int], int]] = {}

    def start(tile: int) -> None:
        if tile not in owner:
            owner[tile], place[tile], members[tile] = tile, (0, 0), {(0, 0): tile}

    for seam in seams:
        start(seam.first)
        start(seam.second)
        a, b = owner[seam.first], owner[seam.second]
        if a == b:
            continue
        dy, dx = (1, 0) if seam.down else (0, 1)
        r, c = place[seam.first]
        r2, c2 = place[seam.second]
        shift = (r + dy - r2, c + dx - c2)
        moved = {(y + shift[0], x + shift[1]): t for (y, x), t in members[b].items()}
        if moved.keys() & members[a].keys():
            continue  # two tiles on one place: this seam cannot be
        members[a].update(moved)
        for where, tile in moved.items():
            owner[tile], place[tile] = a, where
        del members[b]
    out = []
    for cells in members.values():
        if len(cells) > 1:
            top, left = min(y for y, _ in cells), min(x for _, x in cells)
            out.append({tile: (y - top, x - left) for (y, x), tile in sorted(cells.items())})
    return sorted(out, key=lambda m: (-len(m), min(m)))


def mosaic_picture(
    layout: Mapping[int, tuple[int, int]], thumbs: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The mosaic drawn from thumbnails, (rows * h, columns * w) uint8; gaps are white."""
    height, width = thumbs.shape[1:3]
    rows = 1 + max(r for r, _ in layout.values())
    columns = 1 + max(c for _, c in layout.values())
    out = np.full((rows * height, columns * width, *thumbs.shape[3:]), 255, np.uint8)
    for tile, (r, c) in layout.items():
        out[r * height : (r + 1) * height, c * width : (c + 1) * width] = thumbs[tile]
    return out


def _matched(
    prints: Prints,
    rows: NDArray[np.int64],
    samples: int,
    ahead: int,
    behind: int,
    *,
    down: bool,
) -> tuple[list[tuple[Seam, float]], NDArray[np.float64]]:
    """What matches in one direction among tiles of one side, with its lead; the decoys' leads."""
    out, out_good = _vectors(prints.edges[rows, ahead], samples, foretold_first=True)
    into, into_good = _vectors(prints.edges[rows, behind], samples, foretold_first=False)
    decoy = into.reshape(len(rows), 2, samples)[:, :, ::-1].reshape(len(rows), -1)
    first, second = prints.edges[rows, ahead], prints.edges[rows, behind]
    backwards = second.copy()
    backwards[:, :, :samples] = second[:, :, :samples][:, :, ::-1]
    # Of very many tiles, every n-th is laid against decoys, and each such match counts n times.
    step = max(1, len(rows) // _DECOYS)
    drawn = np.zeros(len(rows), np.bool_)
    drawn[::step] = True
    real = _mutual(out, into, out_good, into_good, _smooth(first, second, samples))
    false = _mutual(
        out,
        np.ascontiguousarray(decoy),
        out_good & drawn,
        into_good,
        _smooth(first, backwards, samples),
    )
    # The lead is one minus a ratio of distances, whose logarithm has an even tail.
    lead, chance = (-np.log(np.maximum(1 - x, 1e-6)) for x in (real[2], false[2]))
    seams = [
        (Seam(int(rows[a]), int(rows[b]), down, float(min(agreement, 1.0))), float(x))
        for a, b, agreement, x in zip(real[0], real[1], real[3], lead, strict=True)
        if x >= _FLOOR
    ]
    return seams, np.repeat(chance, step)


def _confirmed(seams: Sequence[Seam], weak: Sequence[Seam]) -> list[Seam]:
    """Weak seams that the others confirm: without one of them, its mosaic is still the same."""
    ordered = [*sorted(seams, key=_surest), *sorted(weak, key=_surest)]
    layouts = reassemble(ordered)
    place = {t: (n, *cell) for n, layout in enumerate(layouts) for t, cell in layout.items()}

    def fits(seam: Seam) -> bool:
        if seam.first not in place or seam.second not in place:
            return False
        number, row, column = place[seam.first]
        return place[seam.second] == (number, row + seam.down, column + (not seam.down))

    alone = _bridges([(seam.first, seam.second) for seam in ordered if fits(seam)])
    return [seam for seam in weak if fits(seam) and (seam.first, seam.second) not in alone]


def _surest(seam: Seam) -> float:
    """Key that sorts the surest seam first."""
    return -seam.agreement


def _bridges(edges: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """The edges of a graph on which no circle lies (Tarjan 1974)."""
    beside: dict[int, list[tuple[int, int]]] = {}
    for number, (a, b) in enumerate(edges):
        beside.setdefault(a, []).append((b, number))
        beside.setdefault(b, []).append((a, number))
    seen: dict[int, int] = {}
    low: dict[int, int] = {}
    found = set()
    for start in beside:
        if start in seen:
            continue
        seen[start] = low[start] = len(seen)
        path = [(start, -1, iter(beside[start]))]
        while path:
            node, by, ways = path[-1]
            for other, number in ways:
                if number == by:
                    continue
                if other in seen:
                    low[node] = min(low[node], seen[other])
                    continue
                seen[other] = low[other] = len(seen)
                path.append((other, number, iter(beside[other])))
                break
            else:
                path.pop()
                if path:
                    before = path[-1][0]
                    low[before] = min(low[before], low[node])
                    if low[node] > seen[before]:
                        found.add(edges[by])
    return found


def _smooth(
    first: NDArray[np.int16], second: NDArray[np.int16], samples: int
) -> Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]:
    """Which pairs of rows have no step over their seam."""

    def check(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(_jump(first[a], second[b], samples) <= LARGEST_JUMP)

    return check


def _jump(first: NDArray[np.int16], second: NDArray[np.int16], samples: int) -> NDArray[np.float64]:
    """The step over a seam divided by the step from row to row inside the tiles, (P,)."""
    a, b = (e[:, :, :samples].astype(np.float64) for e in (first, second))
    inner = sum(((e[:, 1] - e[:, 0]) ** 2).mean(axis=1) for e in (a, b)) / 2
    x = a[:, 0] - a[:, 0].mean(axis=1, keepdims=True)
    y = b[:, 0] - b[:, 0].mean(axis=1, keepdims=True)
    # Tiles are often stretched one by one: a gain and an offset are no step.
    gain = (x * y).sum(axis=1) / np.maximum((y * y).sum(axis=1), 1e-6)
    across = ((x - np.clip(gain, 0.5, 2.0)[:, None] * y) ** 2).mean(axis=1)
    return np.asarray(np.sqrt(across / np.maximum(inner, 1.0)), np.float64)


def _vectors(
    edges: NDArray[np.int16], samples: int, *, foretold_first: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N, 2 * samples) standardised rows, and which have detail enough to be matched."""
    values = edges[:, :, :samples].astype(np.float32)
    order = (1, 0) if foretold_first else (0, 1)
    values = values[:, order]
    spread = values.std(axis=2).min(axis=1)
    # A step or a ramp matches every other step: ask for detail beside the coarsest shape.
    fine = np.diff(values, axis=2).std(axis=2).min(axis=1)
    # A stroke that crosses an even border matches every stroke at that place.
    middle = np.median(values, axis=2, keepdims=True)
    busy = (np.abs(values - middle) > 4.0).mean(axis=2).min(axis=1)
    good = (spread >= _LEAST_SPREAD) & (fine >= 1.0) & (busy >= BUSY)
    flat = values.reshape(len(values), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return np.ascontiguousarray(flat, np.float32), good


def _mutual(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    a_good: NDArray[np.bool_],
    b_good: NDArray[np.bool_],
    plausible: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Plausible mutual nearest neighbours: rows of a and b, lead over the second, agreement."""
    ours, theirs = np.flatnonzero(a_good), np.flatnonzero(b_good)
    if len(ours) < 1 or len(theirs) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    partner, agree, second = _nearest(a, b, ours, theirs)
    keep = (agree >= LEAST_AGREEMENT) & plausible(ours, partner)
    rows, partner, agree, second = ours[keep], partner[keep], agree[keep], second[keep]
    # The way back is looked up for those only that may be seams: few, where tiles are many.
    back = np.unique(partner)
    nearest, _, back_second = _nearest(b, a, back, np.flatnonzero(a_good))
    at = np.searchsorted(back, partner)
    mutual = nearest[at] == rows if len(back) else np.zeros(0, np.bool_)
    rows, partner, agree = rows[mutual], partner[mutual], agree[mutual]
    runner = np.maximum(second[mutual], back_second[at][mutual])
    # Ratio of squared distances, 1 - correlation each; near 0 is a clear match.
    ratio = (1 - agree) / np.maximum(1 - runner, 1e-6)
    return rows, partner, 1 - ratio, agree


def _nearest(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """For each of ours the nearest of theirs, its correlation, and the second's."""
    left, right = a[ours], b[theirs]
    reduced = len(ours) * len(theirs) > 2e8
    if reduced:  # search in fewer dimensions, decide in all
        basis = _basis(right)
        short_left, short_right = left @ basis, right @ basis
    else:
        short_left, short_right = left, right
    best = np.empty(len(ours), np.int64)
    first, second = np.empty(len(ours)), np.empty(len(ours))
    keep = min(_NEAR if reduced else 2, len(theirs))
    block = max(1, int(2e7 // max(len(theirs), 1)))
    for start in range(0, len(ours), block):
        part = slice(start, start + block)
        near = short_left[part] @ short_right.T
        line = np.arange(len(near))
        near[ours[part][:, None] == theirs[None]] = -2.0  # no tile adjoins itself
        at = np.empty((len(near), keep), np.int64)
        top = np.empty((len(near), keep))
        for k in range(keep):  # a few maxima in turn are ten times faster than a partition
            at[:, k] = near.argmax(axis=1)
            top[:, k] = near[line, at[:, k]]
            near[line, at[:, k]] = -3.0
        if reduced:
            top = np.einsum("nd,nkd->nk", left[part], right[at]).astype(np.float64)
            top[theirs[at] == ours[part][:, None]] = -2.0
            order = np.argsort(-top, axis=1)
            top, at = np.take_along_axis(top, order, 1), np.take_along_axis(at, order, 1)
        best[part] = theirs[at[:, 0]]
        first[part] = top[:, 0]
        second[part] = top[:, 1] if keep > 1 else -1.0
    return best, first, second


def _basis(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The (D, 48) directions of largest spread, from a sample."""
    sample = vectors[:: max(1, len(vectors) // 4000)]
    _, directions = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(directions[:, -_DIMS:], np.float32)
