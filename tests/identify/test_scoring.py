import dataclasses

import numpy as np
import pytest

from transect.identify.scoring import labels_of, named, rows_of, scores_of
from transect.openset.decider import Decision
from transect.openset.evidence import NOBODY, UNKNOWN

PEOPLE = np.array(["Ada", "Bob", "Cem"])


def answers():
    ranked = np.array(
        [[0, UNKNOWN, 1], [UNKNOWN, 1, 0], [UNKNOWN, 2, NOBODY], [2, UNKNOWN, NOBODY]], np.int64
    )
    probability = np.array([[0.9, 0.05, 0.01], [0.6, 0.3, 0.1], [0.8, 0.1, 0], [0.7, 0.2, 0]])
    new = np.array([0.05, 0.6, 0.8, 0.2])
    known = np.array(
        [[0, 1, NOBODY], [1, 0, NOBODY], [2, NOBODY, NOBODY], [2, NOBODY, NOBODY]], np.int64
    )
    poor = np.array([False, False, False, True])
    return Decision(ranked, probability, known, probability, new, -new, poor)


def scored(truth, weights=None):
    groups = ["e1", "e2", "e3", "e4"]
    found = named(["a", "b", "c", "d"], groups, np.array([0, 0, 1, 1]), answers(), PEOPLE, "new")
    names = ["new" if number == UNKNOWN else str(PEOPLE[number]) for number in truth]
    rows = rows_of(found, names, unknown="new", share=None)
    if weights is not None:
        rows = dataclasses.replace(rows, values={**rows.values, "weight": np.array(weights)})
    return scores_of(rows, unknown="new", top_k=3)


def test_the_figures_by_hand():
    found = scored([0, 1, UNKNOWN, UNKNOWN])
    assert found["map3"].value == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)
    assert found["map3"].folds == pytest.approx([0.75, 0.75])
    assert found["accuracy"].value == 0.5
    assert found["known_top1"].value == 1.0  # "new" left aside, both names come first
    assert found["false_new"].value == 0.5
    assert found["false_match"].value == 0.5
    assert found["auroc_new"].value == 0.75
    assert found["cannot_tell"].value == 0.25


def test_weights_move_the_headline_and_not_the_figure_as_split():
    found = scored([0, 1, UNKNOWN, UNKNOWN], [2, 0.5, 1, 0.5])
    assert found["map3"].value == pytest.approx((2 * 1 + 0.5 * 0.5 + 1 + 0.5 * 0.5) / 4)
    assert found["map3_as_split"].value == pytest.approx(0.75)


def test_without_unknown_photos_their_figures_are_left_out():
    found = scored([0, 1, 2, 2])
    assert "false_match" not in found
    assert "auroc_new" not in found


def test_labels_leave_out_empty_places():
    assert labels_of(answers().ranked, PEOPLE, "new")[3] == ["Cem", "new"]


def test_scores_do_not_depend_on_the_numbers_of_a_catalogue():
    names = np.append(PEOPLE, ["Zoe"])
    other = named("abcd", "efgh", np.zeros(4, int), answers(), names, "new")
    rows = rows_of(other, ["Ada", "Bob", "new", "new"], unknown="new", share=None)
    assert scores_of(rows, unknown="new", top_k=3)["map3"].value == pytest.approx(0.75)
    assert scores_of(rows.without("abcd"), unknown="new", top_k=3) == {}
