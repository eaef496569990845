"""What was corrected becomes a survey; what was not is as it was."""

from __future__ import annotations

import csv
import shutil

import cv2
import numpy as np
import pytest

from tests.review.conftest import dotted, named, write_pictures, write_rows
from tests.small import tiny_recipe, write_disc_survey
from transect.data.survey import mask_labels, open_survey
from transect.errors import TransectError
from transect.files import read_json
from transect.review.corrected import corrected_data, write_corrected
from transect.review.folder import ReviewFolder
from transect.review.opening import survey_and_run
from transect.review.session import opened


class Reviewed:
    """A review of a folder, done by words, then written as a survey."""

    def __init__(self, root, tmp_path, *, run=None, missing="unlabelled", question=None):
        self.folder = ReviewFolder(tmp_path / "review")
        self.survey, _, _ = survey_and_run(root, missing=missing, question=question)
        self.out = tmp_path / "out"
        self.options = {"name": "me", "run": run, "missing": missing}

    def do(self, *asked):
        with opened(self.survey, self.folder.path, **self.options) as session:
            for word, image, more in asked:
                session.do({"do": word, "image": image, **more})
        return self

    def written(self):
        self.count = write_corrected(self.folder, self.survey, None, self.out)
        return open_survey(self.out)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", ["binary", "classes", "instances"])
def test_masks_come_back_as_they_were_but_for_the_stroke(tmp_path, kind):
    root = write_disc_survey(tmp_path / "a", kind=kind, count=4)
    (root / "survey.json").write_text(f'{{"masks": "{kind}"}}')
    reviewed = Reviewed(root, tmp_path)
    label = reviewed.survey.classes[0] if reviewed.survey.classes else "object"
    stroke = {"points": [[3, 2], [20, 2]], "radius": 1, "label": label}
    after = reviewed.do(("brush", "p1.png", stroke)).written()
    assert reviewed.count == 1
    assert after.mask_kind == kind
    assert after.classes == reviewed.survey.classes
    for image in after.images:
        old, new = mask_labels(reviewed.survey, image.name), mask_labels(after, image.name)
        if image.name == "p1.png":
            assert new[2, 3:21].all()
            old[:4, :24] = new[:4, :24] = 0
            assert ((new > 0) == (old > 0)).all()
            if kind == "classes":
                assert (new == old).all()
        else:
            assert (new == old).all()
            same = (root / "masks" / image.name).read_bytes()
            assert (reviewed.out / "masks" / image.name).read_bytes() == same


def test_what_counted_for_nothing_stays_so_unless_painted(tmp_path):
    root = write_disc_survey(tmp_path / "a", kind="classes", count=2)
    write_rows(root / "classes.csv", ("value", "name"), (1, "a"), (2, "b"), (255, "void"))
    for name in ("p0.png", "p1.png"):
        mask = cv2.imread(str(root / "masks" / name), 0)
        mask[40:50, :30] = 255
        cv2.imwrite(str(root / "masks" / name), mask)
    reviewed = Reviewed(root, tmp_path)
    stroke = {"points": [[5, 45]], "radius": 2, "label": "b"}
    after = reviewed.do(("brush", "p0.png", stroke)).written()
    labels = mask_labels(after, "p0.png")
    assert labels[45, 5] == 2
    assert labels[45, 20] == -1
    assert (mask_labels(after, "p1.png") == mask_labels(reviewed.survey, "p1.png")).all()


def test_an_image_without_mask_takes_part_once_it_is_accepted(tmp_path):
    root = write_disc_survey(tmp_path / "a", count=4)
    for name in ("p0.png", "p1.png", "p2.png"):
        (root / "masks" / name).unlink()
    reviewed = Reviewed(root, tmp_path)
    label = reviewed.survey.classes[0]
    stroke = {"points": [[5, 5]], "radius": 3, "label": label}
    reviewed.do(
        ("brush", "p0.png", stroke),
        ("accept", "p0.png", {"accepted": True}),
        ("brush", "p1.png", stroke),
        ("accept", "p2.png", {"accepted": True}),
    )
    after = reviewed.written()
    splits = {image.name: image.split for image in after.images}
    expected = {"p0.png": "train", "p1.png": "test", "p2.png": "train", "p3.png": "train"}
    assert splits == expected
    assert set(after.masks) == {"p0.png", "p2.png", "p3.png"}
    assert not mask_labels(after, "p2.png").any()
    assert read_json(reviewed.out / "corrections.json")["corrected"] == ["p0.png"]


def test_images_kept_for_testing_stay_there(tmp_path):
    root = write_disc_survey(tmp_path / "a", count=3)
    write_rows(root / "images.csv", ("image", "split", "group"), ("p0.png", "test", "bay"),
               ("p1.png", "", "bay"), ("p2.png", "", "cove"))  # fmt: skip
    reviewed = Reviewed(root, tmp_path).do(("accept", "p0.png", {"accepted": True}))
    after = reviewed.written()
    assert [image.split for image in after.images] == ["test", "train", "train"]
    assert [image.group for image in after.images] == ["bay", "bay", "cove"]


def test_dots_and_boxes_keep_their_tables(tmp_path):
    root = dotted(tmp_path / "a")
    write_rows(root / "boxes.csv", ("image", "x0", "y0", "x1", "y1", "class"),
               ("p1.png", 20, 20, 30, 30, "adult"))  # fmt: skip
    reviewed = Reviewed(root, tmp_path)
    reviewed.do(
        ("add", "p2.png", {"mark": {"label": "pup", "dot": [7, 8]}}),
        ("drop", "p0.png", {"marks": ["p0"]}),
    )
    reviewed.written()
    assert rows(reviewed.out / "points.csv") == [
        {"image": "p0.png", "x": "30.5", "y": "40", "class": "pup"},
        {"image": "p1.png", "x": "5", "y": "5", "class": "pup"},
        {"image": "p2.png", "x": "7", "y": "8", "class": "pup"},
    ]
    assert len(rows(reviewed.out / "boxes.csv")) == 1


def test_individuals_keep_their_columns_and_who_cannot_be_told_is_left_out(tmp_path):
    root = named(tmp_path / "a")
    names, sides = ["Ada", "Ada", "Bo", "unknown", "Cy"], ["left", "right", "left", "", "left"]
    table = [(f"p{i}.png", names[i], sides[i]) for i in range(5)]
    write_rows(root / "identities.csv", ("image", "identity", "side"), *table)
    reviewed = Reviewed(root, tmp_path)
    reviewed.do(
        ("relabel", "p2.png", {"marks": ["i0"], "label": "=HYPERLINK(1)"}),
        ("relabel", "p4.png", {"marks": ["i0"], "label": ""}),
    )
    after = reviewed.written()
    kept = {row["image"]: row for row in rows(reviewed.out / "identities.csv")}
    assert kept["p2.png"] == {"image": "p2.png", "identity": "'=HYPERLINK(1)", "side": "left"}
    assert kept["p1.png"]["side"] == "right"
    assert "p4.png" not in kept
    assert next(i for i in after.images if i.name == "p4.png").split == "test"


@pytest.mark.parametrize("several", [False, True])
def test_labels_of_one_or_several(tmp_path, several):
    root = tmp_path / "a"
    write_pictures(root, 3)
    cells = ("reef;sand", "sand", "reef") if several else ("reef", "sand", "reef")
    write_rows(root / "labels.csv", ("image", "label"),
               *((f"p{i}.png", cell) for i, cell in enumerate(cells)))  # fmt: skip
    reviewed = Reviewed(root, tmp_path)
    reviewed.do(("label", "p2.png", {"label": "sand", "several": several}))
    after = reviewed.written()
    assert after.label_kind == reviewed.survey.label_kind == ("several" if several else "single")
    table = after.labels.set_index("image")[["reef", "sand"]].to_numpy().tolist()
    assert table == ([[1, 1], [0, 1], [1, 1]] if several else [[1, 0], [0, 1], [0, 1]])


def test_pictures_are_the_same_and_other_files_come_along(tmp_path):
    root = dotted(tmp_path / "a")
    (root / "notes.txt").write_text("seen from the boat")
    reviewed = Reviewed(root, tmp_path).do(("accept", "p0.png", {"accepted": True}))
    reviewed.written()
    assert (reviewed.out / "notes.txt").read_text() == "seen from the boat"
    for path in (root / "images").iterdir():
        assert (reviewed.out / "images" / path.name).read_bytes() == path.read_bytes()


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    reviewed = Reviewed(dotted(tmp_path / "a"), tmp_path)
    with pytest.raises(TransectError, match="nobody has answered"):
        reviewed.written()
    reviewed.do(("accept", "p0.png", {"accepted": True}))
    reviewed.out.mkdir()
    (reviewed.out / "mine.txt").write_text("")
    with pytest.raises(TransectError, match="not empty"):
        reviewed.written()


def test_undone_corrections_are_none(tmp_path):
    reviewed = Reviewed(dotted(tmp_path / "a"), tmp_path)
    reviewed.do(("drop", "p0.png", {"marks": ["p0"]}), ("undo", None, {}))
    with pytest.raises(TransectError, match="corrected and accepted nothing"):
        reviewed.written()


def test_several_people_are_not_mixed(tmp_path):
    reviewed = Reviewed(dotted(tmp_path / "a"), tmp_path)
    reviewed.do(("accept", "p0.png", {"accepted": True}))
    reviewed.options["name"] = "ben"
    reviewed.do(("drop", "p0.png", {"marks": ["p0"]}))
    with pytest.raises(TransectError, match="ben, me have answered"):
        reviewed.written()
    assert write_corrected(reviewed.folder, reviewed.survey, "ben", reviewed.out) == 1


def test_training_data_stay_the_same_until_more_is_corrected(tmp_path):
    root = dotted(tmp_path / "a")
    reviewed = Reviewed(root, tmp_path).do(("drop", "p0.png", {"marks": ["p0"]}))
    first, _ = corrected_data(reviewed.folder.path, root, None)
    again, _ = corrected_data(reviewed.folder.path, root, None)
    assert first == again
    reviewed.do(("drop", "p1.png", {"marks": ["p0"]}))
    other, _ = corrected_data(reviewed.folder.path, root, None)
    assert other != first
    assert len(rows(other / "points.csv")) == 1


@pytest.mark.slow
def test_training_tells_what_the_corrections_brought(tmp_path, capsys):
    """Three masks are spoiled, a run doubts them, they are corrected, a second run is compared."""
    import transect
    from transect.cli import main

    good = write_disc_survey(tmp_path / "good", count=8)
    root = tmp_path / "survey"
    shutil.copytree(good, root)
    for name in ("p0.png", "p1.png", "p2.png"):
        mask = cv2.imread(str(good / "masks" / name), 0)
        cv2.imwrite(str(root / "masks" / name), np.roll(mask, 25, axis=1))
    first = transect.train(root, recipe=tiny_recipe(), out=tmp_path / "run", threads=1)
    survey, run, _ = survey_and_run(first.path)
    assert survey.root.resolve() == root.resolve()
    with opened(survey, tmp_path / "review", name="me", run=run, missing="unlabelled") as session:
        order = [row["name"] for row in session.about()["images"]]
        assert set(order[:3]) == {"p0.png", "p1.png", "p2.png"}
        for name in order[:3]:
            session.do({"do": "take", "image": name, "accept": True})
            assert session.opened(name)["proposed"]
    (tmp_path / "tiny.py").write_text(
        "from tests.small import tiny_recipe\nrecipe = tiny_recipe()\n"
    )
    words = ["--from-review", str(tmp_path / "review"), "--recipe", str(tmp_path / "tiny.py")]
    code = main(["train", str(root), *words, "--out", str(tmp_path / "again"), "--threads", "1"])
    assert code == 0
    said = capsys.readouterr().out
    assert "corrected: 3 of 8 images, by me" in said
    assert "on 3 corrected images, out of fold: iou" in said
    found = read_json(tmp_path / "again" / "corrections.json")
    assert found["compared"] == 3
    # The truth are the first run's own answers.
    assert found["before"]["iou"] == 1
    assert 0 < found["after"]["iou"] < 1
