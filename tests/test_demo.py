"""The demos, from simulated survey to scored answers, on surveys that take seconds."""

import pytest

from transect import demo
from transect.count import demonstration as count_demo
from transect.identify import demonstration as identify_demo
from transect.segment import demonstration as segment_demo
from transect.types import Quiet

pytestmark = pytest.mark.slow  # each trains a pretrained network for a few seconds


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(demo, "_SECONDS", dict.fromkeys(demo._SECONDS, 5.0))
    monkeypatch.setattr(segment_demo, "_TRAIN", 24)
    monkeypatch.setattr(segment_demo, "_TEST", 6)
    monkeypatch.setattr(count_demo, "_TRAIN", 8)
    monkeypatch.setattr(count_demo, "_TEST", 3)
    monkeypatch.setattr(identify_demo, "_IDENTITIES", 10)
    monkeypatch.setattr(identify_demo, "_IMAGES", 60)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("segment", ["score on 6 test patches", "all empty", "best grey threshold"]),
        ("count", ["score on 3 test photos", "always the mean", "scale checked"]),
        ("identify", ["all together", "networks only", "geometry only", "always new"]),
    ],
)
def test_a_demo_scores_its_run_beside_trivial_answers(question, words, tmp_path):
    lines = demo.demo(question, tmp_path, seed=1, device="cpu", threads=1, progress=Quiet())
    for word in words:
        assert any(word in line for line in lines), word
    assert (tmp_path / question / "run" / "report.html").is_file()
