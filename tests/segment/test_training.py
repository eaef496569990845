"""Training of a member: which metric is watched, weights of draws, where rounds begin."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from transect.errors import TransectError
from transect.recipe import CountDecide, Recipe, SegmentDecide
from transect.run import RunFolder
from transect.segment.oof import latest_fit
from transect.segment.rounds import _draw_weights, _keep_better, _last_weights, watched_metric


class Pictures:
    def __init__(self, *names):
        self.images = [type("Image", (), {"name": name}) for name in names]


def test_best_epochs_are_chosen_by_the_competition_metric():
    assert watched_metric(Recipe(decide=SegmentDecide(metric="salt_map"))) == "salt_map"
    assert watched_metric(Recipe(decide=SegmentDecide(metric="ap50"))) == "dice"
    assert watched_metric(Recipe(decide=CountDecide())) == "dice"


def test_weights_of_adversarial_validation_are_read_by_name(tmp_path):
    run, pictures = RunFolder(tmp_path), Pictures("a", "b")
    assert _draw_weights(run, pictures) is None
    run.write_json("weights.json", {"b": 3})
    assert np.array_equal(_draw_weights(run, pictures), [1.0, 3.0])
    run.write_json("weights.json", {"a": 0, "b": -1})
    with pytest.raises(TransectError, match="0 or more"):
        _draw_weights(run, pictures)


def test_a_round_that_made_a_member_worse_is_left_out_and_said(tmp_path):
    said = []
    progress = SimpleNamespace(say=said.append)
    for name, metric in (("", 0.5), ("round1", 0.46), ("round2", 0.3)):
        (tmp_path / name).mkdir(exist_ok=True)
        snapshot = {"metric": metric, "file": "a", "weight": 1.0}
        (tmp_path / name / "done.json").write_text(json.dumps({"snapshots": [snapshot]}))
    _keep_better(tmp_path / "done.json", tmp_path / "round1", "bes", progress)
    assert not said  # within the noise
    _keep_better(tmp_path / "round1" / "done.json", tmp_path / "round2", "bes", progress)
    _keep_better(tmp_path / "round1" / "done.json", tmp_path / "round2", "bes", progress)
    assert len(said) == 1
    assert "0.300 on validation after it, 0.460 before it" in said[0]
    assert latest_fit(tmp_path).name == "round1"


def test_the_latest_round_answers_and_an_earlier_one_teaches(tmp_path):
    for name in ("", "round2", "round10"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "done.json").write_text("{}")
    (tmp_path / "round11").mkdir()  # not finished
    assert latest_fit(tmp_path).name == "round10"
    assert latest_fit(tmp_path, before_round=10).name == "round2"
    assert latest_fit(tmp_path, before_round=2) == tmp_path


def test_a_round_begins_with_the_last_or_the_best_weights(tmp_path):
    snapshots = [{"file": "good", "metric": 0.9}, {"file": "late", "metric": 0.5}]
    (tmp_path / "done.json").write_text(json.dumps({"snapshots": snapshots}))
    assert _last_weights(tmp_path / "done.json", "best").name == "good"
    assert _last_weights(tmp_path / "done.json", "previous").name == "late"
