"""Scores of all pairs by the Siamese head, beside naive blocks, and the pairs mined from them."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.hot_paths import Row, interleaved
from transect.models import siamese
from transect.models.siamese import LowRankScreen, PairHead, pair_score_matrix
from transect.train.mining import mine_negatives

__all__ = ["mined", "run"]


def run(quick: bool = True) -> list[Row]:
    """Measure the pair matrix on one thread.

    Args:
        quick: 256 pictures and the low-rank screen, without the compiler's 20 seconds; else 2048
            pictures, compiled. Pairs are mined among 400 pictures; else among 13,000.

    Returns:
        One row per contender; ratios to ours, as in ``performance.md``.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = _measured(256 if quick else 2048, compiled=not quick)
    finally:
        torch.set_num_threads(threads)
    return rows + mined(400 if quick else 13_000)


def mined(count: int) -> list[Row]:
    """Score all pairs into a file and assign hard negatives, in a process whose peak is read.

    Args:
        count: Pictures of 512 features; three show each individual.

    Returns:
        Rows for the scores, and for the assignment in 8 blocks; ratios to their sum.
    """
    code = "import sys; from benchmarks.hot_paths import siamese; siamese._mine(sys.argv[1:])"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-c", code, folder, str(count)],
            check=True,
            cwd=Path(__file__).parents[2],
        )
        record = json.loads((Path(folder) / "record.json").read_text(encoding="utf-8"))
    whole = record["scores"] + record["assignment"]
    notes = {
        "scores": f"{count * count * 4 / 1e6:.0f} MB on disk, the compiler's time included",
        "assignment": f"{record['paired']:.1%} of the pictures have a partner",
    }
    peak = f"; peak {record['peak_mb']:.0f} MB" if record["peak_mb"] else ""
    return [
        Row(f"siamese pairs {count}", name, record[part], record[part] / whole, notes[part] + peak)
        for name, part in (
            ("scores, into a file", "scores"),
            ("assignment, 8 blocks", "assignment"),
        )
    ]


def _mine(words: list[str]) -> None:
    """The measured process: ``folder`` and ``count`` in, ``folder/record.json`` out."""
    folder, count = Path(words[0]), int(words[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    identities = np.arange(count) // 3
    features = np.abs(rng.normal(size=(count, 512))).astype(np.float32)
    features += np.abs(rng.normal(size=(count // 3 + 1, 512))).astype(np.float32)[identities]
    head = PairHead(512)
    scores = np.memmap(folder / "scores.bin", np.float32, "w+", shape=(count, count))
    started = time.process_time()
    pair_score_matrix(head, features, out=scores)
    scored = time.process_time()
    partners = mine_negatives(scores, identities, noise=1.0, epochs=1, rng=rng, blocks=8)
    record = {
        "scores": scored - started,
        "assignment": time.process_time() - scored,
        "paired": float((partners >= 0).mean()),
        "peak_mb": _peak_mb(),
    }
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _peak_mb() -> float:
    """The most memory this process ever held, pages of the file included; 0 if unknown."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


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
