"""Folders of masks in the shapes of public data sets: a file per object, colours, class numbers."""

import json

import numpy as np
import pytest

from tests.data.formats.test_strangers import picture
from transect.data.convert import convert, read_annotations
from transect.data.formats import FORMATS, detect, format_lines
from transect.data.images import read_image, read_labels
from transect.data.png import write_png
from transect.data.shapes import mask_of
from transect.data.tally import lost_objects
from transect.errors import TransectError

SIZE = (60, 80)
RED, GREEN = (255, 0, 0), (0, 128, 0)


def areas(annotations):
    return [
        [(i.label, int(mask_of(i, SIZE).sum())) for i in p.instances] for p in annotations.pictures
    ]


def square(value, *places, base=None):
    """Squares of 10 x 10 in one value; of colours if it is a triple."""
    mask = np.zeros((*SIZE, *np.shape(value)), np.uint8) if base is None else base
    for y, x in places:
        mask[y : y + 10, x : x + 10] = value
    return mask


# --- a file per object, as the Data Science Bowl 2018 has it --------------------------------------


def dsb(root):
    for case, objects in (("0a1b", [(3, 3), (20, 40)]), ("2c3d", [(9, 9)])):
        picture(root / case / "images", f"{case}.png")
        for k, place in enumerate(objects):
            write_png(root / case / "masks" / f"{k}.png", square(255, place))
    picture(root / "test" / "images", "test.png")
    return root


def test_a_mask_file_per_object(tmp_path):
    root = dsb(tmp_path / "stage1_train")
    assert detect(root) == "dsb2018"
    found, _ = read_annotations(root)
    assert areas(found) == [[("object", 100)] * 2, [("object", 100)], []]
    assert [p.labelled for p in found.pictures] == [True, True, False]
    result = convert(root, tmp_path / "out")
    assert (result.instances, result.unlabelled, result.complete) == (3, 1, True)
    mask = read_labels(tmp_path / "out" / "masks" / "0a1b" / "images" / "0a1b.png")
    assert np.unique(mask).tolist() == [0, 1, 2]


def test_faulty_masks_of_objects_are_told(tmp_path):
    root = dsb(tmp_path)
    write_png(root / "0a1b" / "masks" / "8.png", np.zeros(SIZE, np.uint8))
    write_png(root / "0a1b" / "masks" / "9.png", np.ones((5, 5), np.uint8))
    picture(root / "2c3d" / "images", "second.png")
    found, _ = read_annotations(root)
    assert (len(found), lost_objects(found.told)) == (2, 2)
    assert sorted(p.what.split(" ")[1] for p in found.problems) == ["holds", "is", "is"]


# --- colours without a table ----------------------------------------------------------------------


def coloured(root, *masks):
    picture(root / "images", *(f"p{i}.png" for i in range(len(masks))))
    for i, mask in enumerate(masks):
        write_png(root / "masks" / f"p{i}.png", mask)
    return root


def test_colours_that_recur_are_classes(tmp_path):
    both = square(GREEN, (30, 30), base=square(RED, (3, 3), (3, 40)))
    root = coloured(tmp_path / "s", both, square(RED, (9, 9)), square(GREEN, (9, 9)))
    assert detect(root) == "colour-masks"
    found, _ = read_annotations(root)
    assert areas(found)[0] == [("#008000", 100), ("#ff0000", 200)]
    assert found.classes == ("#008000", "#ff0000")
    result = convert(root, tmp_path / "out")
    assert result.instances == 4
    assert any("a colour is a class" in line for line in result.summary())


def test_colours_of_one_mask_each_are_objects(tmp_path):
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(3):
        mask = None
        for k in range(4):
            mask = square(tuple(rng.integers(1, 255, 3)), (3, 3 + 15 * k), base=mask)
        masks.append(mask)
    root = coloured(tmp_path / "s", *masks)
    assert areas(read_annotations(root)[0]) == [[("object", 100)] * 4] * 3
    convert(root, tmp_path / "out")
    assert len(read_annotations(tmp_path / "out")[0]) == 12


def test_colours_that_may_be_either_are_asked_about(tmp_path):
    root = coloured(tmp_path / "s", square(RED, (3, 3)), square(GREEN, (9, 9)))
    with pytest.raises(TransectError, match=r"2 colours .* may mean classes or objects.*--masks"):
        read_annotations(root)
    assert read_annotations(root, masks="classes")[0].classes == ("#ff0000", "#008000")
    assert read_annotations(root, masks="instances")[0].classes == ("object",)
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    with pytest.raises(TransectError, match="as JPEG or resizing leaves"):
        read_annotations(coloured(tmp_path / "soft", noise, noise), masks="classes")


def test_a_survey_of_colours_says_what_to_do(tmp_path):
    from transect.data.survey import open_survey

    with pytest.raises(TransectError, match="a class or object per colour"):
        open_survey(coloured(tmp_path, square(RED, (3, 3)), square(RED, (9, 9))))


# --- CVAT and nnU-Net, written --------------------------------------------------------------------


def shapes(tmp_path):
    """Two seals and a pup on one picture, a seal on another, nothing on a third."""
    picture(tmp_path / "images", "a.png", "b.png", "c.png")
    found = []
    for image, kind, x in ((1, 1, 5), (1, 1, 25), (1, 2, 45), (2, 1, 5)):
        ring = [x, 10, x + 10, 10, x + 10, 20, x, 20]
        found.append({"image_id": image, "category_id": kind, "segmentation": [ring]})
    images = [
        {"id": k, "file_name": f"{n}.png", "height": 60, "width": 80}
        for k, n in enumerate("abc", 1)
    ]
    kinds = [{"id": 1, "name": "seal"}, {"id": 2, "name": "pup"}]
    whole = {"images": images, "categories": kinds, "annotations": found}
    (tmp_path / "a.json").write_text(json.dumps(whole))
    return tmp_path / "a.json"


def test_cvat_masks_keep_objects_and_classes(tmp_path):
    result = convert(shapes(tmp_path), tmp_path / "out", target_format="cvat-masks")
    assert (result.instances, result.complete) == (4, True)
    lines = (tmp_path / "out" / "labelmap.txt").read_text().splitlines()
    assert lines[1:] == ["background:0,0,0::", "seal:128,0,0::", "pup:0,128,0::"]
    mask = read_image(tmp_path / "out" / "SegmentationClass" / "a.png")
    assert mask[15, 50].tolist() == [0, 128, 0]
    found, _ = read_annotations(tmp_path / "out", images=tmp_path / "images")
    assert areas(found)[0] == [("seal", 100), ("seal", 100), ("pup", 100)]
    assert areas(found)[2] == []


def test_nnunet_is_written_as_its_reader_wants_it(tmp_path):
    result = convert(shapes(tmp_path), tmp_path / "out", target_format="nnunet")
    assert any("does not number objects" in line for line in result.summary())
    said = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert said["labels"] == {"background": 0, "seal": 1, "pup": 2}
    assert said["channel_names"] == {"0": "red", "1": "green", "2": "blue"}
    assert (said["numTraining"], said["file_ending"]) == (3, ".png")
    names = sorted(p.name for p in (tmp_path / "out" / "imagesTr").iterdir())
    assert names == ["a_0000.png", "b_0000.png", "c_0000.png"]
    for name in "abc":
        same = read_image(tmp_path / "images" / f"{name}.png")
        assert (read_image(tmp_path / "out" / "imagesTr" / f"{name}_0000.png") == same).all()
    found, _ = read_annotations(tmp_path / "out")
    assert areas(found)[0] == [("seal", 200), ("pup", 100)]
    with pytest.raises(TransectError, match="already holds a data set"):
        convert(tmp_path / "a.json", tmp_path / "out", target_format="nnunet")


def test_what_is_not_written_says_why():
    lines = format_lines()
    for one in FORMATS.values():
        assert bool(one.unwritten) == (one.write is None), one.name
        assert not one.unwritten or any(f"not written: {one.unwritten}" in li for li in lines)


# --- VOC's segmentation folders -------------------------------------------------------------------


def palette(file, mask):
    """A palette PNG in VOC's colours."""
    from PIL import Image

    from transect.data.formats.colour_masks import _voc_colour

    image = Image.fromarray(mask, mode="P")
    image.putpalette(np.array([_voc_colour(k) for k in range(256)], np.uint8).reshape(-1).tobytes())
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("end", ["", "PNG"])
@pytest.mark.parametrize("kind", ["palette", "colours"])
def test_vocs_folders_keep_objects_and_classes(tmp_path, kind, end):
    from transect.data.formats.colour_masks import _voc_colour

    picture(tmp_path / "JPEGImages", "a.jpg", "waits.jpg")
    classes = square(1, (3, 3), (3, 30), base=square(15, (30, 30)))
    objects = square(1, (3, 3), base=square(2, (3, 30), base=square(3, (30, 30))))
    for mask in (classes, objects):
        mask[50] = 255
    colours = np.array([_voc_colour(k) for k in range(256)], np.uint8)
    for name, mask in (("Class", classes), ("Object", objects)):
        file = tmp_path / f"Segmentation{name}{end}" / "a.png"
        palette(file, mask) if kind == "palette" else write_png(file, colours[mask])
    assert detect(tmp_path) == "voc-masks"
    found, _ = read_annotations(tmp_path)
    assert areas(found) == [[("1", 100), ("1", 100), ("15", 100)], []]
    assert [p.labelled for p in found.pictures] == [True, False]
    names = ["__ignore__", "_background_", "seal", *"bcdefghijklmn", "pup"]
    (tmp_path / "class_names.txt").write_text("\n".join(names))
    assert areas(read_annotations(tmp_path)[0])[0][1:] == [("seal", 100), ("pup", 100)]
