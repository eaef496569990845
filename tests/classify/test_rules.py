"""Rules from probabilities to labels: what is tuned is the best there is, and comes back."""

import itertools

import numpy as np
import pytest

from transect.classify.rules import Rule, expected_grade, fit_rule, measure
from transect.errors import TransectError
from transect.metrics.classify import f_beta_each, weighted_kappa
from transect.recipe import ClassifyDecide

RNG = np.random.default_rng(0)


def several(n=200, labels=3):
    truth = RNG.random((n, labels)) < np.array([0.5, 0.3, 0.15])
    p = np.clip(0.3 * truth + 0.5 * RNG.random((n, labels)) * np.array([1, 0.8, 0.5]), 0.01, 0.99)
    return p, truth, np.arange(n) % 4


def test_a_label_is_scored_as_if_the_whole_metric_were_counted_again():
    from transect.classify.rules import _scores_of_label

    p, truth, _ = several(60)
    marks = p > 0.4
    tried = p[:, 1] >= np.array([[0.2], [0.4], [0.7]])
    for metric in ("f2", "accuracy"):
        slow = []
        for own in tried:
            other = marks.copy()
            other[:, 1] = own
            slow.append(measure(metric, p, other, truth, "several"))
        np.testing.assert_allclose(_scores_of_label(metric, marks, truth, 1, tried), slow)


def test_thresholds_beat_one_half_and_every_common_threshold_of_a_grid():
    p, truth, parts = several()
    rule = fit_rule(p, truth, parts, "several", ClassifyDecide(calibrate="none"))
    found = f_beta_each(rule.answers(rule.probabilities(p)), truth).mean()
    grid = max(f_beta_each(p >= t, truth).mean() for t in np.arange(0.05, 1, 0.05))
    assert found > f_beta_each(p >= 0.5, truth).mean() + 0.02
    assert found > grid - 0.003


def test_a_label_with_few_images_gets_no_threshold_of_its_own():
    from transect.classify.rules import _each_threshold

    p, truth, _ = several()
    truth[:, 2] = False
    truth[:5, 2] = True
    start = np.full(3, 0.31)
    found = _each_threshold(p, truth, "macro_f1", start)
    assert found[2] == 0.31
    assert found[0] != 0.31


def test_a_fixed_threshold_is_kept():
    p, truth, parts = several()
    decide = ClassifyDecide(threshold=0.37, calibrate="none")
    assert fit_rule(p, truth, parts, "several", decide).numbers == (0.37,) * 3


def test_cuts_between_grades_raise_kappa_as_much_as_a_search_of_all():
    n = 150
    grade = RNG.integers(0, 3, n)
    centre = np.clip(0.5 * grade + 0.9 + RNG.normal(0, 0.25, n), 0, 2)  # pulled to the middle
    p = np.exp(-((centre[:, None] - np.arange(3)) ** 2) / 0.3)
    p /= p.sum(axis=1, keepdims=True)
    truth = np.eye(3, dtype=bool)[grade]
    tuned, half = (
        fit_rule(p, truth, np.arange(n) % 3, "grades", ClassifyDecide(calibrate="none", cuts=cuts))
        for cuts in ("tuned", "half")
    )
    kappa = [weighted_kappa(r.answers(p).argmax(axis=1), grade) for r in (tuned, half)]
    expected = expected_grade(p)
    slow = max(
        weighted_kappa(np.searchsorted([a, b], expected, side="right"), grade)
        for a, b in itertools.product(np.arange(0.05, 1, 0.05), np.arange(1.05, 2, 0.05))
    )
    assert half.numbers == (0.5, 1.5)
    assert kappa[0] > kappa[1] + 0.02
    assert kappa[0] > slow - 0.02


def test_rare_labels_are_weighed_where_the_metric_asks_for_it():
    n = 400
    label = (RNG.random(n) < 0.1).astype(int)
    p1 = np.clip(0.08 + 0.35 * label + RNG.normal(0, 0.1, n), 0.01, 0.9)
    p, truth = np.stack([1 - p1, p1], axis=1), np.eye(2, dtype=bool)[label]
    for metric, weighed in (("accuracy", False), ("balanced_accuracy", True)):
        decide = ClassifyDecide(metric=metric, calibrate="none")
        rule = fit_rule(p, truth, np.arange(n) % 4, "single", decide)
        assert (len(set(rule.numbers)) > 1) is weighed
        recall = rule.answers(p)[label == 1, 1].mean()
        assert bool(recall > 0.9) is weighed


@pytest.mark.parametrize("calibrate", ["none", "temperature", "logistic", "isotonic", "best"])
def test_calibration_keeps_rows_that_sum_to_one_and_pays(calibrate):
    n = 300
    label = RNG.integers(0, 3, n)
    z = 6 * np.eye(3)[np.where(RNG.random(n) < 0.7, label, RNG.integers(0, 3, n))]  # too sure
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    truth = np.eye(3, dtype=bool)[label]
    rule = fit_rule(p, truth, np.arange(n) % 3, "single", ClassifyDecide(calibrate=calibrate))
    made = rule.probabilities(p)
    np.testing.assert_allclose(made.sum(axis=1), 1)
    gain = measure("log_loss", made, truth, truth, "single") - measure(
        "log_loss", p, truth, truth, "single"
    )
    assert bool(gain > 0.1) is (calibrate != "none")
    again = Rule.from_json(rule.to_json())
    np.testing.assert_array_equal(again.probabilities(p), made)


def test_a_damaged_rule_is_refused():
    rule = fit_rule(*several(), "several", ClassifyDecide())
    for change in ({"kind": "many"}, {"numbers": ["x"]}, {"numbers": [float("nan")]}):
        with pytest.raises(TransectError, match="no rule for labels"):
            Rule.from_json(rule.to_json() | change)
