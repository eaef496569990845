from dataclasses import replace

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
    window=16,
    stride=8,
    blob_thresholds=(0.05,),
    pixel_thresholds=(0.1,),
    regressors=("extratrees_small",),
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
    shown = evidence([0, 3, 7])
    choice = choose_counter(
        shown, np.arange(3) % 2, CountDecide(**{**vars(DECIDE), "methods": ("regressors",)}), seed=0
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


def test_a_line_adds_what_peaks_and_sums_miss_apart():
    shown = evidence([0, 3, 7, 12, 5, 9, 2, 14])
    decide = CountDecide(methods=("sum", "line", "mean"))
    choice = choose_counter(shown, np.arange(8) % 4, decide, seed=0)
    assert choice.counter.methods == ("line",)
    assert choice.errors[0]["line"] < 0.6 * choice.errors[0]["sum"]
    assert min(choice.counter.lines[0]) >= 0


def test_the_mean_is_kept_where_maps_say_nothing(tmp_path):
    shown = evidence([4, 5, 6, 5, 4, 6, 5, 5])
    noise = np.random.default_rng(1)
    blind = [
        replace(m, sums=noise.uniform(0, 50, 1), peaks=(m.peaks[0][: noise.integers(1, 4)],))
        for m in shown.measured
    ]
    shown = replace(shown, measured=blind)
    decide = CountDecide(methods=("sum", "peaks", "mean"))
    choice = choose_counter(shown, np.arange(8) % 4, decide, seed=0)
    assert choice.counter.methods == ("mean",)
    assert choice.counter(blind[0])[0] == pytest.approx(5)
    again = Counter.load(choice.counter.save(tmp_path), tmp_path)
    assert again(blind[1])[0] == pytest.approx(5)


def test_classes_that_share_a_map_are_counted_together_and_divided(tmp_path):
    shown = evidence([0, 3, 7, 12, 5, 9, 2, 14])
    thirds = np.column_stack([shown.truth[:, 0] * 2 / 3, shown.truth[:, 0] / 3])
    windows = [np.column_stack([w * 2 / 3, w / 3]) for w in shown.window_counts]
    merged = Evidence(shown.measured, windows, thirds, merged=True)
    choice = choose_counter(merged, np.arange(8) % 4, CountDecide(methods=("peaks",)), seed=0)
    assert choice.counter.merged
    np.testing.assert_allclose(choice.counter.shares, (2 / 3, 1 / 3))
    assert np.abs(choice.out_of_fold - thirds).mean() < 0.5
    again = Counter.load(choice.counter.save(tmp_path), tmp_path)
    np.testing.assert_allclose(again(shown.measured[3]), choice.counter(shown.measured[3]))
