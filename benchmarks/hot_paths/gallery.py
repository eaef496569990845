"""The nearest of a large gallery: exact products, ours, and faiss, with the recall of each."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.hot_paths import Row, absent, interleaved
from transect.openset.search import search

__all__ = ["run"]

_TOP = 5


def run(quick: bool = True) -> list[Row]:
    """Measure the five nearest of vectors of 512 numbers, by cosine.

    Args:
        quick: 100 queries among 20,000; else 1,000 among 1,000,000 (2 GB).

    Returns:
        Rows; ratios to the product alone.
    """
    import torch

    queries_n, gallery_n = (100, 20_000) if quick else (1000, 1_000_000)
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(gallery_n, 512)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    near = gallery[rng.choice(gallery_n, queries_n, replace=False)]
    queries = near + rng.normal(0, 0.03, near.shape).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)

    def product() -> None:
        for start in range(0, gallery_n, 8192):
            queries @ gallery[start : start + 8192].T

    def plain() -> NDArray[np.int64]:
        scores = np.concatenate(
            [queries @ gallery[s : s + 65_536].T for s in range(0, gallery_n, 65_536)], axis=1
        )
        best = np.argpartition(-scores, _TOP, axis=1)[:, :_TOP]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
        return np.take_along_axis(best, order, 1)

    contenders: dict[str, Callable[[], object]] = {
        "limit: the product": product,
        "numpy argpartition": plain,
        "ours": lambda: search(queries, gallery, top=_TOP, half=False),
        "ours, half precision": lambda: search(queries, gallery, top=_TOP, half=True),
    }
    if importlib.util.find_spec("faiss") is not None:
        faiss = importlib.import_module("faiss")
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(512)
        flat.add(gallery)
        contenders["faiss, flat"] = lambda: flat.search(queries, _TOP)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = interleaved(contenders, 3)
        exact = plain()
        notes = {
            name: f"{np.mean(search(queries, gallery, top=_TOP, half=half)[0] == exact):.1%} exact"
            for name, half in (("ours", False), ("ours, half precision", True))
        }
    finally:
        torch.set_num_threads(threads)
    limit = seconds["limit: the product"]
    path = f"gallery, {queries_n} of {gallery_n}"
    return [
        Row(path, name, value, value / limit, notes.get(name, ""))
        for name, value in seconds.items()
    ] + absent(path, "faiss, flat", "faiss", "pip install faiss-cpu")
