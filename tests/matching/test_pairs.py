import numpy as np
import pytest

from transect.matching.pairs import ListedPairs, MatchSpec, all_pairs, run_pairs


def test_brute_force_lists_every_pair_once():
    for source, expected in (
        (all_pairs(7, block=3), {(a, b) for a in range(7) for b in range(a + 1, 7)}),
        (all_pairs(4, 5, block=3), {(a, b) for a in range(4) for b in range(5)}),
    ):
        listed = [tuple(p) for n in range(source.chunks) for p in source.chunk(n)]
        assert len(listed) == len(set(listed))
        assert set(listed) == expected


def test_geometry_finds_the_other_views(keypoints):
    table = run_pairs(all_pairs(6, block=4), keypoints.__getitem__, keypoints.__getitem__)
    strong = {
        (q, g) for q, g, n in zip(table.query, table.gallery, table.inliers, strict=True) if n >= 20
    }
    assert strong == {(0, 4), (1, 5)}
    found = np.isfinite(table.homographies[:, 0, 0])
    assert (table.inliers[~found] == 0).all()
    assert (table.unique <= table.inliers).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_kill_and_any_number_of_workers_change_nothing(tmp_path, keypoints, workers):
    pairs = np.array([(a, b) for a in range(6) for b in range(6) if a != b])
    whole = run_pairs(ListedPairs(pairs), keypoints.__getitem__, keypoints.__getitem__)

    def read(number):
        seen.append(number)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return keypoints[number]

    seen = []
    source = ListedPairs(pairs, per_chunk=7)
    with pytest.raises(KeyboardInterrupt):
        run_pairs(source, read, keypoints.__getitem__, tmp_path, workers=1)
    left = len(list(tmp_path.glob("chunk-*")))
    assert 0 < left < source.chunks
    told = []
    resumed = run_pairs(
        source,
        keypoints.__getitem__,
        keypoints.__getitem__,
        tmp_path,
        workers=workers,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (source.chunks, source.chunks)
    for name in ("query", "gallery", "matches", "inliers", "unique"):
        assert np.array_equal(getattr(resumed, name), getattr(whole, name)), name
    assert np.array_equal(resumed.homographies, whole.homographies, equal_nan=True)


def test_stored_chunks_are_reused_only_for_the_same_question(tmp_path, keypoints):
    source = ListedPairs(np.array([[0, 4], [1, 5]]))

    def broken(number):
        raise AssertionError("read again")

    run_pairs(source, keypoints.__getitem__, keypoints.__getitem__, tmp_path)
    again = run_pairs(source, broken, broken, tmp_path)
    assert again.query.tolist() == [0, 1]
    with pytest.raises(AssertionError):
        run_pairs(source, broken, broken, tmp_path, spec=MatchSpec(ratio=0.7))
    run_pairs(source, keypoints.__getitem__, keypoints.__getitem__, tmp_path)
    (tmp_path / "chunk-000000.npz").write_bytes(b"half")
    mended = run_pairs(source, keypoints.__getitem__, keypoints.__getitem__, tmp_path)
    assert np.array_equal(mended.inliers, again.inliers)


def test_nothing_to_do_is_fine(keypoints):
    source = ListedPairs(np.zeros((0, 2), int))
    assert len(run_pairs(source, keypoints.__getitem__, keypoints.__getitem__)) == 0
