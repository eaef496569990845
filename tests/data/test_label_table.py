"""labels.csv in all layouts: what it is taken for, what is left out, what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from transect.audit import audit
from transect.data.manifest import read_as
from transect.data.survey import fingerprint, fold_table, open_survey, survey_summary
from transect.errors import TransectError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    return tmp_path


def survey(folder, text, **more):
    (folder / "labels.csv").write_text(text)
    return open_survey(folder, **more)


def rows(*cells):
    return "".join(f"{i}.png,{cell}\n" for i, cell in enumerate(cells))


LAYOUTS = {
    "single": ("image,label\n" + rows(*"aababb"), "single", "ab"),
    "numbers": ("id,class\n" + rows(10, 9, 9, 10, 2, 2), "single", ("2", "9", "10")),
    "cells": ("image,tags\n" + rows("a;b", "b|c", "a", "c", "", "a"), "several", "abc"),
    "columns": ("image,label_1,label_2\n" + rows("a,b", "b,", "a,", "c,", ",", "a,"), "several",
                "abc"),
    "rows": ("image,label\n" + rows(*"aababb") + "0.png,b\n", "several", "ab"),
    "one-hot": ("image,cat,dog\n" + rows("1,0", "0,1", "1,0", "0,1", "1,0", "1,0"), "single",
                ("cat", "dog")),
    "wide": ("image,cat,dog\n" + rows("1,1", "0,1", "0,0", "0,1", "1,0", "1,0"), "several",
             ("cat", "dog")),
    "grades": ("image,diagnosis\n" + rows(0, 2, 1, 10, 2, 0), "grades", ("0", "1", "2", "10")),
    "word": ("image,habitat\n" + rows(*"aababb"), "single", "ab"),
    "none": ("image,label\n" + rows("none", "a", "none", "a", "a", "a"), "single", ("a", "none")),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_told_apart(folder, layout):
    text, kind, classes = LAYOUTS[layout]
    found = survey(folder, text)
    assert found.question == "classify"
    assert (found.label_kind, found.classes) == (kind, tuple(classes))
    assert not found.problems
    assert len(found.labels) == 6
    each = found.labels[list(found.classes)].to_numpy().sum(axis=1)
    assert kind == "several" or (each == 1).all()
    assert "(--labels says otherwise)" in " ".join(survey_summary(found))


def test_cells_rows_and_columns_of_several_labels_say_the_same(folder):
    marks = [
        survey(folder, LAYOUTS[name][0]).labels.set_index("image").loc["0.png"].tolist()
        for name in ("cells", "columns")
    ]
    assert marks == [[1, 1, 0], [1, 1, 0]]
    assert survey(folder, LAYOUTS["rows"][0]).labels.iloc[0].tolist() == ["0.png", 1, 1]


def test_the_user_and_the_survey_say_what_labels_are(folder):
    text = "image,label\n" + rows("0 1", "1", "0", "1", "0", "1")
    assert survey(folder, text).classes == ("0", "0 1", "1")
    with read_as(labels="several"):
        assert survey(folder, text).classes == ("0", "1")
    (folder / "survey.json").write_text(json.dumps({"labels": "grades"}))
    assert survey(folder, "image,label\n" + rows(0, 1, 2, 0, 1, 2)).label_kind == "grades"
    (folder / "survey.json").write_text(json.dumps({"labels": "grade"}))
    with pytest.raises(TransectError, match="Did you mean 'grades'"):
        open_survey(folder)


def test_grades_that_are_words_have_the_order_of_classes_csv(folder):
    (folder / "classes.csv").write_text("name\nlow\nmiddle\nhigh\n")
    text = "image,label\n" + rows("low", "high", "middle", "low", "high", "low")
    found = survey(folder, text, label_kind="grades")
    assert found.classes == ("low", "middle", "high")
    with pytest.raises(TransectError, match="Did you mean 'middle'"):
        survey(folder, text + "5.png,midle\n", label_kind="several")


def test_images_without_the_one_label_are_left_out_and_told(folder):
    text = "image,label\n" + rows("a", "", "b", "b", "a", "b") + "0.png,b\n"
    found = survey(folder, text, label_kind="single")
    said = " ".join(problem.what for problem in found.problems)
    assert "1.png has no label" in said
    assert "0.png has more than one label (a, b)" in said
    assert set(found.labels["image"]) == {"2.png", "3.png", "4.png", "5.png"}
    assert {i.name for i in found.training()} == set(found.labels["image"])  # not taken for empty
    text = "image,grade\n" + rows(1, 2, "x", 1, 2, 1)
    problem = survey(folder, text, label_kind="grades").problems[0]
    assert "a grade must be a number; got 'x'" in problem.what


def test_images_without_a_row_are_asked_about(folder):
    text = "image,label\n0.png,a\n1.png,b\n2.png,a;b\n"
    with pytest.raises(TransectError, match="3 of 6 images have no labels"):
        survey(folder, text)
    assert len(survey(folder, text, missing="unlabelled").training()) == 3
    empty = survey(folder, text, missing="empty")
    assert empty.labels.set_index("image").loc["5.png"].tolist() == [0, 0]
    with pytest.raises(TransectError, match="has no meaning"):
        survey(folder, "image,label\n0.png,a\n1.png,b\n", missing="empty")


def test_tables_that_hold_no_labels_are_refused(folder):
    with pytest.raises(TransectError, match="no column of labels"):
        survey(folder, "image,group\n" + rows(*"aababb"))
    with pytest.raises(TransectError, match="line 3: dog must be 0 or 1; got 'x'"):
        survey(folder, "image,cat,dog\n" + rows("1,0", "0,x", "1,0", "0,1", "1,0", "1,0"))


def test_what_predict_writes_is_no_label(folder):
    text = "image,label,doubt,p:a,p:b\n" + rows(*(f"{c},0.1,0.2,0.8" for c in "aababb"))
    assert survey(folder, text).classes == ("a", "b")


def test_weights_and_external_images(folder):
    (folder / "images.csv").write_text("image,split,weight\n0.png,external,0.5\n1.png,train,-1\n")
    found = survey(folder, "image,label\n" + rows(*"aababb"))
    assert [(i.split, i.weight) for i in found.images[:2]] == [("external", 0.5), ("train", 1.0)]
    assert len(found.training()) == 6
    assert "weight must be a number" in found.problems[0].what
    (folder / "labels.csv").unlink()
    (folder / "identities.csv").write_text("image,identity\n" + rows(*"aababb"))
    with pytest.raises(TransectError, match="only labels know"):
        open_survey(folder)


def test_folds_balance_the_rarest_label_and_the_table_is_in_the_fingerprint(folder):
    found = survey(folder, "image,tags\n" + rows("a;b", "a", "a", "a;b", "a;c", ""))
    assert fold_table(found)["class"].tolist() == ["b", "a", "a", "b", "c", ""]
    assert "labels.csv" in fingerprint(found)["tables"]


def test_the_audit_tells_of_slips_rare_labels_and_copies_with_other_labels(folder):
    (folder / "images" / "5.png").write_bytes((folder / "images" / "0.png").read_bytes())
    text = "image,label\n" + rows("seal", "Seal", "seal", "bird", "bird", "bird")
    (folder / "labels.csv").write_text(text)
    said = {f.kind: f.text for f in audit(folder).findings}
    assert "'Seal'" in said["typo"]
    assert "fewer than 10 images" in said["rare"]
    assert "0.png is seal, 5.png is bird" in said["two-labels"]
