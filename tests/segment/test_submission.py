"""The competition's file: the same bytes as a slow reference, and 18,000 masks in seconds."""

import time

import numpy as np
import pytest

from transect.data.submission import write_masks


def slow_code(mask):
    """Column-major runs from 1, one pixel at a time."""
    runs, start = [], None
    flat = [bool(mask[r, c]) for c in range(mask.shape[1]) for r in range(mask.shape[0])]
    for i, value in enumerate([*flat, False]):
        if value and start is None:
            start = i
        if not value and start is not None:
            runs += [start + 1, i - start]
            start = None
    return " ".join(str(number) for number in runs)


def slow_file(names, masks):
    rows = ["id,rle_mask"]
    rows += [f"{n.removesuffix('.png')},{slow_code(m)}" for n, m in zip(names, masks, strict=True)]
    return ("\n".join(rows) + "\n").encode()


def masks_like_salt(count, rng, side=101):
    """Empty, full, column-like and ragged masks."""
    heights = rng.integers(0, side + 1, (count, side))
    masks = np.arange(side)[None, :, None] >= heights[:, None, :]
    masks[rng.random(count) < 0.4] = False
    masks[rng.random(count) < 0.02] = True
    masks ^= (rng.random((count, 1, 1)) < 0.3) & (rng.random(masks.shape) < 0.02)
    return masks


def test_the_file_is_the_slow_reference_byte_for_byte(tmp_path):
    masks = masks_like_salt(60, np.random.default_rng(0))
    names = [f"{i:05x}.png" for i in range(len(masks))]
    batches = [(names[i : i + 7], masks[i : i + 7]) for i in range(0, len(masks), 7)]
    assert write_masks(tmp_path / "f.csv", batches) == 60
    assert (tmp_path / "f.csv").read_bytes() == slow_file(names, masks)


@pytest.mark.slow
def test_18000_masks_take_seconds(tmp_path):
    masks = masks_like_salt(1000, np.random.default_rng(1))
    began = time.process_time()
    batches = (([f"{turn}-{i}.png" for i in range(1000)], masks) for turn in range(18))
    assert write_masks(tmp_path / "f.csv", batches) == 18_000
    assert time.process_time() - began < 10
    assert (tmp_path / "f.csv").read_bytes().count(b"\n") == 18_001
