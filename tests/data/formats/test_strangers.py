"""Files in the shapes that public bug reports show: each is read right, or says what it lacks."""

import json

import numpy as np
import pytest

from tests.data.formats.test_geo import write_geotiff
from transect.cli import main
from transect.data.convert import convert, read_annotations
from transect.data.png import write_png
from transect.data.shapes import mask_of
from transect.data.tally import lost_objects
from transect.errors import TransectError


def picture(folder, *names, size_hw=(60, 80)):
    for i, name in enumerate(names):
        shade = np.random.default_rng(i).integers(1, 255, (*size_hw, 3), dtype=np.uint8)
        if name.lower().endswith((".jpg", ".jpeg")):
            from PIL import Image

            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(shade).save(folder / name, format="JPEG")
        else:
            write_png(folder / name, shade)


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def coco(annotations, *names, categories=("seal",), size_hw=(60, 80)):
    images = [
        {"id": i, "file_name": n, "height": size_hw[0], "width": size_hw[1]}
        for i, n in enumerate(names, start=1)
    ]
    kinds = [{"id": i, "name": n} for i, n in enumerate(categories)]
    entries = [{"id": i, "image_id": 1, "category_id": 0, **a} for i, a in enumerate(annotations)]
    return {"images": images, "categories": kinds, "annotations": entries}


def square(x, y, side=6):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def reasons(told, *, lost):
    return {t.why: t.objects for t in told if t.lost == lost}


def objects(annotations):
    return [i for p in annotations.pictures for i in p.instances]


# --- COCO ---------------------------------------------------------------------------------------


def test_a_crowd_region_is_no_object(tmp_path):
    picture(tmp_path / "images", "a.png")
    crowd = {"iscrowd": 1, "segmentation": {"size": [60, 80], "counts": [40, 20, 4740]}}
    file = put(tmp_path / "a.json", coco([{"segmentation": square(10, 10)}, crowd], "a.png"))
    result = convert(file, tmp_path / "out")
    assert result.instances == 1
    assert reasons(result.told, lost=True) == {"crowd region": 1}
    assert not result.complete


def test_a_class_without_an_object_is_no_class(tmp_path):
    picture(tmp_path, "a.png")
    both = [{"segmentation": square(x, 5), "category_id": 1} for x in (5, 25)]
    file = put(tmp_path / "a.json", coco(both, "a.png", categories=("shells", "limpet")))
    result = convert(file, tmp_path / "out")
    assert result.counts == (("limpet", (2, 0, 0, 0)),)
    assert result.complete
    assert "dropped from the classes: shells" in "\n".join(result.summary())


def test_objects_of_one_used_class_come_back_one_by_one(tmp_path):
    picture(tmp_path / "images", "a.png", "b.png")
    entries = [
        {"image_id": image, "category_id": 1, "segmentation": square(x, 10)}
        for image in (1, 2)
        for x in (5, 25, 45)
    ]
    file = put(
        tmp_path / "a.json", coco(entries, "a.png", "b.png", categories=("person", "dog", "cat"))
    )
    convert(file, tmp_path / "out")
    back = convert(tmp_path / "out", tmp_path / "back.json")
    assert back.counts == (("dog", (6, 0, 0, 0)),)


def test_a_valid_box_beside_a_broken_outline_counts(tmp_path):
    picture(tmp_path, "a.png")
    entries = [
        {"segmentation": [[x, 20]], "bbox": [x, 20, 1, 1]} for x in (10, 20, 30)
    ]  # RectLabel writes a keypoint as an outline of one corner
    entries.append({"segmentation": [[1, 2]]})
    annotations, _ = read_annotations(put(tmp_path / "a.json", coco(entries, "a.png")))
    boxes = np.array([i.box for i in objects(annotations)])
    assert ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist() == [[10, 20], [20, 20], [30, 20]]
    assert lost_objects(annotations.told) == 1
    assert reasons(annotations.told, lost=False) == {"broken outline: its box is used": 3}


def test_boxes_are_cut_to_the_outer_edges_of_their_picture(tmp_path):
    picture(tmp_path, "a.png")
    entries = [{"bbox": [-3.5, 50, 10, 20]}, {"bbox": [70, -2, 20, 10]}, {"bbox": [90, 5, 4, 4]}]
    file = put(tmp_path / "a.json", coco(entries, "a.png"))
    result = convert(file, tmp_path / "back.json")
    back = json.loads((tmp_path / "back.json").read_text())
    assert [a["bbox"] for a in back["annotations"]] == [[0, 50, 6.5, 10], [70, 0, 10, 8]]
    assert reasons(result.told, lost=True) == {"outside its picture": 1}
    assert reasons(result.told, lost=False) == {"box cut to its picture": 2}


def test_objects_under_others_and_thinner_than_a_pixel_are_told(tmp_path):
    picture(tmp_path, "a.png")
    entries = [{"segmentation": square(x, 5)} for x in (5, 25)]
    entries.append({"segmentation": square(25, 5)})  # the same place once more
    entries.append({"segmentation": [[40.6, 5.6, 40.8, 5.6, 40.8, 5.8]]})
    entries.append({"segmentation": square(8, 8, 2)})
    result = convert(put(tmp_path / "a.json", coco(entries, "a.png")), tmp_path / "out")
    under = "wholly under smaller objects in the masks"
    assert reasons(result.told, lost=True) == {under: 1}
    assert reasons(result.told, lost=False) == {
        "thinner than a pixel, drawn as one pixel": 1,
        "partly under smaller objects in the masks": 1,
    }
    assert result.instances == 4
    assert len(read_annotations(tmp_path / "out")[0]) == 4


def test_two_images_of_one_name_are_refused_by_both_ids(tmp_path):
    picture(tmp_path, "one/a.png", "two/a.png")
    file = put(tmp_path / "a.json", coco([{"bbox": [1, 1, 5, 5]}], "a.png", "a.png"))
    with pytest.raises(TransectError, match=r"the images 1 and 2 have one file_name"):
        convert(file, tmp_path / "out.csv")


def test_paths_of_another_computer_are_found_by_their_tail(tmp_path, capsys):
    picture(tmp_path / "images", "cb0618f6-trap one.png")
    name = "..\\..\\label-studio\\media\\upload\\4\\cb0618f6-trap one.png"
    file = put(tmp_path / "result.json", coco([{"bbox": [5, 10, 10, 10]}], name))
    assert main(["convert", str(file), str(tmp_path / "out")]) == 0
    assert "cb0618f6-trap one.png,4.5,9.5" in (tmp_path / "out" / "boxes.csv").read_text()
    assert f"wrote {tmp_path / 'out'} (survey)" in capsys.readouterr().out


def test_annotations_of_a_missing_folder_land_on_no_other_picture(tmp_path):
    picture(tmp_path / "images", "S1/IMG_0001.png", "S1/IMG_0002.png")
    entries = [{"image_id": i, "bbox": [5, 10, 10, 10]} for i in (1, 2, 2, 3)]
    names = ("S1/IMG_0001.png", "S2/IMG_0001.png", "S2/IMG_0002.png")
    result = convert(put(tmp_path / "a.json", coco(entries, *names)), tmp_path / "out")
    assert (result.pictures, result.instances, lost_objects(result.told)) == (1, 1, 3)
    assert any("S1/IMG_0001.png lies in another folder" in p for p in result.problems)


def test_nothing_is_called_written_where_nothing_is(tmp_path, capsys):
    picture(tmp_path, "z.png")
    file = put(tmp_path / "a.json", {"images": [{"file_name": "a.png"}], "annotations": []})
    assert main(["convert", str(file), str(tmp_path / "out")]) == 2
    assert "wrote" not in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_keypoints_of_an_object_with_a_box_are_no_further_objects(tmp_path):
    picture(tmp_path, "a.png")
    entries = [{"bbox": [x, 5, 10, 10], "keypoints": [x + 3, 7, 2]} for x in (5, 25, 45)]
    result = convert(put(tmp_path / "a.json", coco(entries, "a.png")), tmp_path / "out")
    assert result.counts == (("seal", (0, 3, 0, 0)),)


@pytest.mark.parametrize(("orientation", "box"), [(6, (4.5, 9.5, 24.5, 29.5)), (8, None)])
def test_annotations_drawn_before_exif_turned_the_photo_are_turned(tmp_path, orientation, box):
    from PIL import Image

    shade = np.zeros((60, 80, 3), np.uint8)
    shade[35:55, 10:30] = 255  # rows, columns of the stored frame
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(shade).save(tmp_path / "a.jpg", exif=exif, quality=95)
    entry = {"bbox": [10, 35, 20, 20], "segmentation": square(10, 35, 20)}
    file = put(tmp_path / "a.json", coco([entry, {"bbox": [10, 35, 20, 20]}], "a.jpg"))
    from transect.data.images import read_image

    annotations, _ = read_annotations(file)
    (found,) = annotations.pictures
    shown = read_image(tmp_path / "a.jpg")[..., 0] > 127
    for instance in found.instances:
        assert (mask_of(instance, found.size_hw) == shown).all()
    assert box is None or found.instances[1].box == box


# --- Label Studio -------------------------------------------------------------------------------


def region(kind, value, key="r", size_hw=(60, 80)):
    sizes = {"original_width": size_hw[1], "original_height": size_hw[0]}
    return {"id": key, "type": kind, "value": value, **sizes}


RECT = {"x": 10, "y": 10, "width": 10, "height": 20, "rotation": 0}


def test_labels_in_a_tag_of_their_own_name_the_region_they_share_an_id_with(tmp_path):
    results = []
    for key, label in (("aa", "seal"), ("bb", "pup")):
        results += [
            region("rectangle", RECT, key),
            region("labels", {**RECT, "labels": [label]}, key),
        ]
    task = {"data": {"image": "/data/upload/2/a.png"}, "annotations": [{"result": results}]}
    annotations, _ = read_annotations(put(tmp_path / "p.json", [task]))
    assert [i.label for i in objects(annotations)] == ["seal", "pup"]


def test_waiting_and_skipped_tasks_are_unlabelled_and_an_empty_answer_is_empty(tmp_path):
    names = ("done.png", "empty.png", "waits.png", "skipped.png")
    picture(tmp_path, *(f"1a2b3c4d-{n}" for n in names))
    corners = [[10, 10], [30, 10], [30, 40], [10, 40]]
    drawn = [region("polygonlabels", {"points": corners, "polygonlabels": ["kelp"]})]
    answers = ([{"result": drawn}], [{"result": []}], [], [{"result": [], "was_cancelled": True}])
    tasks = [
        {"data": {"image": f"/data/upload/1/1a2b3c4d-{n}"}, "annotations": a}
        for n, a in zip(names, answers, strict=True)
    ]
    file = put(tmp_path / "p.json", tasks)
    result = convert(file, tmp_path / "out")
    assert (result.pictures, result.empty, result.unlabelled) == (4, 1, 2)
    assert sorted(p.name for p in (tmp_path / "out" / "masks").iterdir()) == [
        "1a2b3c4d-done.png",
        "1a2b3c4d-empty.png",
    ]
    from transect.data.survey import open_survey

    survey = open_survey(tmp_path / "out")
    assert sorted(i.name for i in survey.training()) == sorted(f"1a2b3c4d-{n}" for n in names[:2])
    # A format that cannot say "not yet" leaves them out and says so.
    other = convert(file, tmp_path / "out.json")
    assert (other.pictures, other.complete) == (2, False)


def test_one_answer_counts_and_the_others_are_told(tmp_path):
    def answer(label, n=1, **more):
        values = [{**RECT, "x": 20 * i, "rectanglelabels": [label]} for i in range(n)]
        results = [region("rectanglelabels", v, str(i)) for i, v in enumerate(values)]
        return {"result": results, **more}

    first, second, truth = answer("a", 2), answer("b", 3), answer("c", ground_truth=True)
    tasks = [
        {"data": {"image": "a.png"}, "annotations": [first, second]},
        {"data": {"image": "b.png"}, "annotations": [truth, second]},
        {"data": {"image": "c.png"}, "annotations": [], "predictions": [answer("d", 4)]},
        {"data": {"image": "d.png"}, "annotations": [answer("e", 2, was_cancelled=True), first]},
    ]
    annotations, _ = read_annotations(put(tmp_path / "p.json", tasks))
    assert [i.label for i in objects(annotations)] == ["b", "b", "b", "c", "a", "a"]
    assert reasons(annotations.told, lost=True) == {
        "answer of another annotator": 5,
        "skipped answer": 2,
        "prediction that nobody confirmed": 4,
    }


def test_label_studio_min(tmp_path):
    sizes = {"original_width": 80, "original_height": 60}
    entry = {
        "image": "/data/upload/1/1a2b3c4d-a%20b.png",
        "id": 3,
        "annotator": 1,
        "annotation_id": 8,
        "lead_time": 2.5,
        "label": [{**RECT, "rectanglelabels": ["seal"], **sizes}],
        "spot": [{"x": 50, "y": 50, "width": 0.5, "keypointlabels": ["pup"], **sizes}],
    }
    annotations, _ = read_annotations(put(tmp_path / "p.json", [entry]))
    box, dot = objects(annotations)
    assert (box.label, box.box) == ("seal", (7.5, 5.5, 15.5, 17.5))
    assert (dot.label, dot.point) == ("pup", (39.5, 29.5))
    assert annotations.pictures[0].name == "1a2b3c4d-a b.png"


# --- YOLO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flat", [False, True])
def test_yolo_names_from_classes_txt(tmp_path, flat):
    picture(tmp_path if flat else tmp_path / "images", "im0.png", "im1.png", "im2.png")
    labels = tmp_path if flat else tmp_path / "labels"
    put(labels / "im0.txt", "\ufeff1 0.5 0.5 0.25 0.1\r\n")
    put(labels / "im1.txt", "0 0.5 0.5 0.25 0.1\n1 0.5 0.5 0.25 0.1\n")
    put(tmp_path / "classes.txt", "gull\r\ntern\r\n")
    result = convert(tmp_path, tmp_path / "out")
    assert result.source_format == "yolo"
    assert result.counts == (("gull", (0, 1, 0, 0)), ("tern", (0, 2, 0, 0)))
    # Where the files lie beside the pictures, one without a file has not been labelled.
    assert (result.empty, result.unlabelled) == ((0, 1) if flat else (1, 0))


@pytest.mark.parametrize("shape", ["kpt_shape: [4, 3]\n", ""])
def test_a_pose_is_its_box(tmp_path, shape):
    picture(tmp_path / "images" / "train", "a.png", size_hw=(100, 100))
    pose = "0.35 0.45 1 0.65 0.45 1 0.5 0.55 1 0.4 0.55 0"
    put(tmp_path / "labels" / "train" / "a.txt", f"0 0.5 0.5 0.4 0.2 {pose}\n")
    put(tmp_path / "data.yaml", f"path: .\n{shape}names:\n  0: fish\n")
    annotations, _ = read_annotations(tmp_path)
    (fish,) = objects(annotations)
    assert np.allclose(fish.box, (29.5, 39.5, 69.5, 59.5))
    assert fish.parts == ()


# --- LabelMe ------------------------------------------------------------------------------------


def labelme(path, *shapes, image="a.png", **more):
    entries = [
        {"label": label, "shape_type": kind, "points": points, "group_id": None, **words}
        for label, kind, points, words in shapes
    ]
    value = {"imagePath": image, "imageHeight": 60, "imageWidth": 80, "shapes": entries, **more}
    return put(path, value)


def test_a_description_is_a_remark_and_no_identity(tmp_path):
    words = ("", "partly hidden", "not sure", "identity: Freya")
    shapes = [("seal", "point", [[10 * i, 10]], {"description": w}) for i, w in enumerate(words, 1)]
    picture(tmp_path, "a.png")
    labelme(tmp_path / "a.json", *shapes)
    annotations, _ = read_annotations(tmp_path)
    assert [i.identity for i in objects(annotations)] == [None, None, None, "Freya"]
    assert reasons(annotations.told, lost=False) == {"description not kept": 2}


def test_a_json_of_another_name_is_found_by_its_image_path(tmp_path):
    picture(tmp_path / "images", "DSC 01.JPG")
    shape = ("seal", "rectangle", [[10, 10], [20, 20]], {})
    labelme(tmp_path / "ann" / "batch1_DSC 01.json", shape, image="..\\images\\DSC 01.JPG")
    result = convert(tmp_path / "ann", tmp_path / "out", images=tmp_path / "images")
    assert (result.pictures, result.instances, result.problems) == (1, 1, ())


def test_rectangles_and_circles_among_polygons_are_in_the_masks(tmp_path):
    picture(tmp_path, "p0.png", "p1.png")
    shapes = (
        ("crown", "polygon", [[5, 5], [15, 5], [15, 15], [5, 15]], {}),
        ("crown", "rectangle", [[45, 15], [30, 5]], {}),
        ("crown", "circle", [[60, 30], [60, 36]], {}),
    )
    labelme(tmp_path / "p0.json", *shapes, image="p0.png")
    result = convert(tmp_path, tmp_path / "out")
    assert result.counts == (("crown", (3, 0, 0, 0)),)
    assert reasons(result.told, lost=False) == {
        "circle read as an outline": 1,
        f"in {tmp_path}, and no annotation names them; not taken": 0,
        "box among outlines, filled into the masks": 1,
    }
    back, _ = read_annotations(tmp_path / "out")
    areas = sorted(int(mask_of(i, (60, 80)).sum()) for i in objects(back))
    assert areas == [100, 112, 150]


def test_boxes_of_a_class_without_outlines_stay_boxes_and_say_so(tmp_path):
    picture(tmp_path, "a.png")
    labelme(
        tmp_path / "a.json",
        ("crown", "polygon", [[5, 5], [15, 5], [15, 15], [5, 15]], {}),
        ("hut", "rectangle", [[45, 15], [30, 5]], {}),
    )
    result = convert(tmp_path, tmp_path / "out")
    assert result.counts == (("crown", (1, 0, 0, 0)), ("hut", (0, 1, 0, 0)))
    assert any("background in the masks" in t.why for t in result.told)


def test_boxes_and_dots_of_one_survey_both_come(tmp_path):
    picture(tmp_path, "a.png")
    labelme(
        tmp_path / "a.json",
        ("adult", "rectangle", [[5, 5], [15, 15]], {}),
        ("adult", "rectangle", [[25, 5], [35, 15]], {}),
        ("pup", "point", [[50, 20]], {}),
    )
    convert(tmp_path, tmp_path / "out")
    assert convert(tmp_path / "out", tmp_path / "b.json").counts == (
        ("adult", (0, 2, 0, 0)),
        ("pup", (0, 0, 1, 0)),
    )


# --- maps ---------------------------------------------------------------------------------------


def geojson(*features, **root):
    entries = [
        {"type": "Feature", "properties": p, "geometry": {"type": k, "coordinates": c}}
        for k, c, p in features
    ]
    return {"type": "FeatureCollection", "features": entries, **root}


def test_the_class_of_a_feature_in_any_case_and_other_attributes_told(tmp_path):
    write_geotiff(tmp_path / "ortho.tif", (30, 40), 0.0, 30.0, 1.0)
    points = [("Point", [5, 5], {"Species": "oak", "fid": 1, "Height": 7}), ("Point", [9, 9], {})]
    points.append(("Point", [7, 7], {"SPECIES": "beech", "fid": 3}))
    annotations, _ = read_annotations(put(tmp_path / "p.geojson", geojson(*points)))
    assert [i.label for i in objects(annotations)] == ["oak", "object", "beech"]
    assert reasons(annotations.told, lost=False) == {"attribute 'height' not kept": 1}


def test_an_outline_over_several_pictures_is_on_each(tmp_path):
    for i in range(3):
        write_geotiff(tmp_path / f"t{i}.tif", (32, 40), 40.0 * i, 32.0, 1.0)
    lake = [[[35, 2], [90, 2], [90, 22], [35, 22], [35, 2]]]
    file = put(tmp_path / "w.geojson", geojson(("Polygon", lake, {"class": "water"})))
    annotations, _ = read_annotations(file)
    areas = {
        p.name: sum(int(mask_of(i, p.size_hw).sum()) for i in p.instances)
        for p in annotations.pictures
    }
    assert areas == {"t0.tif": 5 * 20, "t1.tif": 40 * 20, "t2.tif": 10 * 20}
    assert reasons(annotations.told, lost=False) == {"over several pictures: an object on each": 1}
