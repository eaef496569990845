"""Geometry over many pairs: in chunks that are written as they are done, on every core."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from transect.files import atomic_path, read_json, write_json
from transect.matching.features import Keypoints
from transect.matching.homography import normalised_homography, verify
from transect.matching.match import match_many, stack

__all__ = ["ListedPairs", "MatchSpec", "PairSource", "PairTable", "all_pairs", "run_pairs"]


@dataclass(frozen=True)
class MatchSpec:
    """How pairs are matched and verified; see ``match_many`` and ``verify``."""

    ratio: float = 0.8
    unique: bool = True
    first: str = "rho"
    first_px: float = 5.0
    second_px: float = 9.0
    min_matches: int = 10
    iterations: int = 20_000
    store_from: int = 1  # pairs with fewer matches leave no row


@dataclass(frozen=True)
class PairTable:
    """What geometry found, one row per pair that had matches.

    Attributes:
        query: (P,) picture.
        gallery: (P,) picture.
        matches: (P,) that passed the ratio test.
        inliers: (P,) that the homography explains.
        unique: (P,) different places among them.
        homographies: (P, 3, 3) float64, normalised to the pictures' sizes; NaN where none.
    """

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]
    matches: NDArray[np.int64]
    inliers: NDArray[np.int64]
    unique: NDArray[np.int64]
    homographies: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.query)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> PairTable:
        """Some of the rows."""
        return PairTable(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def renamed(self, queries: NDArray[np.int64], gallery: NDArray[np.int64]) -> PairTable:
        """The same pairs under other numbers: number i of a side becomes its i-th entry."""
        return replace(self, query=queries[self.query], gallery=gallery[self.gallery])

    @staticmethod
    def joined(parts: Sequence[PairTable]) -> PairTable:
        """The rows of several tables, one after another."""
        if not parts:
            return _joined([])
        names = [f.name for f in fields(PairTable)]
        return PairTable(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


class PairSource(Protocol):
    """Pairs in chunks; a chunk is the unit of work and of resuming."""

    @property
    def chunks(self) -> int:
        """How many chunks there are."""

    @property
    def signature(self) -> str:
        """Changes when the pairs change."""

    def chunk(self, number: int) -> NDArray[np.int64]:
        """(P, 2) query and gallery pictures of one chunk."""


class ListedPairs:
    """Pairs from a list, such as a shortlist: sorted by query, a few thousand per chunk."""

    def __init__(self, pairs: NDArray[np.integer], *, per_chunk: int = 4096) -> None:
        ordered = np.asarray(pairs, np.int64).reshape(-1, 2)
        self._pairs = ordered[np.lexsort((ordered[:, 1], ordered[:, 0]))]
        self._per_chunk = per_chunk

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-len(self._pairs) // self._per_chunk)

    @property
    def signature(self) -> str:
        """Hash of all pairs."""
        return hashlib.sha256(self._pairs.tobytes() + b"%d" % self._per_chunk).hexdigest()

    def chunk(self, number: int) -> NDArray[np.int64]:
        """One slice of the list."""
        return self._pairs[number * self._per_chunk : (number + 1) * self._per_chunk]


@dataclass(frozen=True)
class _AllPairs:
    """Every query with every gallery picture, block by block, never listed whole."""

    queries: int
    gallery: int
    block: int
    symmetric: bool

    @property
    def _grid(self) -> tuple[int, int]:
        return -(-self.queries // self.block), -(-self.gallery // self.block)

    @property
    def chunks(self) -> int:
        return self._grid[0] * self._grid[1]

    @property
    def signature(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def chunk(self, number: int) -> NDArray[np.int64]:
        top, left = divmod(number, self._grid[1])
        rows = np.arange(top * self.block, min((top + 1) * self.block, self.queries))
        columns = np.arange(left * self.block, min((left + 1) * self.block, self.gallery))
        pairs = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        return pairs[pairs[:, 0] < pairs[:, 1]] if self.symmetric else pairs


def all_pairs(queries: int, gallery: int | None = None, *, block: int = 64) -> PairSource:
    """Every pair: brute force, as the whale 4th place ran it for thirteen days and more.

    Args:
        queries: Number of queries.
        gallery: Number of gallery pictures; None pairs the queries among themselves, once each.
        block: Side of the square that is one chunk.
    """
    if gallery is None:
        return _AllPairs(queries, queries, block, symmetric=True)
    return _AllPairs(queries, gallery, block, symmetric=False)


def run_pairs(
    source: PairSource,
    query: Callable[[int], Keypoints],
    gallery: Callable[[int], Keypoints],
    folder: Path | None = None,
    *,
    spec: MatchSpec | None = None,
    workers: int = 1,
    remember: int = 2048,
    data: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> PairTable:
    """Match and verify pairs; what is written already is not done again.

    Args:
        source: The pairs.
        query: Gives the keypoints of a query, e.g. ``read_keypoints`` of its file.
        gallery: Gives the keypoints of a gallery picture.
        folder: Where chunks are kept; None keeps nothing. A folder of other pairs, settings or
            ``data`` is started anew.
        spec: How.
        workers: Threads; the work releases Python's lock.
        remember: Gallery pictures kept in memory per call (0.25 MB each at 500 keypoints).
        data: Anything that names the keypoints, such as a hash; part of the folder's signature.
        progress: Called with chunks done and chunks in all.

    Returns:
        The table, in the order of the source: the same for any number of workers, and after a
        kill.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    spec = spec or MatchSpec()
    if folder is not None:
        _open_folder(folder, {"pairs": source.signature, "data": data, **asdict(spec)})
    recall = _Recall(gallery, remember)
    done: dict[int, dict[str, NDArray[np.generic]]] = {}

    def work(number: int) -> dict[str, NDArray[np.generic]]:
        path = None if folder is None else folder / f"chunk-{number:06d}.npz"
        if path is not None and path.exists():
            stored = _read_chunk(path)
            if stored is not None:
                return stored
        found = _match_chunk(source.chunk(number), query, recall, spec)
        if path is not None:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **found)  # type: ignore[arg-type]
        return found

    with threadpool_limits(1), ThreadPoolExecutor(max(workers, 1)) as pool:
        jobs = {pool.submit(work, number): number for number in range(source.chunks)}
        try:
            for count, job in enumerate(as_completed(jobs), start=1):
                done[jobs[job]] = job.result()
                if progress is not None:
                    progress(count, source.chunks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return _joined([done[number] for number in range(source.chunks)])


class _Recall:
    """The gallery pictures read last, shared by the threads."""

    def __init__(self, read: Callable[[int], Keypoints], most: int) -> None:
        self._read = read
        self._most = most
        self._kept: OrderedDict[int, Keypoints] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, number: int) -> Keypoints:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        value = self._read(number)
        with self._lock:
            self._kept[number] = value
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value


def _match_chunk(
    pairs: NDArray[np.int64],
    query: Callable[[int], Keypoints],
    gallery: Callable[[int], Keypoints],
    spec: MatchSpec,
) -> dict[str, NDArray[np.generic]]:
    """Match one chunk: all gallery pictures of a query in one go."""
    rows: list[tuple[int, int, int, int, int]] = []
    matrices: list[NDArray[np.float64]] = []
    # Slicing a sorted list of pairs gives each query's run of gallery pictures.
    edges = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1, append=-1))
    for start, stop in itertools.pairwise(edges):
        first = int(pairs[start, 0])
        mine = query(first)
        others = [gallery(int(number)) for number in pairs[start:stop, 1]]
        found = match_many(mine.descriptors, stack(others), ratio=spec.ratio, unique=spec.unique)
        for number, other, matches in zip(pairs[start:stop, 1], others, found, strict=True):
            if len(matches) < spec.store_from:
                continue
            checked = verify(
                mine,
                other,
                matches,
                first=spec.first,
                first_px=spec.first_px,
                second_px=spec.second_px,
                min_matches=spec.min_matches,
                iterations=spec.iterations,
            )
            rows.append((first, int(number), len(matches), checked.inliers, checked.unique))
            matrix = np.full((3, 3), np.nan)
            if checked.homography is not None:
                matrix = normalised_homography(checked.homography, mine.size_hw, other.size_hw)
            matrices.append(matrix)
    return {
        "rows": np.array(rows, np.int64).reshape(-1, 5),
        "homographies": np.array(matrices, np.float64).reshape(-1, 3, 3),
    }


def _open_folder(folder: Path, signature: dict[str, object]) -> None:
    """Make the folder, or empty it of chunks that belong to other pairs or settings."""
    note = folder / "pairs.json"
    if note.exists() and read_json(note) == signature:
        return
    for stale in folder.glob("chunk-*.npz"):
        stale.unlink()
    write_json(note, signature)


def _read_chunk(path: Path) -> dict[str, NDArray[np.generic]] | None:
    """A stored chunk, or None if it is broken and must be made again."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {"rows": stored["rows"], "homographies": stored["homographies"]}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _joined(chunks: list[dict[str, NDArray[np.generic]]]) -> PairTable:
    """One table of all chunks."""
    rows = np.concatenate([c["rows"] for c in chunks] or [np.zeros((0, 5), np.int64)])
    matrices = np.concatenate([c["homographies"] for c in chunks] or [np.zeros((0, 3, 3))])
    query, gallery, matches, inliers, unique = np.ascontiguousarray(rows.astype(np.int64).T)
    return PairTable(
        query=query,
        gallery=gallery,
        matches=matches,
        inliers=inliers,
        unique=unique,
        homographies=matrices.astype(np.float64),
    )
