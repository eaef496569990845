"""Scores of all pairs by the Siamese head: naive blocks, ours with and without the compiler."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from transect.bench import Row, interleaved
from transect.models import siamese
from transect.models.siamese import LowRankScreen, PairHead, pair_score_matrix

__all__ = ["run"]


def run(quick: bool = True) -> list[Row]:
    """Measure the pair matrix on one thread.

    Args:
        quick: 256 pictures and the low-rank screen, without the compiler's 20 seconds; else 2048
            pictures, compiled.

    Returns:
        One row per contender; ratios to ours, as in ``performance.md``.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measured(256 if quick else 2048, compiled=not quick)
    finally:
        torch.set_num_threads(threads)


def _measured(count: int, *, compiled: bool) -> list[Row]:
    """Rows for ``count`` pictures of 512 features."""
    torch.manual_seed(0)
    head = PairHead(512)
    values = np.abs(np.random.default_rng(0).normal(size=(count, 512))).astype(np.float32)
    features = torch.from_numpy(values)
    screen = LowRankScreen(head, features)
    few = features[: min(count, 256)]  # the naive forms are timed on these and scaled up
    scale = (count / len(few)) ** 2
    contenders: dict[str, Callable[[], object]] = {
        "naive, block 64": functools.partial(_naive, head, few, 64),
        "naive, block 16": functools.partial(_naive, head, few, 16),
        "ours, no compiler": functools.partial(_eager, head, few),
        "ours, rank 16 screen": functools.partial(screen.matrix, features, features),
    }
    scaled = {"naive, block 64", "naive, block 16", "ours, no compiler"}
    if compiled and siamese._compiled("cpu") is not None:
        contenders["ours"] = functools.partial(pair_score_matrix, head, features)
    seconds = interleaved(contenders, 3)
    seconds = {name: s * (scale if name in scaled else 1.0) for name, s in seconds.items()}
    reference = seconds.get("ours", seconds["ours, no compiler"])
    exact = head.matrix(few)
    error = float((screen.matrix(few, few) - exact).abs().max() / exact.std())
    notes = {"ours, rank 16 screen": f"largest error {error:.2g} of the scores' deviation"}
    return [
        Row(f"siamese matrix {count}", name, s, s / reference, notes.get(name, ""))
        for name, s in seconds.items()
    ]


@torch.no_grad()
def _naive(head: PairHead, features: Tensor, block: int) -> Tensor:
    """All pairs by repeating rows, block by block, as most ports of the kernel do."""
    rows = []
    for top in range(0, len(features), block):
        a = features[top : top + block]
        parts = []
        for left in range(0, len(features), block):
            b = features[left : left + block]
            x = a.repeat_interleave(len(b), 0)
            y = b.repeat(len(a), 1)
            parts.append(head(x, y).view(len(a), len(b)))
        rows.append(torch.cat(parts, 1))
    return torch.cat(rows)


def _eager(head: PairHead, features: Tensor) -> Tensor:
    """Ours as it runs where there is no compiler (always, for so few pairs)."""
    return head.matrix(features)
