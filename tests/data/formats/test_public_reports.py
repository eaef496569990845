"""Further files in the shapes of public bug reports, each with its source and its right value."""

import json

import numpy as np
import pytest

from tests.data.formats.test_strangers import RECT, coco, objects, picture, put, reasons, region
from tests.data.formats.test_tools import voc
from transect.data.convert import convert, read_annotations
from transect.data.formats import detect
from transect.data.shapes import mask_of
from transect.data.tally import lost_objects
from transect.errors import TransectError


def test_labelimg_59_no_size_and_no_suffix(tmp_path):
    # HumanSignal/labelImg#59, #309: width and height 0, a filename without suffix, path to itself
    picture(tmp_path, "timg.png")
    text = voc((9, 6, 62, 53), name="timg").replace(
        "<width>80</width><height>60</height>", "<width>0</width><height>0</height>"
    )
    text = text.replace("<size>", "<path>/home/mx/timg.xml</path><size>")
    annotations, _ = read_annotations(put(tmp_path / "timg.xml", text))
    assert [(p.name, p.size_hw) for p in annotations.pictures] == [("timg.png", (60, 80))]
    assert objects(annotations)[0].box == (7.5, 4.5, 61.5, 52.5)


def test_labelimg_445_a_size_that_is_not_the_pictures_is_refused(tmp_path):
    # HumanSignal/labelImg#445: two in a hundred files tell another size
    picture(tmp_path, "a.png", "b.png")
    put(tmp_path / "a.xml", voc((9, 6, 62, 53)).replace("<width>80", "<width>180"))
    put(tmp_path / "b.xml", voc((9, 6, 62, 53), name="b.png"))
    annotations, _ = read_annotations(tmp_path)
    assert [p.name for p in annotations.pictures] == ["b.png"]
    assert reasons(annotations.told, lost=True) == {"annotated at another size": 1}


def test_labelimg_414_a_corner_beyond_the_picture_is_cut(tmp_path):
    # HumanSignal/labelImg#414: xmax is the width and one more
    picture(tmp_path, "a.png")
    annotations, _ = read_annotations(put(tmp_path / "a.xml", voc((23, 29, 81, 50))))
    assert objects(annotations)[0].box == (21.5, 27.5, 79.5, 49.5)


def test_raccoon_74_corners_by_tag_and_not_by_place(tmp_path):
    # datitran/raccoon_dataset#74: ymin before xmin
    picture(tmp_path, "a.png")
    text = voc((1, 2, 30, 40))
    text = text.replace("<xmin>1</xmin><ymin>2</ymin>", "<ymin>2</ymin><xmin>1</xmin>")
    annotations, _ = read_annotations(put(tmp_path / "a.xml", text))
    assert objects(annotations)[0].box == (-0.5, 0.5, 29.5, 39.5)


def yolo(tmp_path, text, file="a.txt"):
    picture(tmp_path / "images", "a.png", size_hw=(100, 200))
    put(tmp_path / "labels" / file, text)
    put(tmp_path / "classes.txt", "tern\n")
    assert detect(tmp_path) == "yolo"
    return read_annotations(tmp_path)[0]


def test_yolov5_10149_a_line_that_stands_twice_is_one_object(tmp_path):
    # ultralytics/yolov5#10149
    annotations = yolo(tmp_path, "0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n0 0.2 0.5 0.1 0.1\n")
    assert len(annotations) == 2
    assert reasons(annotations.told, lost=True) == {"the same object twice": 1}


def test_pytorch_yolov3_644_cells_parted_by_commas(tmp_path):
    # eriklindernoren/PyTorch-YOLOv3#644
    annotations = yolo(tmp_path, "0, 0.5, 0.5, 0.1, 0.2\n")
    assert np.allclose(objects(annotations)[0].box, (89.5, 39.5, 109.5, 59.5))


def test_darknet_2990_a_class_that_no_list_names(tmp_path):
    # AlexeyAB/darknet#2990
    annotations = yolo(tmp_path, "8 0.5 0.5 0.1 0.2\n0 0.5 0.5 0.1 0.2\n")
    assert (len(annotations), lost_objects(annotations.told)) == (1, 1)
    assert "unknown class 8" in annotations.problems[0].what


def test_yolomark_4_a_box_that_leaves_its_picture_is_cut(tmp_path):
    # MrZander/YoloMarkNet#4: y and height reach beyond 1
    annotations = yolo(tmp_path, "0 0.31884375 0.43010566 0.62125003 0.8718545\n")
    x0, y0, x1, y1 = objects(annotations)[0].box
    assert y0 == -0.5
    assert np.allclose((x0, x1, y1), (1.1437, 125.3937, 86.1033), atol=1e-3)


@pytest.mark.parametrize("flat", [True, False])
def test_classifai_15_label_files_called_after_the_whole_name(tmp_path, flat):
    # CertifaiAI/classifai#15: pedestrian (1).png.txt
    picture(tmp_path if flat else tmp_path / "images", "p (1).png", "p (1).jpg")
    labels = tmp_path if flat else tmp_path / "labels"
    put(labels / "p (1).png.txt", "0 0.5 0.5 0.1 0.1\n0 0.2 0.2 0.1 0.1\n")
    put(labels / "p (1).jpg.txt", "0 0.5 0.5 0.1 0.1\n")
    annotations, _ = read_annotations(tmp_path, source_format="yolo")
    assert {p.name: len(p.instances) for p in annotations.pictures} == {
        "p (1).png": 2,
        "p (1).jpg": 1,
    }


def test_label_studio_converter_168_a_windows_path_behind_d(tmp_path):
    # HumanSignal/label-studio-converter#168
    name = "C-20_jpg.rf.50ca3100575bd7638857fe45f734b730.jpg"
    picture(tmp_path / "train", name, "other.jpg")
    address = f"/data/local-files/?d=Ml%5Ccoco-segments%5Ctrain%5C{name}"
    result = region("rectanglelabels", {**RECT, "rectanglelabels": ["column"]})
    file = put(
        tmp_path / "p.json", [{"data": {"image": address}, "annotations": [{"result": [result]}]}]
    )
    annotations, _ = read_annotations(file, images=tmp_path)
    assert [p.name for p in annotations.pictures] == [f"train/{name}"]


def test_label_studio_converter_186_a_coordinate_that_is_null(tmp_path):
    # HumanSignal/label-studio-converter#186
    picture(tmp_path, "a.png")
    values = [{**RECT, "x": None, "rectanglelabels": ["a"]}, {**RECT, "rectanglelabels": ["b"]}]
    results = [region("rectanglelabels", v, str(i)) for i, v in enumerate(values)]
    file = put(
        tmp_path / "p.json", [{"data": {"image": "a.png"}, "annotations": [{"result": results}]}]
    )
    annotations, _ = read_annotations(file)
    assert [i.label for i in objects(annotations)] == ["b"]
    assert lost_objects(annotations.told) == 1


def test_cvat_4745_a_turned_box_in_coco(tmp_path):
    # cvat-ai/cvat#4745, #6785: the angle stands in an attribute, the box is not turned
    picture(tmp_path, "a.png")
    entry = {"bbox": [10, 20, 40, 10], "attributes": {"rotation": 90.0, "occluded": False}}
    annotations, _ = read_annotations(put(tmp_path / "a.json", coco([entry], "a.png")))
    mask = mask_of(objects(annotations)[0], (60, 80))
    assert np.argwhere(mask).min(axis=0).tolist() == [5, 25]
    assert mask.sum() == 400
    assert reasons(annotations.told, lost=False) == {"turned box read as an outline": 1}


def test_cvat_955_an_outline_of_two_points_costs_no_other(tmp_path):
    # cvat-ai/cvat#955
    picture(tmp_path, "a.png")
    entries = [{"segmentation": [[1, 1, 9, 9]]}, {"segmentation": [[1, 1, 9, 1, 9, 9]]}]
    annotations, _ = read_annotations(put(tmp_path / "a.json", coco(entries, "a.png")))
    assert (len(annotations), lost_objects(annotations.told)) == (1, 1)


def test_pylabel_44_pictures_without_annotations_are_empty(tmp_path):
    # pylabel-project/pylabel#44
    picture(tmp_path, "a.png", "b.png")
    file = put(tmp_path / "a.json", coco([{"bbox": [1, 1, 5, 5]}], "a.png", "b.png"))
    result = convert(file, tmp_path / "out")
    assert (result.pictures, result.empty, result.complete) == (2, 1, True)


def test_histoqc_180_qupath_lists_of_features(tmp_path):
    # choosehappy/HistoQC#180: a bare list, as QuPath 0.2 wrote it; a MultiPolygon of two
    picture(tmp_path, "slide.png")
    rings = [[[[x, 5], [x + 4, 5], [x + 4, 9], [x, 9], [x, 5]]] for x in (10, 30)]
    feature = {
        "type": "Feature",
        "id": "PathAnnotationObject",
        "geometry": {"type": "MultiPolygon", "coordinates": rings},
        "properties": {
            "classification": {"name": "Region*", "colorRGB": -16776961},
            "isLocked": True,
        },
    }
    file = put(tmp_path / "slide.json", [feature])
    assert detect(file) == "qupath"
    annotations, _ = read_annotations(file)
    (found,) = objects(annotations)
    assert (found.label, int(mask_of(found, (60, 80)).sum())) == ("Region*", 32)


def test_seed_5013_a_multipolygon_with_a_hole_on_the_ground(tmp_path):
    # SEED-platform/seed#5013
    from tests.data.formats.test_geo import write_geotiff

    write_geotiff(tmp_path / "t.tif", (40, 40), 0.0, 40.0, 1.0)
    outer = [[2, 2], [12, 2], [12, 12], [2, 12], [2, 2]]
    hole = [[4, 4], [4, 8], [8, 8], [8, 4], [4, 4]]
    far = [[20, 20], [24, 20], [24, 24], [20, 24], [20, 20]]
    geometry = {"type": "MultiPolygon", "coordinates": [[far], [outer, hole]]}
    feature = {"type": "Feature", "properties": {"Custom ID 1": 1}, "geometry": geometry}
    file = put(tmp_path / "f.geojson", {"type": "FeatureCollection", "features": [feature]})
    annotations, _ = read_annotations(file)
    assert mask_of(objects(annotations)[0], (40, 40)).sum() == 100 - 16 + 16


def test_camera_traps_227_a_detector_that_wrote_whole_windows_paths(tmp_path):
    # microsoft/Biodiversity#227
    picture(tmp_path, "Bushnell_13_b/IMG_1.JPG", "Bushnell_14/IMG_1.JPG")
    box = {"category": "1", "conf": 0.8, "bbox": [0.25, 0.5, 0.125, 0.1]}
    entry = {"file": "E:/Other/AI_Cameratrapping\\Bushnell_13_b\\IMG_1.JPG", "detections": [box]}
    value = {"images": [entry], "detection_categories": {"1": "animal"}}
    annotations, _ = read_annotations(put(tmp_path / "md.json", value), images=tmp_path)
    assert [p.name for p in annotations.pictures] == ["Bushnell_13_b/IMG_1.JPG"]


def test_the_class_column_of_make_sense(tmp_path):
    # SkalskiP/make-sense#150
    picture(tmp_path, "a.png")
    names = "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height"
    file = put(tmp_path / "labels.csv", f"{names}\nseal,10,5,20,10,a.png,80,60\n")
    found, _ = read_annotations(file)
    assert [(i.label, i.box) for p in found.pictures for i in p.instances] == [
        ("seal", (9.5, 4.5, 29.5, 14.5))
    ]


def test_json_of_another_encoding_is_named(tmp_path):
    picture(tmp_path, "a.png")
    shape = {"label": "\u6d77\u8c79", "shape_type": "rectangle", "points": [[1, 1], [9, 9]]}
    value = {"imagePath": "a.png", "imageHeight": 60, "imageWidth": 80, "shapes": [shape]}
    text = json.dumps(value, ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode("gbk"))
    with pytest.raises(TransectError, match=r"not in UTF-8.*save it as UTF-8"):
        read_annotations(tmp_path)
    (tmp_path / "a.json").write_bytes(text.encode("utf-16"))
    found, _ = read_annotations(tmp_path)
    assert found.classes == ("\u6d77\u8c79",)
