"""A random survey through every format and back: the same, or it says what it cannot hold."""

from dataclasses import replace

import numpy as np
import pytest

from tests.data.formats.test_geo import write_geotiff
from transect.data.convert import convert, read_annotations
from transect.data.exchange import Annotations, Instance, Picture, Pictures
from transect.data.fitting import HOLDABLE, kind_of
from transect.data.formats import FORMATS, detect, format_of
from transect.data.formats.coco import write as write_coco
from transect.data.formats.label_images import instances_of, painted
from transect.data.outlines import box_ring
from transect.data.png import write_png
from transect.data.rle import counts_of
from transect.data.shapes import mask_of, parts_of
from transect.data.tally import lost_objects

WRITTEN = [name for name, f in FORMATS.items() if f.write]
LABELS = ("grey seal", "Möwe, jung", 'the "other"', "walrus")
NAMES = ("a.png", "S1/IMG_1.png", "S2/IMG_1.png", "S2/b c.png", "empty.png", "ünder.png")


def random_survey(rng, kinds=("outline", "hole", "pieces", "mask", "box", "dot", "word")):
    """Pictures in folders that share base names, each with objects of all kinds."""
    pictures = []
    for name in NAMES:
        size_hw = (int(rng.integers(30, 60)), int(rng.integers(30, 60)))
        found = (
            [] if name == "empty.png" else [one(rng, k, size_hw) for k in rng.permutation(kinds)]
        )
        columns = {"group": "cove"} if name == "a.png" else {}
        pictures.append(Picture(name, size_hw, tuple(found), columns))
    pictures.append(Picture("waits.png", (30, 30), (), {}, labelled=False))
    labels = dict.fromkeys(i.label for p in pictures for i in p.instances)
    return Annotations(tuple(pictures), tuple(labels))


def one(rng, kind, size_hw):
    height, width = size_hw
    x, y = rng.uniform(1, width - 14), rng.uniform(1, height - 14)
    said = {
        "label": str(rng.choice(LABELS)),
        "identity": f"w {rng.integers(9)}" if rng.random() < 0.3 else None,
        "confidence": float(np.round(rng.random(), 3)) if rng.random() < 0.5 else None,
    }
    outer = box_ring(x, y, x + 12, y + 11)
    if kind == "outline":
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        ring = np.stack([x + 6 + 5 * np.cos(angles), y + 6 + 5 * np.sin(angles)], axis=1)
        return Instance(**said, parts=((ring,),))
    if kind == "hole":
        return Instance(**said, parts=((outer, box_ring(x + 3, y + 3, x + 8.5, y + 7)),))
    if kind == "pieces":
        far = box_ring(x + 8, y + 7, x + 12, y + 11)
        return Instance(**said, parts=((box_ring(x, y, x + 5, y + 5),), (far,)))
    if kind == "mask":
        mask = rng.random((6, 5)) < 0.7
        mask[0] = True
        place = {"top": int(y), "left": int(x), "size_hw": size_hw}
        return Instance(**said, counts=tuple(counts_of(mask, **place)))
    if kind == "box":
        return Instance(**said, box=(x, y, x + 9.75, y + 8.5))
    if kind == "dot":
        return Instance(**said, point=(x, y))
    return Instance(**said)


def same(given, found, size_hw, name):
    """Whether an object came back: class, words, and position within 0.01 pixels."""
    kind = kind_of(given)
    assert (found.label, found.identity) == (given.label, given.identity)
    assert (found.confidence is None) == (given.confidence is None)
    if given.confidence is not None:
        assert abs(found.confidence - given.confidence) < 1e-6
    if kind == "outline" or (kind == "box" and name == "kaggle"):
        np.testing.assert_array_equal(mask_of(found, size_hw), mask_of(given, size_hw))
    elif kind != "word":
        assert kind_of(found) == kind
        wanted, got = (i.box if kind == "box" else i.point for i in (given, found))
        assert np.abs(np.subtract(got, wanted)).max() < 0.01


@pytest.fixture
def folder(tmp_path):
    """Where the pictures are; made by ``place``."""
    return tmp_path / "pictures"


def place(annotations, folder, name):
    """Write the pictures; a map needs them on the ground."""
    for i, picture in enumerate(annotations.pictures):
        if name == "geo":
            write_geotiff(folder / picture.name, picture.size_hw, 5e5 + 1000 * i, 4e6)
        else:
            (folder / picture.name).parent.mkdir(parents=True, exist_ok=True)
            write_png(folder / picture.name, np.full((*picture.size_hw, 3), i + 1, np.uint8))
    return Pictures(folder)


def case_of(name):
    return name.replace("/", "__").replace(" ", "_").removesuffix(".png") + "_0000.png"


def seen_in(instances, size_hw, classes, by):
    """What masks show of objects: of each the part on top, or of each class all parts."""
    image = painted(instances, size_hw, range(1, len(instances) + 1))
    parts = [next(iter(instances_of(image == k, (i.label,)))) for k, i in enumerate(instances, 1)]
    if by == "number":
        return parts
    found = []
    for label in classes:
        masks = [mask_of(p, size_hw) for p in parts if p.label == label]
        if masks and by == "class":
            found += instances_of(np.any(masks, axis=0), (label,))
        elif masks:  # a class after the other, by number
            found += [p for p in parts if p.label == label]
    return found


MASKS = {"cellpose": "number", "nnunet": "class", "cvat-masks": "class and number"}


def target_of(name, tmp_path):
    suffixes = FORMATS[name].suffixes
    return tmp_path / ("out" + (suffixes[0] if suffixes else ""))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", [n for n in WRITTEN if n not in ("survey", "folders")])
def test_comes_back_from_every_format(name, seed, tmp_path, folder):
    given = random_survey(np.random.default_rng(seed))
    if name == "geo":
        renamed = tuple(
            Picture(p.name.replace(".png", ".tif"), p.size_hw, p.instances, p.columns, p.labelled)
            for p in given.pictures
        )
        given = Annotations(renamed, given.classes)
    pictures = place(given, folder, name)
    made = format_of(name).fit(given)
    target = target_of(name, tmp_path)
    format_of(name).write(made, target, pictures=pictures)
    assert detect(target) == name
    if name == "nnunet":  # pictures are called anew, and those that wait lie elsewhere
        folder = target / "imagesTr"
        renamed = (replace(p, name=case_of(p.name)) for p in made.pictures if p.labelled)
        made = replace(made, pictures=tuple(renamed))
    found, _ = read_annotations(target, images=folder)
    assert found.problems == ()
    assert lost_objects(found.told) == 0
    by_name = {p.name: p for p in found.pictures}
    # Where a format knows its pictures by their folder, all of them are there.
    spare = set(by_name) - {p.name for p in made.pictures}
    assert not any(by_name[n].instances for n in spare)
    assert name in ("geo", "yolo", "cellpose", "cvat-masks") or not spare
    by_name = {n: p for n, p in by_name.items() if n not in spare}
    assert set(by_name) == {p.name for p in made.pictures}
    for picture in made.pictures:
        back = by_name[picture.name]
        assert back.labelled == picture.labelled
        in_order = list(picture.instances)
        if name == "napari":  # a layer of points and one of shapes
            in_order.sort(key=lambda i: kind_of(i) != "dot")
        if name in MASKS:  # what lies on top is seen
            in_order = seen_in(in_order, picture.size_hw, made.classes, MASKS[name])
        assert len(back.instances) == len(in_order)
        for one_given, one_found in zip(in_order, back.instances, strict=True):
            same(one_given, one_found, picture.size_hw, name)
    drawn = {
        i.label
        for p in made.pictures
        for i in p.instances
        if kind_of(i) != "word" or not i.identity
    }
    assert set(found.classes) == drawn


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_format_cannot_hold_is_told(name, seed):
    given = random_survey(np.random.default_rng(seed))
    made = format_of(name).fit(given)
    split = sum(t.objects for t in made.told if "several pieces" in t.why)
    if split:  # VIA, that makes a region of each
        pieces = [len(parts_of(i, p.size_hw)) for p in given.pictures for i in p.instances]
        split = sum(n - 1 for n in pieces if n > 1)
    assert len(given) == len(made) - split + lost_objects(made.told)
    lost_pictures = sum(t.pictures for t in made.told if t.lost)
    assert len(given.pictures) >= len(made.pictures) + lost_pictures
    missing = set(HOLDABLE) - format_of(name).holds - {"empty", "unlabelled", "outline", "box"}
    for what in missing:
        assert any(what in t.why for t in made.told), f"{name} says nothing of {what}"


@pytest.mark.parametrize(
    "kinds", [("outline",), ("outline", "hole", "dot"), ("box", "dot"), ("dot",)]
)
def test_comes_back_from_a_survey(kinds, tmp_path, folder):
    rng = np.random.default_rng(1)
    given = random_survey(rng, kinds)
    plain = tuple(
        Picture(
            p.name,
            p.size_hw,
            tuple(Instance(LABELS[0], i.parts, i.counts, i.box, i.point) for i in p.instances),
            {},
            p.labelled,
        )
        for p in given.pictures
    )
    given = Annotations(plain, (LABELS[0],))
    write_coco(given, tmp_path / "a.json")
    place(given, folder, "survey")
    first = convert(tmp_path / "a.json", tmp_path / "out", images=folder)
    assert first.target_format == "survey"
    found, _ = read_annotations(tmp_path / "out")
    assert found.problems == ()
    assert len(found) == first.instances
    assert [p.labelled for p in sorted(found.pictures, key=lambda p: p.name)] == [True] * 7
    wanted = {p.name: p for p in format_of("survey").fit(given).pictures}
    for picture in found.pictures:
        union = np.zeros(picture.size_hw, bool)
        for i in wanted[picture.name].instances:
            union |= mask_of(i, picture.size_hw) if i.has_area else False
        got = np.zeros(picture.size_hw, bool)
        for i in picture.instances:
            got |= mask_of(i, picture.size_hw) if i.has_area else False
        np.testing.assert_array_equal(got, union)
        for kind in ("box", "point"):
            one_kind = [i for i in picture.instances if not i.has_area and getattr(i, kind)]
            other = [
                i for i in wanted[picture.name].instances if not i.has_area and getattr(i, kind)
            ]
            for a, b in zip(one_kind, other, strict=True):
                assert np.abs(np.subtract(getattr(a, kind), getattr(b, kind))).max() < 0.01


def test_identities_come_back_from_folders_of_individuals(tmp_path, folder):
    given = random_survey(np.random.default_rng(3), ("word",))
    named = tuple(
        Picture(p.name, p.size_hw, (Instance(identity=f"w {i % 3}"),))
        for i, p in enumerate(given.pictures)
    )
    given = Annotations(named)
    pictures = place(given, folder, "folders")
    format_of("folders").write(format_of("folders").fit(given), tmp_path / "out", pictures=pictures)
    found, _ = read_annotations(tmp_path / "out")
    owners = [i.identity for p in found.pictures for i in p.instances]
    assert sorted(owners) == sorted(p.instances[0].identity for p in named)
