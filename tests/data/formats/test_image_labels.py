"""Labels of whole pictures in tables and folders, to a survey and back."""

import numpy as np
import pytest

from transect.data.convert import convert
from transect.data.formats import detect
from transect.data.png import write_png
from transect.data.survey import open_survey
from transect.errors import TransectError


def pictures(folder, *names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / name, np.full((6, 7, 3), i, np.uint8))
    return folder


def test_tables_of_labels(tmp_path):
    photos = pictures(tmp_path / "photos", "a.png", "b.png", "c.png", "d.png")
    table = tmp_path / "train.csv"
    table.write_text("filename,species\na.png,seal;pup\nb.png,seal\nc.png,\nd.png,x,y\n")
    assert detect(table) == "labels"
    made = convert(table, tmp_path / "survey", images=photos)
    assert not made.complete  # the row with a cell too many
    found = open_survey(tmp_path / "survey")
    assert (found.question, found.label_kind) == ("classify", "several")
    assert found.labels.set_index("image").loc["a.png"].tolist() == [1, 1]
    assert found.labels.set_index("image").loc["c.png"].tolist() == [0, 0]
    back = tmp_path / "back.csv"
    assert convert(tmp_path / "survey", back).target_format == "labels"
    assert back.read_text() == "image,label\na.png,pup\na.png,seal\nb.png,seal\nc.png,\n"


def test_folders_of_classes(tmp_path):
    tree = pictures(tmp_path / "tree", "train/seal/a.png", "train/bird/a.png", "test/seal/c.png",
                    "val/bird/d.png", "train/e.png")  # fmt: skip
    assert detect(tree) == "folders"  # a picture without a class: not what ImageFolder holds
    (tree / "train" / "e.png").unlink()
    assert detect(tree) == "class-folders"
    convert(tree, tmp_path / "survey")
    found = open_survey(tmp_path / "survey")
    assert (found.label_kind, found.classes) == ("single", ("bird", "seal"))
    assert [i.name for i in found.images if i.split == "test"] == ["test/seal/c.png"]
    assert len(found.training()) == 3
    flat = pictures(tmp_path / "flat", "seal/a.png", "bird/b.png", "c.png")
    made = convert(flat, tmp_path / "other", source_format="class-folders")
    assert made.problems == ("c.png lies in no folder of a class. Move it into one.",)
    assert open_survey(tmp_path / "other").classes == ("bird", "seal")
    with pytest.raises(TransectError, match="no folder with pictures"):
        convert(
            pictures(tmp_path / "bare", "a.png"), tmp_path / "no", source_format="class-folders"
        )


def test_words_of_coco_become_labels_of_a_survey(tmp_path):
    photos = pictures(tmp_path / "photos", "a.png", "b.png")
    coco = {
        "images": [{"id": i, "file_name": f"{n}.png", "height": 6, "width": 7}
                   for i, n in enumerate("ab")],
        "categories": [{"id": 1, "name": "seal"}, {"id": 2, "name": "bird"}],
        "annotations": [{"id": i, "image_id": i, "category_id": i + 1} for i in range(2)],
    }  # fmt: skip
    import json

    (tmp_path / "a.json").write_text(json.dumps(coco))
    convert(tmp_path / "a.json", tmp_path / "survey", images=photos)
    assert open_survey(tmp_path / "survey").label_kind == "single"


def test_a_label_that_holds_the_sign_between_labels_is_refused(tmp_path):
    tree = pictures(tmp_path / "tree", "a;b/a.png", "c/b.png")
    with pytest.raises(TransectError, match="which part labels"):
        convert(tree, tmp_path / "out.csv", source_format="class-folders", target_format="labels")
