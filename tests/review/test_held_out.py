"""What each question shows of a run beside the annotations: only what it did not see."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.review.conftest import write_rows
from transect.classify.held_out import held_out_labels
from transect.count.held_out import held_out_dots
from transect.identify.held_out import held_out_candidates
from transect.pipeline.tasks import TASKS
from transect.run import RunFolder
from transect.task import Reviewable, Rows


@pytest.fixture
def run(tmp_path):
    (tmp_path / "oof").mkdir()
    (tmp_path / "data.json").write_text(json.dumps({"classes": ["adult", "pup"]}))
    return RunFolder(tmp_path)


@pytest.mark.parametrize("question", sorted(TASKS))
def test_every_question_can_be_reviewed(question):
    assert isinstance(TASKS[question](), Reviewable)


def test_dots_that_were_placed_rightly_or_not_but_none_that_were_missed(run):
    head = ("image", "x", "y", "fate", "confidence", "class")
    write_rows(run.oof() / "points.csv", head, ("a", 1, 2, "right", 0.9, "pup"),
               ("a", 3, 4, "invented", 0.4, ""), ("a", 5, 6, "missed", "", ""),
               ("b", 7, 8, "right", 0.8, "pup"))  # fmt: skip
    found = [(i.label, i.point, i.confidence) for i in held_out_dots(run, "a")]
    assert found == [("pup", (1, 2), 0.9), ("adult", (3, 4), 0.4)]


def test_candidates_in_their_order(run):
    head = ("image", "identity", "identity_1", "probability_1", "identity_2", "probability_2")
    write_rows(run.oof() / "answers.csv", head, ("a", "Bo", "Bo", 0.7, "Ada", 0.2),
               ("b", "Cy", "Cy", 0.9, "", ""))  # fmt: skip
    found = [(i.identity, i.confidence) for i in held_out_candidates(run, "a")]
    assert found == [("Bo", 0.7), ("Ada", 0.2)]
    assert [i.identity for i in held_out_candidates(run, "b")] == ["Cy"]
    assert list(held_out_candidates(run, "c")) == []


def test_labels_that_were_said(run):
    values = {"p": np.array([[0.6, 0.8]]), "said": np.array([[True, True]])}
    Rows(("a",), np.zeros(1, np.int64), ("",), values).save(run.oof() / "rows.npz")
    assert [i.label for i in held_out_labels(run, "a")] == ["pup", "adult"]
    assert list(held_out_labels(run, "b")) == []


def test_a_run_on_totals_places_nothing(run):
    assert list(held_out_dots(run, "a")) == []
