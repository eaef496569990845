import json

import numpy as np
import pytest

from transect.ensemble.conformal import fit_intervals, intervals_from_json, measured_coverage
from transect.errors import TransectError


def survey(rng, groups=12, per=15, shared=0.0):
    names = np.repeat(np.arange(groups), per)
    rate = rng.gamma(2, 10, groups * per)
    factor = 1 + shared * rng.normal(size=groups)[names]
    truth = rng.poisson(rate * np.clip(factor, 0.1, None))
    return rate, truth, names


@pytest.mark.parametrize("nominal", [0.8, 0.9])
def test_new_pictures_are_covered_as_promised(nominal):
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(40):
        p, y, _ = survey(rng)
        ends = fit_intervals(p[:100], y[:100], nominal=nominal)(p[100:])
        inside.append(np.mean((ends[:, 0] <= y[100:]) & (y[100:] <= ends[:, 1])))
    assert nominal - 0.02 <= np.mean(inside) <= nominal + 0.05


def test_large_counts_get_wider_intervals():
    p, y, _ = survey(np.random.default_rng(0))
    ends = fit_intervals(p, y)([1.0, 100.0])
    assert ends[1, 1] - ends[1, 0] > 2 * (ends[0, 1] - ends[0, 0])
    assert ends.min() >= 0


@pytest.mark.parametrize("shared", [0.0, 0.3])
def test_totals_of_new_surveys_are_covered(shared):
    rng = np.random.default_rng(1)
    held = []
    for _ in range(150):
        p, y, names = survey(rng, shared=shared)
        fitted = fit_intervals(p, y, groups=names)
        new_p, new_y, new_names = survey(rng, groups=8, shared=shared)
        _, low, high = fitted.total(new_p, new_names + 100)
        held.append(low <= new_y.sum() <= high)
    assert 0.84 <= np.mean(held) <= 0.97


def test_a_total_of_unknown_groups_is_wider():
    p, y, names = survey(np.random.default_rng(0), shared=0.3)
    fitted = fit_intervals(p, y, groups=names)
    known, unknown = fitted.total(p, names), fitted.total(p)
    assert unknown[2] - unknown[1] > known[2] - known[1]
    assert fitted.total([]) == (0.0, 0.0, 0.0)


def test_measured_coverage_leaves_groups_out():
    p, y, names = survey(np.random.default_rng(0), groups=20)
    found = measured_coverage(p, y, groups=names)
    assert 0.82 <= found.measured <= 0.97
    assert found.low < found.measured < found.high
    assert len(found.by_group) == 20
    assert found.by_group["3"][0] == 15
    shifted = y + 60 * (names == 3)
    assert measured_coverage(p, shifted, groups=names).by_group["3"][1] == 0


def test_too_few_residuals_are_admitted():
    fitted = fit_intervals([1.0, 5.0, 9.0], [2, 4, 12])
    assert not fitted.exact
    assert fit_intervals(np.arange(60.0), np.arange(60) % 7).exact


def test_perfect_and_constant_predictions_do_not_break():
    perfect = fit_intervals([3.0, 3.0, 3.0], [3, 3, 3])
    np.testing.assert_allclose(perfect([3.0]), [[3, 3]], atol=1e-6)
    assert np.isfinite(fit_intervals([0.0, 0.0], [0, 5])([0.0])).all()


def test_intervals_survive_json():
    p, y, names = survey(np.random.default_rng(0))
    fitted = fit_intervals(p, y, groups=names)
    assert intervals_from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    with pytest.raises(TransectError, match="no intervals"):
        intervals_from_json({**fitted.to_json(), "low": "nan"})
    with pytest.raises(TransectError, match="no intervals"):
        intervals_from_json([1])


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (([1.0], [1]), {}, "two pictures"),
        (([1.0, 2.0], [1]), {}, "one entry per picture"),
        (([1.0, np.nan], [1, 2]), {}, "finite"),
        (([1.0, 2.0], [1, 2]), {"nominal": 1.0}, "between 0 and 1"),
    ],
)
def test_mistakes_are_explained(arguments, options, says):
    with pytest.raises(TransectError, match=says):
        fit_intervals(*arguments, **options)


def test_one_group_cannot_measure_coverage():
    with pytest.raises(TransectError, match="one group only"):
        measured_coverage([1.0, 2.0, 3.0], [1, 2, 3], groups=["a", "a", "a"])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_few_residuals_hold_as_promised_and_are_no_wider_than_needed(power):
    """Twenty-six residuals: the extremes of both tails held 93 % and were a third wider."""
    rng = np.random.default_rng(3)
    inside, widths, extremes = [], [], []
    for _ in range(200):
        p = rng.gamma(4, 30, 126)
        y = p + 0.3 * np.maximum(p, 1) ** power * rng.normal(size=126)
        ends = fit_intervals(p[:26], y[:26], least=None)(p[26:])
        inside.append(np.mean((ends[:, 0] <= y[26:]) & (y[26:] <= ends[:, 1])))
        widths.append(np.mean(ends[:, 1] - ends[:, 0]))
        extremes.append(np.ptp(y[:26] - p[:26]))
    assert 0.88 <= np.mean(inside) <= 0.93
    assert np.mean(widths) < 0.95 * np.mean(extremes)


def test_the_growth_of_residuals_is_found_in_them():
    rng = np.random.default_rng(0)
    p = rng.uniform(5, 300, 400)
    for power, noise in ((0.0, 10.0), (0.5, 1.0), (1.0, 0.1)):
        ends = fit_intervals(p, p + noise * p**power * rng.normal(size=400))([20.0, 280.0])
        few, many = ends[:, 1] - ends[:, 0]
        assert 0.5 * 14**power < many / few < 1.3 * 14**power
