"""Objects of several classes: numbered in the masks, their classes in objects.csv."""

import numpy as np
import pandas as pd
import pytest

from tests.data.test_kinds_come_back import coco
from transect.data.convert import convert, read_annotations
from transect.data.describe import fingerprint, fold_table
from transect.data.images import read_labels
from transect.data.shapes import mask_of
from transect.data.survey import mask_labels, open_survey
from transect.errors import TransectError

LAYOUT = [[0, 1, 1, 0], [2, 2, 1], []]


@pytest.fixture
def survey(tmp_path):
    """Squares of 10 x 10 pixels of limpets (4), clams and crabs, read from COCO."""
    result = convert(coco(tmp_path, LAYOUT), tmp_path / "out", images=tmp_path / "images")
    assert result.counts == (
        ("limpet", (2, 0, 0, 0)),
        ("clam", (3, 0, 0, 0)),
        ("crab", (2, 0, 0, 0)),
    )
    assert result.complete
    return tmp_path / "out"


def test_same_objects_and_classes_come_back(tmp_path, survey):
    given, _ = read_annotations(tmp_path / "a.json", images=tmp_path / "images")
    found, _ = read_annotations(survey)
    for a, b in zip(given.pictures, found.pictures, strict=True):
        assert [i.label for i in a.instances] == [i.label for i in b.instances]
        for one, other in zip(a.instances, b.instances, strict=True):
            assert (mask_of(one, a.size_hw) == mask_of(other, b.size_hw)).all()
    assert found.classes == given.classes
    assert found.problems == ()


def test_masks_are_opened_by_class(survey):
    opened = open_survey(survey)
    assert (opened.mask_kind, opened.classes) == ("classes", ("limpet", "clam", "crab"))
    labels = mask_labels(opened, "p0.png")
    assert {v: int((labels == v).sum()) for v in (0, 1, 2, 3)} == {0: 4400, 1: 200, 2: 200, 3: 0}
    assert any("objects.csv names their classes" in note for note in opened.notes)
    assert fold_table(opened)["class"].tolist() == ["limpet", "crab", ""]
    assert "objects.csv" in fingerprint(opened)["tables"]


def test_objects_are_counted_by_class(survey):
    points = open_survey(survey, question="count").points
    got = pd.crosstab(points["image"], points["class"]).to_dict("index")
    assert got["p0.png"] == {"limpet": 2, "clam": 2, "crab": 0}
    assert got["p1.png"] == {"limpet": 0, "clam": 1, "crab": 2}
    first = points[points["class"] == "limpet"].iloc[0]
    assert (first["x"], first["y"]) == (7.5, 7.5)


def test_the_user_may_want_the_objects_alone(survey):
    opened = open_survey(survey, mask_kind="instances")
    assert opened.mask_kind == "instances"
    assert mask_labels(opened, "p0.png").max() == 4


def test_class_masks_where_they_say_the_same(tmp_path):
    convert(coco(tmp_path, [[0, 1], [1]]), tmp_path / "out", images=tmp_path / "images")
    assert not (tmp_path / "out" / "objects.csv").exists()
    assert sorted(np.unique(read_labels(tmp_path / "out" / "masks" / "p1.png"))) == [0, 2]


def test_an_object_without_a_class_and_rows_of_none_are_told(survey):
    file = survey / "objects.csv"
    rows = file.read_text().splitlines()
    rows[1] = "p0.png,9,limpet"  # object 1 has no row now, and there is no object 9
    rows += ["p1.png,1,crab", "p1.png,x,clam"]
    file.write_text("\n".join(rows))
    opened = open_survey(survey, missing="unlabelled")
    said = " ".join(p.what for p in opened.problems)
    assert "masks/p0.png holds object 1, which objects.csv does not name" in said
    assert "line 9: object 1 with the class 'crab'" in said
    assert "line 10: object nan" in said
    assert "names 1 objects that no mask holds" in said
    assert "p0.png" not in [i.name for i in opened.images]
    file.write_text("image,object,class\np0.png,1,kelp\n")
    with pytest.raises(TransectError, match=r"a class of objects\.csv"):
        open_survey(survey)
