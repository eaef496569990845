"""The messages of counting, one by one."""

import cv2
import numpy as np
import pytest

from tests.count.conftest import TINY, with_decide
from tests.verbs import count
from transect.count import choosing
from transect.count.annotate import next_to_annotate
from transect.count.calibrate import calibrate
from transect.count.counters import Counter
from transect.count.decisions import Decisions
from transect.count.pictures import CountPictures
from transect.count.training import Task
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.recipe import Recipe
from transect.run import RunFolder
from transect.types import Quiet


def dotted(root, rows, header="image,x,y,class", table="points.csv"):
    (root / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        cv2.imwrite(str(root / "images" / name), noise)
    (root / table).write_text("\n".join([header, *rows]) + "\n")
    return root


def test_surveys_that_teach_nothing(tmp_path):
    few = open_survey(dotted(tmp_path / "few", ["a.png,3,3,seal"]))
    with pytest.raises(TransectError, match="at least 2 dots"):
        count.prepare(few, tmp_path / "cache", Quiet())
    totals = open_survey(dotted(tmp_path / "t", ["a.png,3", "b.png,4"], "image,seal", "counts.csv"))
    with pytest.raises(TransectError, match="totals only"):
        CountPictures(totals)
    with pytest.raises(TransectError, match="does not count"):
        Task.of(Recipe(), 1)


@pytest.mark.slow  # trains a run first
def test_new_photos_that_cannot_be_counted(tiny_run, tmp_path):
    (tmp_path / "none").mkdir()
    options = {"device": "cpu", "progress": Quiet()}
    with pytest.raises(TransectError, match="no picture that can be read"):
        next_to_annotate(tiny_run.path, tmp_path / "none", 1, progress=Quiet())
    with pytest.raises(TransectError, match="no picture that can be read"):
        count.predict(tiny_run.path, tmp_path / "none", tmp_path / "out", **options)
    root = dotted(tmp_path / "s", ["a.png,3,3,walrus", "b.png,3,3,walrus"])
    images = root / "images"
    with pytest.raises(TransectError, match="a format must be"):
        count.predict(tiny_run.path, images, tmp_path / "out", formats=("x",), **options)
    with pytest.raises(TransectError, match="a scale must be"):
        count.predict(tiny_run.path, images, tmp_path / "out", scale="x", **options)
    with pytest.raises(TransectError, match=r"no photo of .* has a position"):
        count.predict(
            tiny_run.path, images, tmp_path / "out", formats=("geojson",), scale="none", **options
        )
    with pytest.raises(TransectError, match="not trained on"):
        calibrate(tiny_run.path, root, progress=Quiet())
    with pytest.raises(TransectError, match="not trained on"):
        count.score(tiny_run.path, root, **options)
    (images / "a.png").write_bytes(b"x")
    with pytest.raises(TransectError, match="needs every picture"):
        count.submit(tiny_run.path, images, tmp_path / "out.csv", **options)


def test_only_runs_that_count_name_crops(tmp_path):
    RunFolder(tmp_path / "run").begin(Recipe(), {"folder": "s", "fingerprint": {}, "problems": []})
    with pytest.raises(TransectError, match="answers 'segment'"):
        next_to_annotate(tmp_path / "run", tmp_path, 1, progress=Quiet())


def test_decisions_that_are_damaged(tmp_path):
    RunFolder(tmp_path).write_json("decide.json", {"classes": ["seal"]})
    with pytest.raises(TransectError, match="not complete"):
        Decisions.load(RunFolder(tmp_path))
    value = {"planes": [{"method": "nope"}], "unmix": None}
    with pytest.raises(TransectError, match="a count method"):
        Counter.load(value, tmp_path)
    with pytest.raises(TransectError, match="a count method"):
        choosing._possible(None, with_decide(TINY, methods=("nope",)).decide)
