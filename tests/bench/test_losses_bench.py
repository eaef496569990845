import pytest
from benchmarks.hot_paths import blobs, crf, lovasz, salt_metric


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("path", "peer", "factor"),
    [
        (lovasz, "segmentation-models-pytorch", 3),
        (salt_metric, "loop over images and thresholds", 15),
        (blobs, "scikit-image per threshold", 15),
    ],
)
def test_ours_beats_the_peer(path, peer, factor):
    rows = {row.contender: row for row in path.run(quick=True)}
    assert rows[peer].ratio > factor


@pytest.mark.slow
def test_the_grid_field_is_near_the_exact_one():
    rows = {row.contender: row for row in crf.run(quick=True)}
    assert float(rows["ours"].note.split()[2]) < 0.001
