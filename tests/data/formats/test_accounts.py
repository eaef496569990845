"""Through every reader: the objects of a file are those that come out and those that are told."""

import csv
import io
import json
import re
import zipfile

import numpy as np
import pytest

from tests.data.formats.test_every_format import place, random_survey, target_of
from transect.data.convert import read_annotations
from transect.data.exchange import Annotations, Picture
from transect.data.formats import FORMATS, format_of
from transect.data.tally import lost_objects

UNCOUNTED = {
    "dicom": "slices hold no objects",
    "dotted": "dots are found in the pixels",
    "cvat-masks": "objects are pixels: see test_colour_masks_by_their_labelmap",
    "voc-masks": "objects are pixels: see test_mask_folders",
    "nnunet": "objects are pixels: see test_nnunet_cases_and_channels",
    "dsb2018": "objects are files of pixels: see test_mask_folders",
    "colour-masks": "objects are pixels: see test_mask_folders",
    "cellpose": "objects are pixels: see test_cellpose_masks_and_its_pickle",
    "folders": "a picture is an object: see test_a_picture_in_no_folder_is_told",
    "class-folders": "a picture is an object: see test_folders_of_classes",
    "labels": "a row is a label or an empty picture: see test_tables_of_labels",
    "imagej-results": "its rows are those of a table: see below",
}
RUBBISH = ({"rubbish": 1}, {"type": "Feature"}, None, "x", 7, {})


def spoilt(entries, rng):
    """Every third entry of a list made something that is no object."""
    kept = list(entries)
    for k in range(0, len(kept), 3):
        kept[k] = RUBBISH[rng.integers(len(RUBBISH))]
    return kept


def spoil_json(path, rng, lists):
    """Spoil lists of objects within a JSON file; gives how many objects there were."""
    value = json.loads(path.read_text())
    count = 0
    for holder, key in lists(value):
        count += len(holder[key])
        holder[key] = spoilt(holder[key], rng)
    path.write_text(json.dumps(value))
    return count


def spoil_rows(path, rng, *, keep=("image", "index")):
    """Spoil every third row of a table: a cell too many, or words where numbers belong."""
    header, *rows = list(csv.reader(io.StringIO(path.read_text())))
    for k in range(0, len(rows), 3):
        if rng.random() < 0.5:
            rows[k] = rows[k][:1] + ["x"] * (len(header) + 2)
        else:
            rows[k][0] = rows[k][0] if header[0] in keep else ""
            rows[k] = [
                c if not re.fullmatch(r"-?[\d.]+(e-?\d+)?", c) else "rubbish" for c in rows[k]
            ]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    path.write_text(out.getvalue())
    return len(rows)


def spoil_text(path, pattern, damage):
    """Damage every third match of a pattern in a text file; gives how many there are."""
    number = -1

    def change(match):
        nonlocal number
        number += 1
        return damage(match[0]) if number % 3 == 0 else match[0]

    path.write_text(re.sub(pattern, change, path.read_text(), flags=re.S))
    return number + 1


def spoil(name, target, rng):
    """Spoil what a format's writer wrote; gives how many objects it holds."""
    if name in ("coco", "megadetector", "labelstudio", "dotdotgoose", "via", "geo"):
        lists = {
            "coco": lambda v: [(v, "annotations")],
            "megadetector": lambda v: [(p, "detections") for p in v["images"]],
            "labelstudio": lambda v: [(a, "result") for t in v for a in t["annotations"]],
            "dotdotgoose": lambda v: [(k, c) for k in v["points"].values() for c in k],
            "via": lambda v: [(p, "regions") for p in v.values()],
            "geo": lambda v: [(v, "features")],
        }[name]
        return spoil_json(target, rng, lists)
    if name == "coco-results":
        value = json.loads(target.read_text())
        target.write_text(json.dumps([value[0], *spoilt(value[1:], rng)]))
        return len(value)
    if name in ("labelme", "qupath"):
        key = {"labelme": "shapes", "qupath": "features"}[name]
        files = sorted(p for p in target.rglob("*") if p.suffix in (".json", ".geojson"))
        return sum(spoil_json(p, rng, lambda v: [(v, key)]) for p in files)
    if name in ("kaggle", "identities", "wildlife", "deepforest", "herdnet", "table"):
        return spoil_rows(target, rng)
    if name == "camtrap":
        return spoil_rows(target / "observations.csv", rng, keep=("observationID",))
    if name == "survey":
        tables = ("points.csv", "boxes.csv")
        return sum(spoil_rows(target / t, rng) for t in tables)
    if name == "napari":
        files = sorted(target.rglob("*.points.csv"))
        return sum(spoil_rows(p, rng) for p in files)
    if name == "cvat":
        shapes = r"<(?:polygon|mask|box|points)[^>]*>"
        tags = target.read_text().count("<tag")
        broken = spoil_text(
            target, shapes, lambda s: re.sub(r'(points|rle|xtl)="[^"]*"', r'\1="x"', s)
        )
        return tags + broken
    if name == "voc":
        files = sorted(target.rglob("*.xml"))
        return sum(spoil_text(p, r"<bndbox>.*?</bndbox>", lambda s: "") for p in files)
    if name == "yolo":
        files = sorted(target.rglob("labels/**/*.txt"))
        return sum(spoil_text(p, r"[^\n]+\n", lambda s: "0 rubbish 0.5\n") for p in files)
    assert name == "imagej"
    count = 0
    for file in sorted(target.rglob("*.zip")):
        with zipfile.ZipFile(file) as packed:
            items = {n: packed.read(n) for n in packed.namelist()}
        count += len(items)
        with zipfile.ZipFile(file, "w") as packed:
            for k, (inner, data) in enumerate(items.items()):
                packed.writestr(inner, b"rubbish" if k % 3 == 0 else data)
    return count


@pytest.mark.parametrize("name", [n for n in FORMATS if n not in UNCOUNTED])
def test_objects_in_are_objects_out_and_objects_told(name, tmp_path):
    rng = np.random.default_rng(5)
    kinds = ("box", "dot", "outline", "word")
    if name in ("survey", "napari"):
        kinds = ("box", "dot") if name == "survey" else ("dot",)
    given = random_survey(rng, kinds)
    if name == "geo":
        renamed = (Picture(p.name[:-4] + ".tif", p.size_hw, p.instances) for p in given.pictures)
        given = Annotations(tuple(renamed), given.classes)
    if name == "labelme":  # pieces of one object are shapes of their own
        given = random_survey(rng, ("box", "dot", "outline"))
    if name == "survey":  # a row of identities.csv beside a dot is another object
        from dataclasses import replace

        plain = (
            replace(p, instances=tuple(replace(i, identity=None) for i in p.instances))
            for p in given.pictures
        )
        given = Annotations(tuple(plain), given.classes)
    if name == "kaggle":  # a picture with nothing on it has a row, too
        drawn = tuple(p for p in given.pictures if p.instances)
        given = Annotations(drawn, given.classes)
    pictures = place(given, tmp_path / "pictures", name)
    target = target_of(name, tmp_path)
    made = format_of(name).fit(given)
    format_of(name).write(made, target, pictures=pictures)
    count = spoil(name, target, rng)
    if name not in ("survey", "napari"):
        assert count == len(made) > 3
    found, _ = read_annotations(target, source_format=name, images=tmp_path / "pictures")
    lost = lost_objects(found.told)
    assert lost > 0
    assert len(found) + lost == count
    assert found.problems


def test_every_reader_is_counted_or_has_its_reason():
    assert set(UNCOUNTED) <= set(FORMATS)


def test_a_picture_in_no_folder_is_told(tmp_path):
    from tests.data.formats.test_strangers import picture

    picture(tmp_path / "s", "w1/a.png", "w2/b.png", "loose.png")
    found, _ = read_annotations(tmp_path / "s", source_format="folders")
    assert (len(found), lost_objects(found.told)) == (2, 1)


def test_rows_of_a_table_of_results_are_told(tmp_path):
    file = tmp_path / "Results.csv"
    file.write_text(" ,Label,X,Y\n1,a.png,1,2\n2,a.png,x,2\n3,,1,2\n4,a.png,1,2,3,4\n5,b.png,3,4\n")
    found, _ = read_annotations(file)
    assert (len(found), lost_objects(found.told)) == (2, 3)


@pytest.mark.parametrize("missing", ["a.png", "S2/b c.png"])
def test_objects_of_a_missing_picture_are_told(missing, tmp_path):
    given = random_survey(np.random.default_rng(2))
    place(given, tmp_path / "pictures", "coco")
    (tmp_path / "pictures" / missing).unlink()
    made = format_of("coco").fit(given)
    format_of("coco").write(made, tmp_path / "a.json", pictures=None)
    found, _ = read_annotations(tmp_path / "a.json", images=tmp_path / "pictures")
    assert len(found) + lost_objects(found.told) == len(made)
    assert any(t.lost and (t.objects, t.pictures) == (7, 1) for t in found.told)
