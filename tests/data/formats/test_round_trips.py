"""Every format gives back what it was given, and is told by its content."""

import shutil

import numpy as np
import pytest

from tests.data.formats.samples import SIZES, annotated, facts, make_pictures
from transect.data.convert import convert, read_annotations, write_annotations
from transect.data.exchange import Annotations, Instance, Picture, Pictures
from transect.data.formats import FORMATS, detect

CASES = {
    "coco": ("a.json", ("polygon", "hole", "mask", "box", "point", "word")),
    "via": ("a.json", ("polygon", "box", "point")),
    "via-csv": ("a.csv", ("polygon", "box", "point")),
    "labelstudio": ("a.json", ("polygon", "hole", "mask", "box", "point", "word")),
    "cvat": ("a.xml", ("polygon", "hole", "mask", "box", "point", "word")),
    "kaggle": ("a.csv", ("polygon", "hole", "mask")),
    "labelme": ("folder", ("polygon", "hole", "mask", "box", "point")),
    "yolo": ("folder", ("polygon", "hole", "mask", "box")),
    "table": ("a.csv", ("point",)),
}


@pytest.fixture
def pictures(tmp_path):
    return Pictures(make_pictures(tmp_path / "pictures"))


@pytest.mark.parametrize("case", CASES)
def test_comes_back(case, tmp_path, pictures):
    name = case.split("-")[0]
    target, kinds = CASES[case]
    target = tmp_path / "out" / target
    given = annotated(*kinds)
    write_annotations(given, target, target_format=name, pictures=pictures)
    assert detect(target) == name
    found, _ = read_annotations(target, images=pictures.folder)
    assert found.problems == ()
    wanted = facts(given)
    if name == "table":  # a table of dots cannot name a picture without any
        wanted.pop("empty.png")
    assert facts(found) == wanted
    if name != "kaggle":
        assert set(given.classes) == set(found.classes)


@pytest.mark.parametrize("name", ["coco", "cvat", "labelstudio", "table", "yolo"])
def test_confidence_comes_back(name, tmp_path, pictures):
    given = Annotations(
        (Picture("a.png", SIZES["a.png"], (Instance("seal", box=(0, 1, 5, 6), confidence=0.25),)),),
        ("seal",),
    )
    suffix = FORMATS[name].suffixes
    target = tmp_path / ("out" + (suffix[0] if suffix else ""))
    write_annotations(given, target, target_format=name, pictures=pictures)
    found, _ = read_annotations(target, source_format=name, images=pictures.folder)
    assert facts(found)["a.png"] == facts(given)["a.png"]


@pytest.mark.parametrize("name", ["coco", "via", "cvat", "labelstudio", "camtrap"])
def test_identities_come_back(name, tmp_path, pictures):
    given = annotated("identity")
    suffix = FORMATS[name].suffixes
    target = tmp_path / ("out" + (suffix[0] if suffix else ""))
    write_annotations(given, target, target_format=name, pictures=pictures)
    assert detect(target) == name
    found, _ = read_annotations(target, images=pictures.folder)
    assert facts(found) == facts(given)


def test_every_format_without_pictures_tells_what_is_missing(tmp_path):
    given = annotated("polygon")
    bare = Annotations(tuple(Picture(p.name, None, p.instances) for p in given.pictures))
    bare = Annotations(bare.pictures, given.classes)
    for name in ("coco", "labelstudio", "cvat", "kaggle", "labelme", "yolo", "survey", "geo"):
        suffix = FORMATS[name].suffixes
        with pytest.raises(Exception, match="--images") as caught:
            write_annotations(bare, tmp_path / f"x{''.join(suffix[:1])}", target_format=name)
        assert type(caught.value).__name__ == "TransectError"


def test_one_ring_of_formats_without_holes_fills_as_the_mask_did(tmp_path, pictures):
    # Through every format in turn, and the pixels must still be the same.
    source = tmp_path / "start.json"
    write_annotations(annotated("polygon", "hole", "mask"), source, pictures=pictures)
    wanted = facts(read_annotations(source, images=pictures.folder)[0])
    for i, name in enumerate(("yolo", "labelstudio", "cvat", "kaggle", "coco", "labelme", "via")):
        suffix = FORMATS[name].suffixes
        target = tmp_path / (f"step{i}" + (suffix[0] if suffix else ""))
        result = convert(source, target, target_format=name, images=pictures.folder)
        assert result.problems == ()
        assert (result.pictures, result.target_format) == (3, name)
        source = target
    got = facts(read_annotations(source, images=pictures.folder)[0])
    masks = {n: sorted(r[-1] for r in rows) for n, rows in got.items()}
    # VIA has no pieces: the mask of two becomes two regions.
    assert masks["a.png"] == sorted(r[-1] for r in wanted["a.png"])
    union = np.any([np.frombuffer(m, bool) for m in masks["site/b.png"]], axis=0)
    assert union.tobytes() == wanted["site/b.png"][0][-1]


def test_survey_with_instances(tmp_path, pictures):
    given = annotated("polygon", "point")
    source = tmp_path / "a.json"
    write_annotations(given, source, pictures=pictures)
    result = convert(source, tmp_path / "survey", images=pictures.folder)
    assert result.target_format == "survey"
    assert result.problems == ()
    assert sorted(p.name for p in (tmp_path / "survey").iterdir()) == [
        "classes.csv",
        "images",
        "masks",
        "points.csv",
        "survey.json",
    ]
    assert detect(tmp_path / "survey") == "survey"
    found, _ = read_annotations(tmp_path / "survey")
    assert facts(found)["empty.png"] == []
    assert facts(found)["a.png"] == facts(given)["a.png"]


def test_survey_with_classes_boxes_and_identities(tmp_path, pictures):
    given = annotated("polygon", "mask", "identity")
    write_annotations(given, tmp_path / "survey", pictures=pictures)
    found, _ = read_annotations(tmp_path / "survey")
    assert found.problems == ()
    assert facts(found) == facts(given)


def test_a_survey_whose_tables_were_read_whole_is_complete(tmp_path, pictures):
    given = annotated("polygon", "box", "point", "word", "identity")
    write_annotations(given, tmp_path / "survey", pictures=pictures)
    result = convert(tmp_path / "survey", tmp_path / "back.json")
    assert result.problems == ()
    assert [t.why for t in result.told if t.lost] == []
    assert result.complete


def test_survey_is_not_written_over_another(tmp_path, pictures):
    write_annotations(annotated("point"), tmp_path / "survey", pictures=pictures)
    with pytest.raises(Exception, match="already holds a survey"):
        write_annotations(annotated("point"), tmp_path / "survey", pictures=pictures)


def test_images_csv_columns_come_along(tmp_path, pictures):
    given = annotated("point")
    first = Picture("a.png", SIZES["a.png"], given.pictures[0].instances, {"group": "cove"})
    given = Annotations((first, *given.pictures[1:]), given.classes)
    write_annotations(given, tmp_path / "survey", pictures=pictures)
    found, _ = read_annotations(tmp_path / "survey")
    assert found.pictures[0].columns == {"group": "cove"}


def test_identity_table_and_folders(tmp_path, pictures):
    table = tmp_path / "train.csv"
    table.write_text("Image,Id\na.png,w_1\nempty.png,new_whale\n")
    assert detect(table) == "identities"
    convert(table, tmp_path / "tree", target_format="folders", images=pictures.folder)
    names = sorted(p.relative_to(tmp_path / "tree").as_posix() for p in tmp_path.rglob("tree/*/*"))
    assert names == ["new_whale/empty.png", "w_1/a.png"]
    assert detect(tmp_path / "tree") == "folders"
    convert(tmp_path / "tree", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (
        "Image,Id\nnew_whale/empty.png,new_whale\nw_1/a.png,w_1\n"
    )
    convert(tmp_path / "tree", tmp_path / "survey")
    assert "w_1/a.png,w_1" in (tmp_path / "survey" / "identities.csv").read_text()


def test_pictures_missing_or_of_another_size_are_listed(tmp_path, pictures):
    source = tmp_path / "a.json"
    write_annotations(annotated("box", "polygon"), source, pictures=pictures)
    other = tmp_path / "other"
    shutil.copytree(pictures.folder, other)
    (other / "site" / "b.png").unlink()
    shutil.copy(other / "empty.png", other / "a.png")
    result = convert(source, tmp_path / "survey", images=other)
    assert result.pictures == 1
    assert any("site/b.png is not among the images" in p for p in result.problems)
    assert any("a.png was annotated at 12 x 16" in p for p in result.problems)


def test_none_of_the_pictures(tmp_path, pictures):
    source = tmp_path / "a.json"
    write_annotations(annotated("box"), source, pictures=pictures)
    (tmp_path / "none").mkdir()
    shutil.copy(pictures.paths["a.png"], tmp_path / "none" / "z.png")
    with pytest.raises(Exception, match="none of the 3 annotated pictures"):
        convert(source, tmp_path / "survey", images=tmp_path / "none")


def test_errors_of_the_command(tmp_path, pictures):
    with pytest.raises(Exception, match="does not exist"):
        convert(tmp_path / "nothing.json", tmp_path / "x")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(Exception, match="none that we know"):
        convert(tmp_path / "notes.txt", tmp_path / "x")
    with pytest.raises(Exception, match="Did you mean 'coco'"):
        convert(tmp_path / "notes.txt", tmp_path / "x", target_format="cocoa")
    with pytest.raises(Exception, match="cannot be written"):
        convert(tmp_path / "notes.txt", tmp_path / "x", target_format="dotted")
    with pytest.raises(Exception, match="both source and target"):
        convert(tmp_path / "notes.txt", tmp_path / "notes.txt")
