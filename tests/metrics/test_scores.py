import numpy as np
import pytest

from transect.errors import TransectError
from transect.metrics import METRICS, calibration, classify, detect, higher_is_better, spread


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_prefers_the_right_answer(name):
    rng = np.random.default_rng(0)
    masks = np.zeros((3, 16, 16), np.int32)
    masks[:2, 2:9, 3:12] = 1
    wrong = np.roll(masks, 4, 2)
    counts = rng.integers(0, 9, (4, 3))
    classes = np.array([0, 1, 1, 0])
    right, other = {
        "rmse": (counts, counts + 2),
        "mae": (counts, counts + 2),
        "accuracy": (classes, 1 - classes),
        "balanced_accuracy": (classes, 1 - classes),
        "macro_f1": (classes, 1 - classes),
        "auroc": (classes * 0.98 + 0.01, 0.99 - classes * 0.98),
        "f2": (np.eye(2)[classes], np.eye(2)[1 - classes]),
        "weighted_kappa": (classes, 1 - classes),
        "f_beta": (classes, 1 - classes),
        "log_loss": (classes * 0.98 + 0.01, 0.99 - classes * 0.98),
        "brier": (classes * 0.98 + 0.01, 0.99 - classes * 0.98),
        "ece": (classes * 0.98 + 0.01, 0.99 - classes * 0.98),
        "map_at_5": ([["a", "b"]], [["b", "a"]]),
        "top_1": ([["a", "b"]], [["b", "a"]]),
    }.get(name, (masks, wrong))
    truth = {"rmse": counts, "mae": counts, "map_at_5": ["a"], "top_1": ["a"]}.get(name, classes)
    if right is masks:
        truth = masks
    if name == "f2":
        truth = np.eye(2)[classes]
    metric = METRICS[name]
    good, bad = np.mean(metric.function(right, truth)), np.mean(metric.function(other, truth))
    assert np.isfinite([good, bad]).all()
    assert good != bad
    assert (good > bad) == metric.higher_is_better
    assert metric.what


def test_classification_agrees_with_sklearn():
    from sklearn import metrics

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    p = rng.dirichlet(np.ones(3), 50)
    assert classify.log_loss(p, b) == pytest.approx(metrics.log_loss(b, p))
    assert classify.weighted_kappa(a, b) == pytest.approx(
        metrics.cohen_kappa_score(b, a, weights="quadratic")
    )
    assert classify.weighted_kappa([1, 1], [1, 1]) == 1
    assert classify.f_beta(a, b, beta=2, average="macro") == pytest.approx(
        metrics.fbeta_score(b, a, beta=2, average="macro")
    )
    assert classify.f_beta([0, 0], [0, 0]) == 1
    np.testing.assert_array_equal(classify.confusion(a, b, 3), metrics.confusion_matrix(b, a))
    assert classify.balanced_accuracy(a, b) == pytest.approx(metrics.balanced_accuracy_score(b, a))
    assert classify.macro_f1(a, b) == pytest.approx(metrics.f1_score(b, a, average="macro"))
    assert classify.auroc(p, b) == pytest.approx(
        metrics.roc_auc_score(b, p, multi_class="ovr", average="macro")
    )
    for weights in (None, "linear"):
        assert classify.weighted_kappa(a, b, weights=weights or "none") == pytest.approx(
            metrics.cohen_kappa_score(b, a, weights=weights)
        )
    with pytest.raises(TransectError, match="one answer per truth"):
        classify.accuracy([], [])
    with pytest.raises(TransectError, match=r"in 0\.\.1"):
        classify.log_loss([0.5], [2])


def test_several_labels_agree_with_sklearn():
    from sklearn import metrics

    rng = np.random.default_rng(1)
    truth, said = rng.random((40, 4)) < 0.4, rng.random((40, 4)) < 0.5
    chance = np.round(rng.random((40, 4)), 1)  # with ties
    truth[0], said[0] = False, False
    each = classify.f_beta_each(said, truth)
    assert each[0] == 1  # nothing where there is nothing
    some = (truth | said).any(axis=1)
    assert each[some].mean() == pytest.approx(
        metrics.fbeta_score(truth[some], said[some], beta=2, average="samples", zero_division=0)
    )
    assert classify.macro_f1(said, truth) == pytest.approx(
        metrics.f1_score(truth, said, average="macro")
    )
    assert classify.auroc(chance, truth) == pytest.approx(metrics.roc_auc_score(truth, chance))
    assert np.isnan(classify.auroc([0.1, 0.9], [1, 1]))
    assert classify.log_loss(np.clip(chance, 0.05, 0.95), truth.astype(int)) == pytest.approx(
        np.mean([metrics.log_loss(t, p) for t, p in
                 zip(truth.T, np.clip(chance, 0.05, 0.95).T, strict=True)])
    )  # fmt: skip


def test_calibration_by_hand():
    p, t = [0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1]
    curve = calibration.reliability(p, t, bins=10)
    np.testing.assert_allclose(curve.said, [0.1, 0.9])
    np.testing.assert_allclose(curve.came, [0.5, 1.0])
    assert calibration.expected_calibration_error(p, t, bins=10) == pytest.approx(0.25)
    assert calibration.brier(p, t) == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    assert calibration.reliability(p, t, bins=2, equal_mass=True).count.tolist() == [2, 2]
    with pytest.raises(TransectError, match="one probability per truth"):
        calibration.reliability([], [])


def test_boxes_by_hand():
    truth = [{"boxes": np.array([[0, 0, 10, 10], [20, 20, 30, 30]]), "classes": np.array([1, 1])}]
    guess = [
        {
            "boxes": np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 28]]),
            "scores": np.array([0.9, 0.8, 0.7]),
            "classes": np.array([1, 1, 1]),
        }
    ]
    result = detect.box_ap(guess, truth)
    # at .5: hits 1, 0, 1: precision 1 up to recall .5 (51 of 101 points), 2/3 beyond (50 points)
    assert result["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    high = 51 / 101  # above .8 only the first is a hit
    low = (51 + 50 * 2 / 3) / 101
    assert result["ap"] == pytest.approx((7 * low + 3 * high) / 10)
    assert result["recall"] == pytest.approx((7 * 1 + 3 * 0.5) / 10)
    assert np.isnan(detect.box_ap([], [])["ap"])
    nothing = [{"boxes": np.empty((0, 4)), "scores": np.empty(0), "classes": np.empty(0)}]
    assert detect.box_ap(nothing, truth)["ap"] == 0


def test_the_bootstrap_covers_and_groups_widen_it():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        low, high = spread.bootstrap(rng.normal(0, 1, 60), n=300, rng=rng)
        inside += low <= 0 <= high
    assert 86 <= inside <= 100
    site = np.repeat(np.arange(10), 20)
    values = rng.normal(0, 1, 10)[site] + rng.normal(0, 0.1, 200)
    alone, together = spread.bootstrap(values), spread.bootstrap(values, site)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])
    assert spread.bootstrap(values) == alone
    with pytest.raises(TransectError, match="at least one"):
        spread.bootstrap([])


def test_the_bootstrap_of_any_score():
    values = np.arange(50.0)
    low, high = spread.bootstrap_statistic(lambda rows: float(values[rows].mean()), 50)
    assert spread.bootstrap(values) == pytest.approx((low, high), abs=1.5)
    site = np.repeat([0, 1], 25)
    wide = spread.bootstrap_statistic(lambda rows: float(values[rows].mean()), 50, site)
    assert wide == (12, 37)


def test_spread_over_folds():
    mean, deviation, means = spread.over_folds([1, 3, 5, 5], [0, 0, 1, 1])
    assert (mean, deviation) == pytest.approx((3.5, 2.1213203))
    assert means.tolist() == [2, 5]


def test_an_unknown_metric_has_no_direction():
    assert not higher_is_better("mae:pups")
    assert higher_is_better("map10")
    with pytest.raises(TransectError, match="mae"):
        higher_is_better("maee")
