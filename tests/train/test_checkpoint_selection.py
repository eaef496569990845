import pytest

from transect.recipe import Schedule, Stage
from transect.train.checkpoint_selection import Score, best_epoch, kept, stale_epochs

SCORES = [Score(e, m, {"a": m, "b": -m}) for e, m in enumerate([1, 5, 3, 4, 2, 4], 1)]
THREE = Schedule("cosine_restarts", cycles=3)


def epochs(keep, *, final=True, upto=6, **more):
    stage = Stage(epochs=6, schedule=THREE, keep=keep, **more)
    return [epoch for epoch, _ in kept(stage, SCORES[:upto], final=final)]


def test_each_rule_by_hand():
    assert epochs("last") == [6]
    assert epochs("best") == [2]
    assert epochs("best_k", keep_k=3) == [2, 4, 6]
    assert epochs("cycle_end") == [2, 4, 6]
    assert epochs("cycle_best") == [2, 4, 6]
    assert epochs("best_each") == [1, 2, 6]


def test_first_cycles_are_dropped():
    assert epochs("cycle_end", drop_first=1) == [4, 6]
    assert epochs("best", drop_first=1) == [4]


def test_weights_fall_with_the_rank():
    stage = Stage(epochs=6, keep="best_k", keep_k=3, keep_decay=0.8)
    weights = [weight for _, weight in kept(stage, SCORES, final=True)]
    total = 1 + 0.8 + 0.64
    assert weights == pytest.approx([1 / total, 0.8 / total, 0.64 / total])


def test_nothing_is_kept_that_later_epochs_replace_before_the_end():
    assert epochs("last", final=False, upto=3) == []
    assert epochs("cycle_end", final=False, upto=3) == [2]
    assert epochs("best", final=False, upto=1) == [1]


def test_stage_that_stops_before_its_first_cycle_ends_keeps_the_last_epoch():
    assert epochs("cycle_end", upto=1) == [1]


def test_metric_that_is_not_a_number_is_never_the_best():
    scores = [Score(1, float("nan")), Score(2, -3.0), Score(3, float("nan"))]
    assert best_epoch(scores) == 2
    assert stale_epochs(scores, 3) == 1
    assert best_epoch([]) is None
