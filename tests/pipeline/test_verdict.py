"""Whether a run is worth using: told from paired gains over answers that need no training."""

import numpy as np
import pytest

from transect.metrics.score import Score, Trivial, scores_from_json, scores_to_json
from transect.metrics.spread import bootstrap
from transect.pipeline.verdict import scored, trivial_rows, verdict_on
from transect.task import Rows


class Depth:
    """A question with one metric, the mean absolute error."""

    def scores(self, rows, run):
        error = rows["error"]
        if not len(error):
            return {}
        return {"mae": Score(error.mean(), bootstrap(error, rows.sampling_groups), (), len(error))}

    def unit_values(self, rows):
        return "error_saved", -rows["error"]


def rows_of(error, trivial, groups=None, **values):
    count = len(error)
    return Rows(
        tuple(f"p{i}" for i in range(count)),
        np.zeros(count, np.int64),
        tuple(groups or [""] * count),
        {"error": np.asarray(error, float), **values},
        {"doing nothing": -np.asarray(trivial, float)},
    )


def judged(rows):
    return verdict_on(scored(Depth(), rows, None))


def test_a_run_that_is_better_everywhere_is_worth_using():
    rng = np.random.default_rng(0)
    found = judged(rows_of(rng.uniform(0, 1, 40), rng.uniform(2, 3, 40)))
    assert found.use is True
    assert found.sentence.startswith("Worth using: better than doing nothing (mean error in")


def test_a_gain_whose_interval_holds_zero_is_none():
    rng = np.random.default_rng(0)
    error = rng.uniform(0, 4, 40)
    found = judged(rows_of(error, error + np.tile([0.8, -0.7], 20)))
    assert found.use is False
    assert found.sentence.startswith("Do not use: no better than doing nothing (mean error in")


def test_the_comparison_is_paired():
    """Units differ by far more than the two answers: apart, their intervals would overlap."""
    error = np.linspace(0, 100, 30)
    found = scored(Depth(), rows_of(error, error + np.linspace(0.5, 1.5, 30)), None)["mae"]
    assert found.interval[1] - found.interval[0] > 15
    assert 0.85 < found.trivial[0].interval[0] < found.trivial[0].interval[1] < 1.15
    assert verdict_on({"mae": found}).use is True


def test_units_of_one_group_are_drawn_together():
    """Sixty units that are better by the same luck of three sites prove nothing."""
    groups = [f"site {i % 3}" for i in range(60)]
    found = scored(Depth(), rows_of(np.full(60, 1.0), np.full(60, 2.0), groups), None)["mae"]
    assert found.interval is None
    assert found.why == "an interval needs 5 groups; there are 3"
    assert found.trivial[0].interval is None
    verdict = verdict_on({"mae": found})
    assert verdict.use is None
    assert "there are 3" in verdict.sentence


def test_no_interval_has_no_width():
    found = scored(Depth(), rows_of(np.full(20, 1.0), np.full(20, 2.0)), None)["mae"]
    assert found.interval is None
    assert found.trivial[0].interval is None
    assert "same value" in found.why
    assert verdict_on({"mae": found}).use is True  # the same gain twenty times
    same = scored(Depth(), rows_of(np.full(20, 1.0), np.full(20, 1.0)), None)
    assert verdict_on(same).use is False


def test_weights_count_in_the_gain():
    weight = np.array([3.0] * 10 + [1.0] * 10)
    rows = rows_of([0.0] * 10 + [9.0] * 10, [1.0] * 20, weight=weight)
    assert scored(Depth(), rows, None)["mae"].trivial[0].gain == pytest.approx((3 - 8) / 4)


def test_where_single_units_have_another_measure_the_sentence_names_it():
    class Labels(Depth):
        def scores(self, rows, run):
            return {"auc": Score(0.9, (0.8, 1.0), (), len(rows))}

        def unit_values(self, rows):
            return "share_right", 1 - rows["error"]

    rows = rows_of([0.25, 0.5] * 10, [0.0] * 20)
    rows.trivial["doing nothing"] = np.full(20, 0.125)
    found = scored(Labels(), rows, None)
    assert "(share right 0.625 against 0.125; gain 0.5," in verdict_on(found).sentence
    assert scores_from_json(scores_to_json(found)) == found


def test_without_a_trivial_answer_nothing_is_claimed():
    rows = Rows(("a",), np.zeros(1, np.int64), ("",), {"error": np.ones(1)})
    assert judged(rows).use is None
    assert verdict_on({}).sentence.startswith("Not judged")


def test_scores_and_trivial_answers_survive_json_and_rows_survive_a_file(tmp_path):
    rows = rows_of([1.0, 2, 3, 4, 5, 6], [2.0, 2, 4, 4, 9, 9])
    scores = scored(Depth(), rows, None)
    assert scores_from_json(scores_to_json(scores)) == scores
    rows.save(tmp_path / "rows.npz")
    back = Rows.load(tmp_path / "rows.npz")
    assert scored(Depth(), back, None) == scores
    assert len(back.without(["p0"]).trivial["doing nothing"]) == 5


def test_the_best_trivial_answer_stands_first_and_its_table_has_a_dash():
    few = Trivial("b", 3.0, 1.0, None, "an interval needs 5 groups; there are 2")
    assert trivial_rows(Score(2.0, None, (), 4, "", (few,))) == [["b", 3.0, 1.0, "–", few.why]]
    rows = rows_of([1.0] * 9, [2.0] * 9)
    rows.trivial["worse"] = np.full(9, -8.0)
    first, second = scored(Depth(), rows, None)["mae"].trivial
    assert (first.name, second.name) == ("doing nothing", "worse")
