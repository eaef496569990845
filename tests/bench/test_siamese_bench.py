import numpy as np
import pytest
from benchmarks.hot_paths import siamese


@pytest.mark.slow  # a process that imports torch
def test_pairs_are_mined_from_a_file_in_bounded_memory():
    scores, assignment = siamese.mined(300)
    assert scores.seconds > 0
    assert assignment.seconds > 0
    assert scores.ratio + assignment.ratio == pytest.approx(1)
    assert "peak" in scores.note
    assert float(assignment.note.split("%")[0]) > 95


def test_a_score_matrix_on_disk_is_mined_like_one_in_memory(tmp_path):
    from transect.train.mining import mine_negatives

    values = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    stored = np.memmap(tmp_path / "s.bin", np.float32, "w+", shape=values.shape)
    stored[:] = values

    def mine(scores):
        rng = np.random.default_rng(1)
        return mine_negatives(scores, np.arange(40) // 2, noise=1.0, epochs=2, rng=rng, blocks=2)

    np.testing.assert_array_equal(mine(values), mine(stored))
    np.testing.assert_array_equal(stored, values)
