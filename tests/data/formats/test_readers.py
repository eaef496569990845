"""Files as other programs write them: one hand-worked example per trap."""

import base64
import json

import cv2
import numpy as np
import pytest

from tests.data.formats.samples import make_pictures
from transect.data.convert import convert, read_annotations
from transect.data.exchange import Pictures, checked_name
from transect.data.formats import (
    brush,
    camtrap,
    coco,
    cvat,
    detect,
    kaggle,
    labelme,
    labelstudio,
    via,
    yolo,
    yolo_names,
)
from transect.data.shapes import box_of, mask_of
from transect.errors import TransectError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def the_one(annotations):
    assert annotations.problems == ()
    (picture,) = annotations.pictures
    (instance,) = picture.instances
    return instance


def coco_file(tmp_path, **annotation):
    entry = {"id": 1, "image_id": 7, "category_id": 3, **annotation}
    return write(
        tmp_path / "a.json",
        {
            "images": [{"id": 7, "file_name": "a.png", "height": 4, "width": 5}],
            "categories": [{"id": 3, "name": "seal", "keypoints": ["nose", "tail"]}],
            "annotations": [entry],
        },
    )


def test_coco_box_covers_its_pixels(tmp_path):
    found = the_one(coco.read(coco_file(tmp_path, bbox=[1, 2, 3, 1])))
    assert found.box == (0.5, 1.5, 3.5, 2.5)
    np.testing.assert_array_equal(np.argwhere(mask_of(found, (4, 5))), [[2, 1], [2, 2], [2, 3]])


def test_coco_polygon_of_a_pixel_grid(tmp_path):
    found = the_one(coco.read(coco_file(tmp_path, segmentation=[[1, 1, 3, 1, 3, 3, 1, 3]])))
    np.testing.assert_array_equal(
        np.argwhere(mask_of(found, (4, 5))), [[1, 1], [1, 2], [2, 1], [2, 2]]
    )


@pytest.mark.parametrize("counts", [[5, 2, 13], "52=", None])
def test_coco_counts_run_down_the_columns(tmp_path, counts):
    from transect.data.rle import compress_counts

    counts = counts or compress_counts([5, 2, 13])
    if counts == "52=":
        assert compress_counts([5, 2, 13]) == counts
    found = the_one(coco.read(coco_file(tmp_path, segmentation={"size": [4, 5], "counts": counts})))
    np.testing.assert_array_equal(np.argwhere(mask_of(found, (4, 5))), [[1, 1], [2, 1]])


def test_coco_keypoints(tmp_path):
    read = coco.read(coco_file(tmp_path, bbox=[0, 0, 2, 2], keypoints=[1, 2, 2, 0, 0, 0]))
    assert the_one(read).box == (-0.5, -0.5, 1.5, 1.5)
    assert [(t.lost, t.objects) for t in read.told] == [(False, 1)]
    assert the_one(coco.read(coco_file(tmp_path, keypoints=[1, 2, 2]))).point == (1.0, 2.0)
    read = coco.read(coco_file(tmp_path, keypoints=[1, 2, 2, 3, 1, 2]))
    assert [i.label for i in read.pictures[0].instances] == ["seal/nose", "seal/tail"]


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ({"image_id": 8}, "not listed"),
        ({"category_id": 8}, "unknown category"),
        ({"bbox": [1, 2, 3]}, "width, height"),
        ({"bbox": [1, 2, -3, 0]}, "without area"),
        ({"bbox": [1, 2, "x", 4]}, "a number"),
        ({"segmentation": [[1, 2, 3]]}, "pairs"),
        ({"segmentation": [[1, 2, 3, 4]]}, "2 points"),
        ({"segmentation": {"size": [4, 5], "counts": [3]}}, "do not add up"),
        ({"segmentation": {"size": [5, 4], "counts": [20]}}, "unlike its image"),
        ({"segmentation": {"size": [4, 5], "counts": "\x7f"}}, "compressed RLE"),
        ({"segmentation": {"size": [4, 5]}}, "no 'counts'"),
        ({"score": 7, "bbox": [0, 0, 1, 1]}, "from 0 to 1"),
        ({"keypoints": [1, 2]}, "triples"),
    ],
)
def test_coco_faults_are_listed_with_their_place(tmp_path, annotation, says):
    read = coco.read(coco_file(tmp_path, **annotation))
    assert len(read) == 0
    (problem,) = read.problems
    assert "a.json: annotations[0]" in problem.what
    assert says in problem.what


def shape(kind, points, **more):
    return {"label": "seal", "points": points, "group_id": None, "shape_type": kind, **more}


def labelme_file(tmp_path, *shapes):
    value = {"imagePath": "..\\x\\a.jpg", "imageHeight": 6, "imageWidth": 8, "imageData": "!"}
    return write(tmp_path / "sub" / "a.json", {**value, "shapes": list(shapes)})


def test_labelme_takes_the_name_from_its_own_file(tmp_path):
    labelme_file(tmp_path, shape("rectangle", [[5, 4], [1, 2]]))
    read = labelme.read(tmp_path)
    assert read.pictures[0].name == "sub/a.jpg"
    assert the_one(read).box == (0.5, 1.5, 4.5, 3.5)


def test_labelme_circle_point_groups_and_mask(tmp_path):
    mask = np.zeros((2, 3), np.uint8)
    mask[0, 1] = mask[1, 2] = 1
    code = base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()
    square = [[0, 0], [2, 0], [2, 2], [0, 2]]
    far = [[4, 0], [6, 0], [6, 2], [4, 2]]
    path = labelme_file(
        tmp_path,
        shape("circle", [[4, 3], [6, 3]]),
        shape("point", [[2.5, 3.5]]),
        shape("mask", [[1, 2], [3, 3]], mask=code),
        shape("polygon", square, group_id=1),
        shape("polygon", far, group_id=1),
        shape("line", [[0, 0], [1, 1]]),
    )
    read = labelme.read(path)
    circle, point, stamp, pair = read.pictures[0].instances
    assert mask_of(circle, (6, 8)).sum() == 12
    assert point.point == (2.0, 3.0)
    np.testing.assert_array_equal(np.argwhere(mask_of(stamp, (6, 8))), [[2, 2], [3, 3]])
    assert len(pair.parts) == 2
    assert mask_of(pair, (6, 8)).sum() == 8
    assert "'line'" in read.problems[0].what


def test_labelme_mask_bombs_and_rubbish(tmp_path):
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    bomb = base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk).decode()
    for mask, says in ((bomb, "mask"), ("@@", "base64"), (None, "base64"), (7, "base64")):
        path = labelme_file(tmp_path, shape("mask", [[1, 2], [3, 3]], mask=mask))
        assert says in labelme.read(path).problems[0].what


BRUSH_HEAD = f"{12:032b}{7:05b}" + "".join(f"{s - 1:04b}" for s in (3, 4, 8, 16))


def packed(bits):
    return [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]


def slow_brush(code):
    """Label Studio's decoder, bit by bit."""
    bits = "".join(f"{b:08b}" for b in code)
    at = 0

    def take(n):
        nonlocal at
        at += n
        return int(bits[at - n : at], 2)

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    out = []
    while len(out) < count:
        repeat, length = take(1), None
        length = take(sizes[take(2)]) + 1
        out += [take(word)] * length if repeat else [take(word) for _ in range(length)]
    return out


def test_brush_agrees_with_a_slow_decoder():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 1.0):
        mask = rng.random((13, 11)) < share
        code = brush.mask_to_brush(mask)
        assert slow_brush(code) == (np.repeat(mask.reshape(-1), 4) * 255).tolist()
        np.testing.assert_array_equal(brush.brush_to_mask(code, (13, 11)), mask)


def test_brush_with_words_that_are_not_repeated():
    values = [0, 0, 0, 9, 1, 2, 3, 0, 5, 5, 5, 255]  # three pixels; alphas 9, 0, 255
    code = packed(BRUSH_HEAD + f"001{11:04b}" + "".join(f"{v:08b}" for v in values))
    assert slow_brush(code) == values
    assert brush.brush_to_mask(code, (1, 3)).tolist() == [[True, False, True]]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ([0, 0, 0, 12], "cut off"),
        ([0, 0, 0, 11, 60, 0], "11 values"),
        (packed(BRUSH_HEAD + f"111{99:016b}" + "1" * 8), "runs past"),
        (packed(BRUSH_HEAD + f"011{11:016b}" + "1" * 8), "cut off"),
        (["a"], "no list of bytes"),
        ([300], "no list of bytes"),
        ([], "no list of bytes"),
    ],
)
def test_broken_brushes(code, says):
    with pytest.raises(TransectError, match=says):
        brush.brush_to_mask(code, (1, 3))


def task(result, image="/data/upload/3/0a1b2c3d-a.png"):
    sizes = {"original_width": 200, "original_height": 100}
    results = [{**sizes, **result}]
    old = {"result": [], "was_cancelled": False}
    cancelled = {"result": [], "was_cancelled": True}
    return [{"data": {"image": image}, "annotations": [old, {"result": results}, cancelled]}]


def test_labelstudio_percent_rotation_and_upload_names(tmp_path):
    value = {"x": 10, "y": 20, "width": 5, "height": 30, "rotationdegrees": 0}
    value["rectanglelabels"] = ["seal"]
    path = write(tmp_path / "a.json", task({"type": "rectanglelabels", "value": value}))
    read = labelstudio.read(path)
    assert read.pictures[0].name == "0a1b2c3d-a.png"
    assert the_one(read).box == (19.5, 19.5, 29.5, 49.5)
    pictures = Pictures(make_pictures(tmp_path / "pictures"))
    assert pictures.find("0a1b2c3d-a.png") == "a.png"
    # A quarter turn clockwise about the top left corner: the box lies to the left of it.
    turned = {**value, "rotation": 90}
    path = write(tmp_path / "a.json", task({"type": "rectanglelabels", "value": turned}))
    assert np.allclose(box_of(the_one(labelstudio.read(path)), None), (-10.5, 19.5, 19.5, 29.5))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://bucket/deep/a%20b.jpg", "deep/a b.jpg"),
        ("https://x.org/i/a.jpg?token=1", "i/a.jpg"),
        ("/data/local-files/?d=photos/a.jpg", "photos/a.jpg"),
        ("site/a.jpg", "site/a.jpg"),
        ("/data/upload/2/0a1b2c3d-a%20b.jpg", "0a1b2c3d-a b.jpg"),
    ],
)
def test_labelstudio_addresses(tmp_path, address, name):
    value = {"choices": ["beach"]}
    path = write(tmp_path / "a.json", task({"type": "choices", "value": value}, address))
    assert labelstudio.read(path).pictures[0].name == name


CVAT = """<?xml version="1.0"?><annotations><version>1.1</version>
<meta><task><labels><label><name>seal</name></label><label><name>pup</name></label></labels></task>
</meta><image id="0" name="a.png" width="8" height="6">{}</image></annotations>"""


def test_cvat_shapes(tmp_path):
    path = write(
        tmp_path / "a.xml",
        CVAT.format(
            '<box label="seal" xtl="2" ytl="1" xbr="6" ybr="3" rotation="90"/>'
            '<points label="pup" points="1.5,2.5;3.5,4.5"/>'
            '<mask label="seal" rle="1, 2, 3" left="2" top="1" width="3" height="2"/>'
            '<ellipse label="seal" cx="4" cy="3" rx="2" ry="2"/>'
            '<polyline label="seal" points="1,1;2,2"/>'
        ),
    )
    assert detect(path) == "cvat"
    read = cvat.read(path)
    assert read.classes == ("seal", "pup")
    box, first, second, stamp, circle = read.pictures[0].instances
    assert np.allclose(box_of(box, None), (2.5, -0.5, 4.5, 3.5))
    assert (first.point, second.point) == ((1.0, 2.0), (3.0, 4.0))
    np.testing.assert_array_equal(np.argwhere(mask_of(stamp, (6, 8))), [[1, 3], [1, 4]])
    assert mask_of(circle, (6, 8)).sum() == 12
    assert "polyline" in read.problems[0].what


def test_cvat_entity_bombs_are_refused(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><annotations>&b;</annotations>'
    with pytest.raises(TransectError, match="DOCTYPE"):
        cvat.read(write(tmp_path / "a.xml", bomb))
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>'
    with pytest.raises(TransectError, match="DOCTYPE"):
        cvat.read(write(tmp_path / "a.xml", outside))


@pytest.mark.parametrize(
    ("text", "says"),
    [("<annotations><track/></annotations>", "video"), ("<a/>", "not CVAT"), ("<", "valid XML")],
)
def test_cvat_other_xml(tmp_path, text, says):
    with pytest.raises(TransectError, match=says):
        cvat.read(write(tmp_path / "a.xml", text))


def test_via_versions(tmp_path):
    shape = {"name": "circle", "cx": 4, "cy": 3, "r": 2}
    region = {"shape_attributes": shape, "region_attributes": {"kind": {"seal": True, "x": False}}}
    old = {"a.png123": {"filename": "a.png", "size": 123, "regions": {"0": region}}}
    project = {"_via_settings": {}, "_via_img_metadata": old}
    for value in (old, project):
        path = write(tmp_path / "a.json", value)
        assert detect(path) == "via"
        found = the_one(via.read(path))
        assert found.label == "seal"
        assert mask_of(found, (6, 8)).sum() == 12


def test_yolo_layouts_and_yaml(tmp_path):
    pictures = make_pictures(tmp_path / "pictures")
    for layout in ("{kind}/train/a.{s}", "train/{kind}/a.{s}", "{kind}/a.{s}"):
        root = tmp_path / layout.replace("/", "-")
        image = root / layout.format(kind="images", s="png")
        image.parent.mkdir(parents=True)
        image.write_bytes((pictures / "a.png").read_bytes())
        write(root / layout.format(kind="labels", s="txt"), "1 0.5 0.5 0.25 0.5\n\n0 0 0 1 0 1 1\n")
        write(root / "data.yaml", "# mine\nnames:\n  0: seal # grey\n  1: 'a: b'\n\nnc: 2\n")
        assert detect(root) == "yolo"
        read, _ = read_annotations(root)
        box, polygon = read.pictures[0].instances
        assert (box.label, box.box) == ("a: b", (5.5, 2.5, 9.5, 8.5))
        assert mask_of(polygon, (12, 16)).sum() == 96
        assert read.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "names: [a, 'b, c']",
        "names: ['a',\n  \"b, c\"]",
        "names:\n- a\n- 'b, c'",
        "names: {0: a, 1: 'b, c'}",
    ],
)
def test_yaml_names(tmp_path, text):
    names = yolo_names.read_names(write(tmp_path / "data.yaml", f"path: .\n{text}\nnc: 2\n"))
    assert names == {0: "a", 1: "b, c"}


@pytest.mark.parametrize("text", ["names: a", "names: [a", "names:\n  x: a", "names: ['a]"])
def test_yaml_that_is_more_than_names(tmp_path, text):
    with pytest.raises(TransectError):
        yolo_names.read_names(write(tmp_path / "data.yaml", text))


def test_yolo_faults(tmp_path):
    root = tmp_path / "set"
    make_pictures(root / "images")
    write(root / "labels" / "a.txt", "0 10 20 30 40\n0 0.5 0.5\nx 1 1 1 1\n0 0.5 0.5 0.2 0.2 0.9\n")
    write(root / "labels" / "z.txt", "0 0.5 0.5 0.2 0.2\n")
    read = yolo.read(root)
    assert [len(p.instances) for p in read.pictures] == [1, 0, 0]
    assert read.pictures[0].instances[0].confidence == 0.9
    said = " ".join(p.what for p in read.problems)
    for says in ("beyond 0..1", "1 points", "class must be a number", "z.txt has no picture"):
        assert says in said


def test_kaggle_tables(tmp_path):
    pictures = Pictures(make_pictures(tmp_path / "pictures"))
    tables = {
        "id,rle_mask\na,1 3\nempty,\n": "object",
        "ImageId,EncodedPixels\na.png,1 3\nempty.png,-1\n": "object",
        "Image_Label,EncodedPixels\na.png_Fish,1 3\nempty.png_Fish,\n": "Fish",
        "ImageId_ClassId;EncodedPixels\na.png_4;1 3\nempty.png_4;\n": "4",
    }
    for text, label in tables.items():
        path = write(tmp_path / "train.csv", text)
        assert detect(path) == "kaggle"
        read = kaggle.read(path, pictures=pictures)
        assert read.problems == ()
        first, second = read.pictures
        assert (first.instances[0].label, second.instances) == (label, ())
        np.testing.assert_array_equal(
            np.argwhere(mask_of(first.instances[0], (12, 16))), [[0, 0], [1, 0], [2, 0]]
        )


def test_kaggle_rows_of_one_image_are_its_objects(tmp_path):
    pictures = Pictures(make_pictures(tmp_path / "pictures"))
    path = write(tmp_path / "train.csv", "ImageId,EncodedPixels\na,1 3\na,7 2\na,0 1\nb,400 9\n")
    read = kaggle.read(path, pictures=pictures)
    assert [len(p.instances) for p in read.pictures] == [2, 0]
    assert [p.what.split(" has the pair")[0] for p in read.problems] == [
        "train.csv line 4",
        "train.csv line 5",
    ]


def test_kaggle_long_cells(tmp_path):
    pictures = Pictures(make_pictures(tmp_path / "pictures"))
    path = write(tmp_path / "train.csv", "id,rle_mask\na," + "1 1 " + " " * 200_000 + "\n")
    assert len(kaggle.read(path, pictures=pictures)) == 1


def test_camtrap_rows(tmp_path):
    pictures = Pictures(make_pictures(tmp_path / "pictures"))
    write(
        tmp_path / "media.csv",
        "mediaID,deploymentID,timestamp,filePath,fileName\n"
        "m1,d1,2020-01-01T00:00:00Z,a.png,a.png\nm2,d1,,https://x.org/b.png?x,b.png\n",
    )
    write(
        tmp_path / "observations.csv",
        "observationID,mediaID,eventID,observationType,scientificName,individualID,bboxX,bboxY,"
        "bboxWidth,bboxHeight\n"
        "o1,m1,e9,animal,Panthera onca,Saba,0.25,0.5,0.5,0.25\no2,m2,,blank,,,,,,\n"
        "o3,m9,,animal,,,,,,\no4,,e9,animal,,,,,,\n",
    )
    assert detect(tmp_path) == "camtrap"
    read = camtrap.read(tmp_path, pictures=pictures)
    first, second = read.pictures
    (animal,) = first.instances
    assert (animal.label, animal.identity) == ("Panthera onca", "Saba")
    assert animal.box == (3.5, 5.5, 11.5, 8.5)
    assert first.columns == {"date": "2020-01-01T00:00:00Z", "group": "e9"}
    assert (second.name, second.instances) == ("b.png", ())
    assert "'m9'" in read.problems[0].what


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "/etc/passwd",
        "C:\\a.png",
        "a/../../b",
        "a\0b",
        "",
        "a\nb",
        "x" * 300,
        "a//b",
        "\ud800",
    ],
)
def test_no_name_leads_out_of_its_folder(tmp_path, name):
    with pytest.raises(TransectError):
        checked_name(name)
    path = write(
        tmp_path / "a.json",
        {"images": [{"id": 1, "file_name": name, "height": 2, "width": 2}], "annotations": []},
    )
    read = coco.read(path)
    for picture in read.pictures:  # the tail of a path that another computer had
        assert checked_name(picture.name) == picture.name
    assert len(read.problems) == 1 - len(read.pictures)


def test_deep_and_huge_numbers_in_json(tmp_path):
    for text in (
        "[" * 100_000,
        '{"images": ' + "[" * 70 + "]" * 70 + "}",
        '{"images": [' + "9" * 5000 + "]}",
    ):
        with pytest.raises(TransectError):
            coco.read(write(tmp_path / "a.json", text))


def test_formulas_in_names_are_defused_in_our_tables(tmp_path):
    pictures = tmp_path / "pictures"
    make_pictures(pictures)
    (pictures / "a.png").rename(pictures / "=1+1.png")
    value = {"images": [{"id": 1, "file_name": "=1+1.png", "height": 12, "width": 16}]}
    value["categories"] = [{"id": 1, "name": "@SUM(A1)"}]
    value["annotations"] = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}]
    source = write(tmp_path / "a.json", value)
    for target in ("x.csv", "survey"):
        convert(source, tmp_path / target, images=pictures)
    for path in (tmp_path / "x.csv", tmp_path / "survey" / "boxes.csv"):
        assert "'=1+1.png" in path.read_text()
        assert "'@SUM" in path.read_text()
