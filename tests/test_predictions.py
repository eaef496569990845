"""Answers as Python uses them, read from the folder that predict wrote."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.small import write_disc_survey
from transect.data.images import read_labels
from transect.errors import TransectError
from transect.files import write_json
from transect.predictions import Predictions
from transect.scores import Scores

TOLD = {"images": 2, "problems": [], "files": [], "verdict": "Do not use: <nothing>."}


def answers(tmp_path, inputs) -> Predictions:
    """An empty folder of answers about two images."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "b[1].png"):
        cv2.imwrite(str(images / name), np.zeros((20, 30), np.uint8))
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "inputs.json", inputs)
    (tmp_path / "out").mkdir()
    return Predictions(TOLD, run=tmp_path / "run", source=images, out=tmp_path / "out")


@pytest.fixture
def masked(tmp_path):
    """Classes rock (written 7) and sand (written 3), one image without anything."""
    inputs = {"mask_kind": "classes", "classes": ["rock", "sand"], "class_values": [7, 3]}
    found = answers(tmp_path, inputs)
    (found.out / "masks").mkdir()
    labels = np.zeros((20, 30), np.uint8)
    labels[2:5, 10:20] = 3
    labels[8:10, 0:4] = 7
    cv2.imwrite(str(found.out / "masks" / "a.png"), labels)
    cv2.imwrite(str(found.out / "masks" / "b[1].png"), np.zeros((20, 30), np.uint8))
    (found.out / "summary.csv").write_text("image,objects\na.png,2\n'=b,0\n")
    return found


def test_masks_come_in_the_order_of_the_classes(masked):
    found = dict(masked.masks())
    assert sorted(found) == ["a.png", "b[1].png"]
    assert (found["a.png"][2:5, 10:20] == 2).all()
    assert (found["a.png"][8:10, 0:4] == 1).all()
    assert found["a.png"].astype(bool).sum() == 38


def test_boxes_and_coco_say_the_same(masked):
    boxes = masked.boxes.set_index("class")
    assert boxes.loc["sand", ["x0", "y0", "x1", "y1"]].tolist() == [9.5, 1.5, 19.5, 4.5]
    root = masked.to_coco()
    assert [image["file_name"] for image in root["images"]] == ["a.png", "b[1].png"]
    names = {c["id"]: c["name"] for c in root["categories"]}
    found = {names[a["category_id"]]: a["bbox"] for a in root["annotations"]}
    assert found == {"rock": [0, 8, 4, 2], "sand": [10, 2, 10, 3]}


def test_as_supervision_and_geopandas(masked):
    pytest.importorskip("supervision")
    found = masked.to_supervision()
    assert len(found["b[1].png"]) == 0
    assert found["a.png"].xyxy.tolist() == [[0, 8, 4, 10], [10, 2, 20, 5]]
    assert found["a.png"].mask.sum() == 38
    pytest.importorskip("geopandas")
    assert masked.to_geopandas().geometry.area.tolist() == [8, 30]


def test_points_as_tables_and_for_others(tmp_path):
    found = answers(tmp_path, {"classes": ["pup"]})
    (found.out / "points.csv").write_text("image,x,y,class,confidence\na.png,3.0,4.5,pup,0.75\n")
    (found.out / "counts.csv").write_text("image,pup\na.png,1.0\nb[1].png,0.0\n")
    assert found.points.to_dict("records")[0]["confidence"] == 0.75
    assert found.table["pup"].tolist() == [1, 0]
    (one,) = found.to_coco()["annotations"]
    assert one["keypoints"] == [3.0, 4.5, 2]
    assert one["score"] == 0.75
    assert len(found.boxes) == 0
    if pytest.importorskip("geopandas"):
        assert found.to_geopandas().geometry.iloc[0].coords[0] == (3.0, 4.5)
    sv = pytest.importorskip("supervision")
    assert isinstance(found.to_supervision()["a.png"], sv.KeyPoints)


def test_tables_are_read_without_the_spreadsheets_guard(masked):
    assert masked.table["image"].tolist() == ["a.png", "=b"]
    assert json.dumps(masked["images"]) == "2"


def test_notebooks_show_the_verdict_and_nothing_is_markup(masked):
    shown = masked._repr_html_()
    assert "Do not use: &lt;nothing&gt;." in shown
    assert "<td>a.png</td>" in shown


def test_without_a_table_it_says_so(tmp_path):
    with pytest.raises(TransectError, match="holds no table"):
        _ = answers(tmp_path, {}).table


def test_scores_are_a_dictionary_and_a_table():
    record = {"value": 0.5, "interval": None, "folds": [], "pictures": 3, "why": "too few"}
    found = Scores({"dice": record}, verdict="Not judged <yet>.")
    assert json.loads(json.dumps(found)) == {"dice": record}
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame.loc["dice", "why"] == "too few"
    assert np.isnan(frame.loc["dice", "low"])
    assert "Not judged &lt;yet&gt;." in found._repr_html_()


def test_binary_masks_are_ones(tmp_path):
    root = write_disc_survey(tmp_path / "survey", count=2)
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "inputs.json", {"mask_kind": "binary", "classes": []})
    found = Predictions(TOLD, run=tmp_path / "run", source=root / "images", out=root)
    for name, mask in found.masks():
        assert set(np.unique(mask)) == {0, 1}
        assert (mask == (read_labels(root / "masks" / name) > 0)).all()
