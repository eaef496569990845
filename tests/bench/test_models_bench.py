import pytest
from benchmarks.hot_paths import siamese, steps


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_pair_matrix_beats_the_naive_blocks():
    rows = {row.contender: row for row in siamese.run(quick=True)}
    assert rows["naive, block 64"].ratio > 1.5
    assert rows["ours, rank 16 screen"].ratio < 0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_training_step_beats_the_plain_one():
    rows = {row.contender: row for row in steps.run(quick=True)}
    assert rows["ours, channels_last"].ratio < 0.9
