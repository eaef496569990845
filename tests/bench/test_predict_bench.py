import pytest
from benchmarks.hot_paths import tiling


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tiling_costs_little_beside_the_model():
    rows = {row.contender: row for row in tiling.run(quick=True)}
    assert rows["ours"].ratio < 1.15
