"""Crops to correct: written from a run, corrected by hand, taken back into the survey."""

import cv2
import numpy as np
import pandas as pd
import pytest

from transect.count.annotate import next_to_annotate
from transect.count.annotation_queue import take_back, write_todo
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.types import Quiet


def dotted(root, names, rows, header="image,x,y,class"):
    (root / "images").mkdir(parents=True)
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        cv2.imwrite(str(root / "images" / name), noise)
    (root / "points.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


@pytest.fixture
def survey(tmp_path):
    return dotted(tmp_path / "survey", ["a.png"], ["a.png,3,3,seal", "a.png,9,9,pup"])


def test_corrected_crops_join_the_survey(survey, tmp_path):
    todo = dotted(tmp_path / "todo", ["b.png", "c.png"], ["b.png,5,6,pup", "c.png,7,8,seal"])
    assert take_back(todo, survey) == 2
    joined = open_survey(survey, question="count")
    assert [image.name for image in joined.images] == ["a.png", "b.png", "c.png"]
    assert joined.points.to_numpy().tolist() == [
        ["a.png", 3.0, 3.0, "seal"],
        ["a.png", 9.0, 9.0, "pup"],
        ["b.png", 5.0, 6.0, "pup"],
        ["c.png", 7.0, 8.0, "seal"],
    ]


def test_mistakes_leave_the_survey_as_it_was(survey, tmp_path):
    before = (survey / "points.csv").read_bytes()
    there = dotted(tmp_path / "there", ["a.png"], ["a.png,5,6,pup"])
    with pytest.raises(TransectError, match="is there already"):
        take_back(there, survey)
    strange = dotted(tmp_path / "strange", ["b.png"], ["b.png,5,6,walrus"])
    with pytest.raises(TransectError, match="'walrus', which"):
        take_back(strange, survey)
    broken = dotted(tmp_path / "broken", ["b.png", "c.png"], ["b.png,5,6,pup", "c.png,5,6,pup"])
    (broken / "images" / "c.png").write_bytes(b"no picture")
    with pytest.raises(TransectError, match=r"c\.png"):
        take_back(broken, survey)
    totals = dotted(tmp_path / "totals", ["b.png"], [])
    (totals / "points.csv").unlink()
    (totals / "counts.csv").write_text("image,seal\nb.png,4\n")
    with pytest.raises(TransectError, match=r"must both have points\.csv"):
        take_back(totals, survey)
    assert (survey / "points.csv").read_bytes() == before
    assert [path.name for path in (survey / "images").iterdir()] == ["a.png"]
    with pytest.raises(TransectError, match="not empty"):
        write_todo(tmp_path / "run", survey / "images", [], there)


@pytest.mark.slow  # trains a run first
def test_what_a_run_doubts_becomes_a_survey_to_correct(tiny_run, colony, tmp_path):
    images = colony / "images"
    chosen = next_to_annotate(tiny_run.path, images, 2, progress=Quiet())
    out = write_todo(tiny_run.path, images, chosen, tmp_path / "todo")
    found = open_survey(out, question="count")
    assert len(found.images) == 2
    told = pd.read_csv(out / "suggestions.csv")
    assert told["image"].tolist() == [one.image for one in chosen]
    sizes = {image.name: image.size_hw for image in found.images}
    for row in told.itertuples():
        assert sizes[row.crop] == (row.y1 - row.y0, row.x1 - row.x0)
    dots = found.points.to_numpy()
    assert all(0 <= y < sizes[name][0] and 0 <= x < sizes[name][1] for name, x, y, _ in dots)
