"""Agreement worked out by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from transect.review.agreement import Pair, agreement
from transect.review.marks import Area, Mark


def area(label, rows, columns):
    mask = np.zeros((4, 4), bool)
    mask[rows, columns] = True
    return Mark("x", label, Area.of(mask))


def test_iou_of_masks_by_hand():
    one = [area("a", slice(0, 2), slice(0, 4))]  # 8 pixels
    other = [area("a", slice(1, 3), slice(0, 4))]  # 8 pixels, 4 of them shared
    found = agreement([Pair((4, 4), one, other)], "areas", ["a"])
    assert found == {"iou": pytest.approx(4 / 12), "kappa": pytest.approx(0.0)}


def test_pixels_of_other_classes_count_against_both():
    one, other = [area("a", slice(0, 2), slice(0, 4))], [area("b", slice(0, 2), slice(0, 4))]
    assert agreement([Pair((4, 4), one, other)], "areas", ["a", "b"])["iou"] == 0
    # A class's own union: 8 pixels of a and 8 of b.
    both = [*one, area("b", slice(3, 4), slice(0, 4))]
    found = agreement([Pair((4, 4), both, [*other, both[1]])], "areas", ["a", "b"])
    assert found["iou"] == pytest.approx(4 / 20)


def test_two_empty_masks_agree():
    assert agreement([Pair((4, 4), [], [])], "areas", ["a"]) == {"iou": 1.0}


def test_counts_differ_by_the_mean_over_classes():
    one = [Mark("1", "a", dot=(1, 1)), Mark("2", "a", dot=(2, 2))]
    other = [Mark("1", "b", dot=(1, 1))]
    assert agreement([Pair((4, 4), one, other)], "places", ["a", "b"]) == {"difference": 1.5}


def test_kappa_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    a = rng.choice(list("xyz"), 40)
    b = np.where(rng.random(40) < 0.6, a, rng.choice(list("xyz"), 40))
    pairs = [Pair((4, 4), [Mark("0", i)], [Mark("0", j)]) for i, j in zip(a, b, strict=True)]
    found = agreement(pairs, "labels", [])
    assert found["kappa"] == pytest.approx(cohen_kappa_score(a, b))
    assert found["same"] == pytest.approx(np.mean(a == b))


def test_without_images_nothing_is_said():
    assert agreement([], "areas", ["a"]) == {}
