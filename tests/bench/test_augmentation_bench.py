"""The contenders of the augmentation benchmark do the same work on the same pictures."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.hot_paths import augmentation


@pytest.mark.parametrize("elastic", [False, True])
def test_ours_and_the_chain_change_all_pictures(elastic):
    rng = np.random.default_rng(0)
    pictures = [
        (rng.integers(0, 256, (128, 128, 3), np.uint8), rng.integers(0, 2, (128, 128), np.uint8))
        for _ in range(2)
    ]
    ours = augmentation._ours(pictures, elastic)()
    assert [s.image.shape for s in ours] == [(128, 128, 3)] * 2
    assert [s.labels.shape for s in ours] == [(128, 128)] * 2
    for peer in (augmentation._chain, augmentation._limit):
        for image, mask in peer(pictures, elastic)():
            assert (image.shape, mask.shape) == ((128, 128, 3), (128, 128))
            assert (image.dtype, mask.dtype) == (np.uint8, np.uint8)


@pytest.mark.slow
def test_one_warp_is_faster_than_a_chain_of_them():
    rows = augmentation.run()
    ratios = {(row.path, row.contender): row.ratio for row in rows}
    for path in {row.path for row in rows}:
        assert ratios[path, "ours"] == 1
        for peer in ("chain in OpenCV", "torchvision v2", "kornia"):
            assert ratios[path, peer] > 1.2
