import numpy as np
import pytest

from transect.audit import hash_pairs


@pytest.mark.parametrize("distance", [0, 3, 6, 10])
def test_multi_index_hashing_finds_what_comparing_all_with_all_finds(distance):
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**63, 400, dtype=np.uint64)
    for row in range(200):  # neighbours with 0..12 flipped bits
        bits = rng.choice(64, rng.integers(0, 13), replace=False)
        flip = np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), initial=np.uint64(0))
        hashes[200 + row] = hashes[row] ^ flip
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    want = np.argwhere(np.triu(apart <= distance, 1))
    assert hash_pairs(hashes, hashes, distance).tolist() == want.tolist()


def test_a_thousand_equal_hashes_are_not_compared_all_with_all():
    pairs = hash_pairs(np.zeros(3000, np.uint64), np.zeros(3000, np.uint64), 10)
    assert len(pairs) < 3000 * 65


def test_no_hashes_give_no_pairs():
    assert hash_pairs(np.zeros(0, np.uint64), np.zeros(0, np.uint64), 10).shape == (0, 2)
