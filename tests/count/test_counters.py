from dataclasses import replace

import numpy as np
import pytest

from tests.count.test_measures import cells_of
from transect.count.choosing import choose_counter, parts_of
from transect.count.counters import (
    Counter,
    Evidence,
    PlaneCounter,
    fit_plane,
    network_factors,
    straighten,
)
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
    truth = np.array(counts, np.float64)[:, None]
    return Evidence(measured, windows, truth, np.zeros(len(truth), int), np.arange(len(truth)))


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
        np.testing.assert_allclose(again(one, 0), choice.counter(one, 0), rtol=1e-6)
    with pytest.raises(TransectError, match="counter"):
        Counter.load({"planes": [{"method": "sum"}]}, tmp_path)


def test_a_regressor_file_out_of_the_folder_is_refused(tmp_path):
    plane = {**vars(PlaneCounter("regressors")), "models": ["../evil.txt"]}
    value = {"planes": [plane], "unmix": None, "scale": [], "shares": []}
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
    none = np.zeros(40, int)
    shown = Evidence(measured, [np.zeros((0, 2))] * 40, truth, none, np.arange(40))
    decide = CountDecide(methods=("sum",))
    choice = choose_counter(shown, np.arange(40) % 4, decide, seed=0)
    assert choice.unmixed
    before, after = choice.confusion_error
    assert after < 0.6 * before


def test_folds_are_parted_by_group():
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
    parts = parts_of(np.zeros(8, np.int64), groups, 0)
    assert len(np.unique(parts)) == 4
    for name in set(groups):
        assert len({p for p, g in zip(parts, groups, strict=True) if g == name}) == 1
    two = parts_of(np.array([0, 0, 0, 0, 2, 2]), [None] * 6, 0)
    assert not set(two[:4]) & set(two[4:])  # a part lies in one fold
    assert len(np.unique(two)) == 6  # and every fold is left out in parts, not whole
    assert len(np.unique(parts_of(np.zeros(5, int), ["one"] * 5, 0))) == 5  # one photo: its blocks


def test_a_line_adds_what_peaks_and_sums_miss_apart():
    shown = evidence([0, 3, 7, 12, 5, 9, 2, 14])
    decide = CountDecide(methods=("sum", "line", "mean"))
    choice = choose_counter(shown, np.arange(8) % 4, decide, seed=0)
    assert choice.counter.methods == ("line",)
    assert choice.errors[0]["line"] < 0.6 * choice.errors[0]["sum"]
    assert min(choice.counter.planes[0].shares) >= 0


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
    assert choice.counter(blind[0], 0)[0] == pytest.approx(5)
    again = Counter.load(choice.counter.save(tmp_path), tmp_path)
    assert again(blind[1], 0)[0] == pytest.approx(5)


def test_classes_that_share_a_map_are_counted_together_and_divided(tmp_path):
    shown = evidence([0, 3, 7, 12, 5, 9, 2, 14])
    thirds = np.column_stack([shown.truth[:, 0] * 2 / 3, shown.truth[:, 0] / 3])
    windows = [np.column_stack([w * 2 / 3, w / 3]) for w in shown.window_counts]
    merged = replace(shown, window_counts=windows, truth=thirds, merged=True)
    choice = choose_counter(merged, np.arange(8) % 4, CountDecide(methods=("peaks",)), seed=0)
    assert choice.counter.merged
    np.testing.assert_allclose(choice.counter.shares, (2 / 3, 1 / 3))
    assert np.abs(choice.out_of_fold - thirds).mean() < 0.5
    again = Counter.load(choice.counter.save(tmp_path), tmp_path)
    one = shown.measured[3]
    np.testing.assert_allclose(again(one, 0), choice.counter(one, 0))


def bare(sums, truth, networks=None, cells=100):
    """Evidence whose sums are given; there is nothing else to be seen."""
    one = evidence([1]).measured[0]
    measured = [replace(one, sums=np.array([float(s)]), cells=cells) for s in sums]
    networks = np.zeros(len(sums), int) if networks is None else np.asarray(networks)
    windows = [np.zeros((0, 1))] * len(sums)
    return Evidence(measured, windows, np.asarray(truth, float)[:, None], networks,
                    np.arange(len(sums)))  # fmt: skip


def test_a_slope_and_a_bias_are_corrected_out_of_fold():
    """Crowds add up to .8 of themselves, and three objects that are not there are always seen."""
    rng = np.random.default_rng(0)
    truth = rng.integers(5, 120, 40).astype(float)
    shown = bare(0.8 * truth + 3 + rng.normal(0, 1, 40), truth)
    choice = choose_counter(shown, np.arange(40) % 8, CountDecide(methods=("sum",)), seed=0)
    error = choice.out_of_fold[:, 0] - truth
    assert abs(error.mean()) < error.std() / np.sqrt(40)
    assert np.polyfit(truth, choice.out_of_fold[:, 0], 1)[0] == pytest.approx(1, abs=0.02)
    plane = choice.counter.planes[0]
    assert (plane.slope, plane.per_cell) == (pytest.approx(1.25, abs=0.02),
                                             pytest.approx(-0.0375, abs=0.01))  # fmt: skip


def test_peaks_are_corrected_as_any_other_way():
    """Issue 12: a bias of peaks known out of fold shipped, since peaks had no factor."""
    shown = evidence([4, 12, 7, 12, 5, 9, 8, 14, 6, 10, 11, 8])
    seen = replace(shown, truth=1.3 * shown.truth)
    plane = fit_plane(seen, np.arange(12), 0, "peaks", CountDecide(), seed=0)
    counts = np.array([plane(one, 0, 0) for one in seen.measured])
    assert (counts - seen.truth[:, 0]).mean() == pytest.approx(0, abs=1e-9)


def test_few_or_noisy_blocks_give_a_plain_ratio():
    assert straighten(np.array([2.0, 4.0]), np.ones(2), np.array([3.0, 6.0])) == (1.5, 0.0)
    raw = np.array([5.0, 9, 2, 7, 8, 3])
    slope, per_cell = straighten(raw, np.full(6, 10.0), raw + np.array([1.0, 2, -2, -1, -1, 1]))
    assert per_cell == 0
    assert slope == pytest.approx(1)


def test_networks_of_other_levels_are_corrected_each_by_its_own_blocks():
    rng = np.random.default_rng(1)
    networks = np.arange(60) % 3
    truth = rng.integers(20, 60, 60).astype(float)
    level = np.array([1.0, 0.8, 1.2])[networks]
    noisy = level * truth + rng.normal(0, 1, 60)
    factors = network_factors(noisy, truth, networks, np.arange(60))
    np.testing.assert_allclose(factors, (1, 1.25, 1 / 1.2), rtol=0.02)
    shown = bare(noisy, truth, networks)
    parts = parts_of(networks, [None] * 60, 0)
    choice = choose_counter(shown, parts, CountDecide(methods=("sum",)), seed=0)
    assert np.abs(choice.out_of_fold[:, 0] - truth).mean() < 1.5  # 6 without factors


def test_networks_that_differ_by_chance_are_drawn_to_one():
    rng, networks = np.random.default_rng(1), np.arange(60) % 3
    plain, drawn = [], []
    for _ in range(40):
        truth = rng.integers(20, 60, 60).astype(float)
        same = truth + rng.normal(0, 6, 60)
        sums = [truth[networks == k].sum() / same[networks == k].sum() for k in range(3)]
        plain.append(np.abs(np.array(sums) - 1))
        factors = network_factors(same, truth, networks, np.arange(60))
        drawn.append(np.abs(np.array(factors) - 1))
    assert np.mean(drawn) < 0.2 * np.mean(plain)


def test_what_ships_is_the_mean_of_each_networks_own_count():
    shown = bare([10, 30], [1, 1])
    counter = Counter((PlaneCounter("sum", slope=0.1, networks=(1.0, 2.0)),))
    assert counter.mean(shown.measured, [0, 1])[0] == pytest.approx((1 + 6) / 2)
