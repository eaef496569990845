"""``--masks``: the user says what the numbers in the masks are, on every command."""

import numpy as np
import pytest
from PIL import Image

from transect.cli import main
from transect.data.manifest import masks_said, read_as
from transect.data.survey import open_survey

LAYOUT = [(1, 2), (1, 2), (2, 1)]


@pytest.fixture
def ambiguous(tmp_path):
    """Two squares a mask, numbered 1 and 2: classes or objects?"""
    for i, (left, right) in enumerate(LAYOUT):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"p{i}.png")
        mask = np.zeros((40, 60), np.uint8)
        mask[5:20, 5:20], mask[5:20, 35:50] = left, right
        Image.fromarray(mask).save(tmp_path / "masks" / f"p{i}.png")
    return tmp_path


def test_audit_asks_what_could_be_either_and_does_as_told(ambiguous, capsys):
    assert main(["audit", str(ambiguous)]) == 1
    asked = capsys.readouterr().out
    assert "may mean classes or objects" in asked
    assert "--masks classes or --masks instances" in asked
    for kind in ("classes", "instances", "binary"):
        main(["audit", str(ambiguous), "--masks", kind])
        assert f"masks are read as {kind} (as you say; values 1, 2)" in capsys.readouterr().out


def test_convert_reads_a_survey_as_told(ambiguous, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert main(["convert", str(ambiguous), str(out), "--masks", "instances"]) == 0
    text = out.read_text()
    assert text.count('"category_id"') == 6
    assert text.count('"supercategory"') <= 1


def test_counting_takes_what_could_be_either_for_objects(ambiguous):
    survey = open_survey(ambiguous, question="count")
    assert len(survey.points) == 6
    assert any("read as instances" in note for note in survey.notes)


def test_the_word_holds_for_one_command_only(ambiguous):
    with read_as(masks="classes"):
        assert open_survey(ambiguous).classes == ("1", "2")
        assert open_survey(ambiguous, mask_kind="binary").classes == ("1", "2")
    assert masks_said() is None
    assert open_survey(ambiguous, mask_kind="binary").classes == ("foreground",)


@pytest.mark.parametrize("command", ["audit", "train", "score", "calibrate", "convert"])
def test_every_command_that_opens_a_survey_takes_it(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--masks {binary,classes,instances}" in capsys.readouterr().out
