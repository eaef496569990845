import numpy as np
import pytest

from tests.count.test_measures import cells_of
from transect.count.counters import Counter, Evidence, choose_counter, parts_of
from transect.count.measures import measure
from transect.count.targets import render
from transect.count.windows import window_counts
from transect.errors import TransectError
from transect.recipe import CountDecide

DECIDE = CountDecide(
    window=16, stride=8, blob_thresholds=(0.05,), pixel_thresholds=(0.1,), regressors=("lightgbm",)
)


def evidence(counts, decide=DECIDE, size_hw=(40, 48)):
    """Maps of Gaussians whose heights vary, so that sums mislead and peaks do not."""
    rng = np.random.default_rng(0)
    measured, windows = [], []
    for number in counts:
        points = np.zeros((0, 2), np.float32)
        while len(points) < number:
            spot = rng.uniform(3, np.array(size_hw[::-1]) - 4).astype(np.float32)
            if not len(points) or np.hypot(*(points - spot).T).min() > 6:
                points = np.concatenate([points, spot[None]])
        planes = render(
            points, np.zeros(len(points), np.int64), target="gaussian", target_px=1.5,
            n_classes=1, size_hw=size_hw,
        )  # fmt: skip
        cells = cells_of(planes * rng.uniform(0.4, 1.0))
        measured.append(measure(cells, decide, radius=2, blur=0.0))
        windows.append(window_counts(cells.to_cells(points), measured[-1].windows)[:, None])
    return Evidence(measured, windows, np.array(counts, np.float64)[:, None])


def test_the_way_that_errs_least_out_of_fold_is_kept():
    shown = evidence([0, 3, 7, 12, 5, 9, 2, 14, 6, 10, 1, 8])
    parts = np.arange(12) % 3
    choice = choose_counter(shown, parts, CountDecide(methods=("sum", "peaks")), seed=0)
    assert choice.counter.methods == ("peaks",)
    assert np.abs(choice.out_of_fold - shown.truth).mean() < 0.5
    assert choice.errors[0]["sum"] > 0.8


def test_a_counter_comes_back_from_its_files(tmp_path):
    shown = evidence([0, 3, 7, 12, 5, 9])
    choice = choose_counter(
        shown, np.arange(6) % 2, CountDecide(**{**vars(DECIDE), "methods": ("regressors",)}), seed=0
    )
    again = Counter.load(choice.counter.save(tmp_path), tmp_path)
    for one in shown.measured:
        np.testing.assert_allclose(again(one), choice.counter(one), rtol=1e-6)
    with pytest.raises(TransectError, match="counter"):
        Counter.load({"methods": ["sum"]}, tmp_path)


def test_a_regressor_file_out_of_the_folder_is_refused(tmp_path):
    value = {"methods": ["regressors"], "factors": [1], "heights": [1], "unmix": None}
    value |= {"scale": [], "shares": [], "lines": [], "models": [["../evil.txt"]]}
    with pytest.raises(TransectError, match="relative path"):
        Counter.load(value, tmp_path)


def test_confused_classes_are_unmixed_only_if_it_pays():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 30, (40, 2)).astype(float)
    said = truth @ np.array([[1.0, 0.0], [0.6, 0.4]])  # two fifths of class 1 are seen as such
    measured = []
    for row in said:
        one = evidence([1]).measured[0]
        measured.append(
            type(one)(row, one.peaks * 2, np.zeros((0, 1, 2), np.float32), None, one.together)
        )
    shown = Evidence(measured, [np.zeros((0, 2))] * 40, truth)
    decide = CountDecide(methods=("sum",))
    choice = choose_counter(shown, np.arange(40) % 4, decide, seed=0)
    assert choice.unmixed
    before, after = choice.confusion_error
    assert after < 0.6 * before


def test_one_trained_fold_is_parted_by_group():
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
    parts = parts_of(np.zeros(8, np.int64), groups, 0)
    assert len(np.unique(parts)) == 4
    for name in set(groups):
        assert len({p for p, g in zip(parts, groups, strict=True) if g == name}) == 1
    assert parts_of(np.array([0, 2, 2]), [None] * 3, 0).tolist() == [0, 1, 1]
