"""Searching a gallery of embeddings: exact in blocks, with a short list; an index beyond that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["IndexedGallery", "nearest", "search", "search_indexed"]

ROWS = 32_768  # gallery rows per product
QUERIES = 512  # query rows per product
MOST_EXACT = 10_000_000_000  # pairs: 10^4 queries of 10^6 photos
FIRST = 2_048  # gallery rows whose best give the first limit
# Rounding both vectors to bfloat16 changes a cosine by at most 2^-8, rounding the result by 2^-9.
ROUNDING = 2.0**-8 + 2.0**-9 + 1e-4


def search(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    *,
    top: int = 5,
    device: str = "cpu",
    half: bool | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest gallery rows by cosine, exactly.

    The first rows give each query a limit, its ``top``-th best so far; of all later products only
    what reaches the limit is looked at. In half precision the limit is lowered by the largest
    possible rounding error, and what reaches it is scored again in full: the answer is the same,
    not nearly the same.

    Args:
        queries: (Q, D) of length 1.
        gallery: (G, D) of length 1; may be a memory map.
        top: Rows given per query.
        device: Where the products are made.
        half: Whether the products are made in bfloat16; None: where the device is built for it.

    Returns:
        (Q, top) rows, best first (equal cosines by row), and their (Q, top) cosines; if the
        gallery is smaller, row -1 and cosine -inf fill up.

    Raises:
        TransectError: If the vectors have different lengths.
    """
    if queries.shape[1] != gallery.shape[1]:
        raise TransectError(
            f"queries have {queries.shape[1]} numbers per picture, the gallery {gallery.shape[1]}: "
            "they were made by different networks. Make both with the same run."
        )
    use_half = _built_for_half(device) if half is None else half
    full = np.ascontiguousarray(queries, dtype=np.float32)
    rows, cosine = _first_rows(full, gallery, top)
    for first in range(min(FIRST, len(gallery)), len(gallery), ROWS):
        block = np.ascontiguousarray(gallery[first : first + ROWS], dtype=np.float32)
        reach = _reaching(full, block, device, use_half)
        for start in range(0, len(full), QUERIES):
            part = slice(start, start + QUERIES)
            query, row = np.divmod(reach(part, cosine[part, -1:]), len(block))
            if len(query):
                exact = _products(full[part], block, query, row)
                rows[part], cosine[part] = _merged(
                    rows[part], cosine[part], query, row + first, exact
                )
    return rows, cosine


def nearest(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    *,
    top: int = 5,
    device: str = "cpu",
    most_exact: int = MOST_EXACT,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest gallery rows: exactly where that is affordable, by an index beyond.

    Args:
        queries: (Q, D) of length 1.
        gallery: (G, D) of length 1.
        top: Rows given per query.
        device: As in ``search``.
        most_exact: Pairs of a query and a gallery row beyond which an index is made.

    Returns:
        As ``search``.

    Raises:
        TransectError: If the index needs faiss and it is not installed.
    """
    if len(queries) * len(gallery) <= most_exact:
        return search(queries, gallery, top=top, device=device)
    indexed = IndexedGallery.build(gallery)
    parts = [
        search_indexed(queries[start : start + QUERIES], indexed, top=top)
        for start in range(0, len(queries), QUERIES)
    ]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _reaching(
    queries: NDArray[np.float32], block: NDArray[np.float32], device: str, half: bool
) -> Callable[[slice, NDArray[np.float32]], NDArray[np.int64]]:
    """A function that gives the flat places at which queries reach their limits in a block."""
    if device == "cpu" and not half:  # numpy's products are the faster ones on some processors
        return lambda part, limit: np.flatnonzero(queries[part] @ block.T >= limit - 1e-5)
    import torch

    kind = torch.bfloat16 if half else torch.float32
    slack = np.float32(ROUNDING if half else 1e-5)
    mine = torch.from_numpy(queries).to(device, kind)
    columns = torch.from_numpy(block).to(device, kind).T

    def reach(part: slice, limit: NDArray[np.float32]) -> NDArray[np.int64]:
        level = torch.from_numpy(limit - slack).to(device)
        if half:  # rounded down, so that none is missed
            level = torch.where(level.bfloat16().float() > level, level - level.abs() / 128, level)
        found = (mine[part] @ columns >= level.to(kind)).flatten().nonzero()
        flat: NDArray[np.int64] = found.ravel().cpu().numpy()
        return flat

    return reach


def _built_for_half(device: str) -> bool:
    """Whether bfloat16 products are faster than float32 ones there."""
    import torch

    if device != "cpu":
        return device.startswith("cuda")
    # The two names are private to torch: where a version lacks them, float32 is used.
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in asked)


def _first_rows(
    queries: NDArray[np.float32], gallery: NDArray[np.floating], top: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best of the first gallery rows; they give the limits for all others."""
    rows = np.full((len(queries), top), -1, np.int64)
    cosine = np.full((len(queries), top), -np.inf, np.float32)
    block = np.ascontiguousarray(gallery[:FIRST], dtype=np.float32)
    keep = min(top, len(block))
    if not keep:
        return rows, cosine
    for start in range(0, len(queries), QUERIES):
        part = slice(start, start + QUERIES)
        scores = queries[part] @ block.T
        near = np.argpartition(-scores, keep - 1, axis=1)[:, :keep].astype(np.int64)
        query = np.repeat(np.arange(len(near)), keep)
        exact = _products(queries[part], block, query, near.ravel())
        rows[part], cosine[part] = _merged(rows[part], cosine[part], query, near.ravel(), exact)
    return rows, cosine


def _products(
    queries: NDArray[np.float32],
    block: NDArray[np.float32],
    query: NDArray[np.int64],
    row: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Exact products of pairs, a few thousand at a time."""
    parts = [
        np.einsum("pd,pd->p", queries[query[at : at + 8192]], block[row[at : at + 8192]])
        for at in range(0, len(query), 8192)
    ]
    return np.concatenate(parts)


def _merged(
    rows: NDArray[np.int64],
    cosine: NDArray[np.float32],
    query: NDArray[np.int64],
    new_rows: NDArray[np.int64],
    new: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best of what is known and what is new, by cosine, then by row."""
    count, top = rows.shape
    owner = np.concatenate([np.repeat(np.arange(count), top), query])
    values = np.concatenate([cosine.ravel(), new])
    places = np.concatenate([rows.ravel(), new_rows])
    order = np.lexsort((places, -values, owner))
    owner = owner[order]
    starts = np.searchsorted(owner, np.arange(count))
    chosen = order[starts[:, None] + np.arange(top)]
    return places[chosen], values[chosen]


class Vectors(Protocol):
    """(G, D) vectors that give the rows asked for: an array, a memory map, or parts of several."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and numbers in a row."""
        ...

    def __len__(self) -> int:
        """Rows."""
        ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Some of the rows."""
        ...


@dataclass(frozen=True)
class IndexedGallery:
    """A faiss index of a gallery too large to be scored whole.

    Attributes:
        index: The faiss index.
        gallery: (G, D) the vectors themselves, for exact rescoring; may be a memory map.
    """

    index: Any
    gallery: Vectors

    @staticmethod
    def build(
        gallery: Vectors,
        *,
        lists: int | None = None,
        code_bytes: int | None = None,
        probes: int = 32,
        seed: int = 0,
    ) -> IndexedGallery:
        """Train an inverted file with product quantisation.

        Args:
            gallery: (G, D) of length 1.
            lists: Cells; None takes four times the root of G.
            code_bytes: Bytes per vector; must divide D. None takes the largest up to 64 that does,
                0 keeps the vectors whole.
            probes: Cells looked at per query.
            seed: Of the training rows.

        Raises:
            TransectError: If faiss is not installed.
        """
        faiss = _faiss()
        count, dim = gallery.shape
        if code_bytes is None:
            code_bytes = next(number for number in range(min(64, dim), 0, -1) if dim % number == 0)
        cells = lists or int(np.clip(4 * np.sqrt(count), 1, max(count // 39, 1)))
        coarse = faiss.IndexFlatIP(dim)
        if code_bytes and count >= 39 * 256:
            if dim % code_bytes:
                raise TransectError(
                    f"{code_bytes} bytes do not divide vectors of {dim}. Give a divisor, or 0."
                )
            index = faiss.IndexIVFPQ(coarse, dim, cells, code_bytes, 8, faiss.METRIC_INNER_PRODUCT)
        else:
            index = faiss.IndexIVFFlat(coarse, dim, cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = seed
        sample = np.sort(np.random.default_rng(seed).permutation(count)[: 64 * cells + 16_384])
        index.train(np.ascontiguousarray(gallery[sample], dtype=np.float32))
        for first in range(0, count, ROWS):
            index.add(np.ascontiguousarray(gallery[first : first + ROWS], dtype=np.float32))
        index.nprobe = min(probes, cells)
        return IndexedGallery(index, gallery)


def search_indexed(
    queries: NDArray[np.floating], indexed: IndexedGallery, *, top: int = 5, refine: int = 20
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest rows by an index, re-scored exactly; some may be missed.

    Args:
        queries: (Q, D) of length 1.
        indexed: The gallery.
        top: Rows given per query.
        refine: Times as many candidates are taken from the index and scored in full.

    Returns:
        As ``search``.
    """
    full = np.ascontiguousarray(queries, dtype=np.float32)
    wanted = min(top * refine, len(indexed.gallery))
    _, near = indexed.index.search(full, wanted)
    rows = np.full((len(full), top), -1, np.int64)
    cosine = np.full((len(full), top), -np.inf, np.float32)
    for at, found in enumerate(near):
        places = np.sort(found[found >= 0])
        scores = np.asarray(indexed.gallery[places], np.float32) @ full[at]
        order = np.argsort(-scores, kind="stable")[:top]
        rows[at, : len(order)] = places[order]
        cosine[at, : len(order)] = scores[order]
    return rows, cosine


def _faiss() -> Any:
    """Import faiss, or say how to get it."""
    try:
        import faiss
    except ImportError as error:
        raise TransectError(
            "an index of a gallery needs faiss, which is not installed. Run: pip install "
            "'transect[search]'."
        ) from error
    return faiss
