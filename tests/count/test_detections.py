"""Detectors as members of counting: boxes from tiles, as peaks, as scores and as files."""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.count.conftest import TINY, Said
from transect import api, recipes
from transect.count.box_scoring import box_columns, precision_of
from transect.count.boxes import box_target
from transect.count.counters import PlaneCounter
from transect.count.detecting import DetectorMember, check_detectors, tile_cores
from transect.count.detections import Detections, fused
from transect.count.maps import mean_map
from transect.count.measures import measure
from transect.count.pictures import CountPictures
from transect.count.scoring import scores_of
from transect.data.inputs import Inputs
from transect.data.survey import open_survey
from transect.data.tiff import ArrayReader
from transect.errors import TransectError
from transect.files import read_json
from transect.metrics.detect import box_ap
from transect.recipe import CountDecide, Geometry, Network
from transect.task import Rows
from transect.types import Image, Sample

RECIPE = recipes.load("detector", quick=True)
MEMBER = RECIPE.members[0]


class Bright(nn.Module):
    """A detector that finds what is brighter than one half, surest where it sees all of it."""

    def forward(self, image):
        found = []
        for one in image[:, 0].numpy():
            _, _, stats, _ = cv2.connectedComponentsWithStats((one > 0.5).astype(np.uint8))
            x, y, w, h, area = stats[1:].T
            boxes = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
            found.append(
                {
                    "boxes": torch.from_numpy(boxes),
                    "scores": torch.from_numpy(np.minimum(area / 100, 1).astype(np.float32)),
                    "labels": torch.zeros(len(boxes), dtype=torch.int64),
                }
            )
        return found


def boxes_of(*corners):
    return np.array(corners, np.float64).reshape(-1, 4)


def found_on(pixels, *, views=("identity",), tile=32, overlap=0.25, scale=1.0):
    geometry = Geometry(
        fit="tile", size_hw=(tile, tile), overlap=overlap, normalise="raw", scale=scale
    )
    image = Image("a.png", None, pixels.shape[:2], 1)
    inputs = Inputs.of([image], geometry)
    member = DetectorMember(
        [(Bright(), 1.0)], inputs, replace(MEMBER, geometry=geometry), 1, views, "cpu"
    )
    return member.look(ArrayReader(pixels), image, scale=1.0)


def squares(*corners, size=(90, 70), side=10):
    pixels = np.zeros((*size, 1), np.float32)
    for x, y in corners:
        pixels[y : y + side, x : x + side] = 1
    return pixels


PLACES = [(3, 4), (26, 20), (55, 28), (40, 60), (20, 44), (58, 78)]


@pytest.mark.parametrize("views", [("identity",), ("identity", "hflip", "vflip", "hvflip")])
def test_an_object_belongs_to_one_tile_wherever_the_seams_are(views):
    found = found_on(squares(*PLACES), views=views)
    expected = sorted([x - 0.5, y - 0.5, x + 9.5, y + 9.5] for x, y in PLACES)
    assert np.allclose(sorted(found.boxes.tolist()), expected, atol=1e-4)
    assert found.scores == pytest.approx(1)


def test_boxes_of_a_resampled_picture_lie_in_its_own_pixels():
    found = found_on(squares((20, 20), side=20), scale=0.5)
    assert np.allclose(found.boxes, [[19.5, 19.5, 39.5, 39.5]], atol=1.01)


def test_cores_cover_an_axis_once():
    cores = tile_cores([0, 20, 41], 32, 73)
    assert cores[0][0] == -0.5
    assert cores[-1][1] == 72.5
    assert all(a[1] == b[0] for a, b in itertools.pairwise(cores))
    assert tile_cores([-6], 32, 20) == [(-0.5, 19.5)]


def test_boxes_are_cut_to_the_picture_and_the_best_of_a_heap_stays():
    found = Detections.of(
        boxes_of([-5, 2, 8, 9], [0, 2, 8, 9], [0, 2, 8, 9], [20, 20, 30, 30], [60, 1, 70, 5]),
        np.array([0.9, 0.8, 0.7, 0.95, 0.5]),
        np.array([0, 0, 1, 0, 0]),
        classes=2,
        size_hw=(40, 50),
    )
    assert found.scores.tolist() == [0.95, 0.9, 0.7]  # of another class is another object
    assert found.boxes[1].tolist() == [-0.5, 2, 8, 9]


def test_boxes_count_as_peaks_do_and_blocks_share_them_out():
    found = Detections.of(
        boxes_of([0, 0, 10, 10], [28, 8, 38, 18], [60, 20, 70, 40]),
        np.array([0.9, 0.3, 0.6]),
        np.array([0, 1, 1]),
        classes=2,
        size_hw=(50, 80),
    )
    measured = measure(found, CountDecide(target="boxes"), radius=1, blur=1.0)
    assert measured.sums.tolist() == pytest.approx([0.9, 0.9])
    assert PlaneCounter("peaks", height=0.5)(measured, 1, 0) == 1
    assert found.to_pixels(measured.together[:, :2]).tolist() == [[5, 5], [65, 30], [33, 13]]
    parts = [found.part(0, left, (50, 40)) for left in (0, 40)]
    assert [len(part.scores) for part in parts] == [2, 1]
    assert parts[1].boxes.tolist() == [[20, 20, 30, 40]]


def test_an_object_that_one_network_of_two_sees_is_half_as_sure():
    one = Detections.of(
        boxes_of([0, 0, 10, 10], [30, 30, 40, 40]), np.array([0.8, 0.8]), np.zeros(2, np.int64),
        classes=1, size_hw=(50, 50),
    )  # fmt: skip
    other = Detections.of(
        boxes_of([2, 0, 12, 10]), np.array([0.8]), np.zeros(1, np.int64), classes=1,
        size_hw=(50, 50),
    )  # fmt: skip
    both = mean_map([one, other])
    assert both.boxes[0].tolist() == pytest.approx([1, 0, 11, 10])
    assert both.scores.tolist() == pytest.approx([0.8, 0.4])
    assert fused([one]) is one


def test_targets_are_edges_and_slivers_are_left_out():
    sample = Sample(
        np.zeros((20, 30, 1), np.uint8),
        boxes=np.array([[-0.5, -0.5, 4.5, 9.5, 1], [28.5, 3, 40, 9, 0]], np.float32),
    )
    rows, valid = box_target(3)(sample)
    assert rows.tolist() == [[1, 0, 0, 5, 10], [-1] * 5, [-1] * 5]
    assert valid.shape == (1, 20, 30)


@pytest.fixture
def boxed(tmp_path):
    """Photos of squares: the first has boxes, a dot without one, and a dot in a box."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    boxes = []
    for n in range(8):
        pixels = rng.integers(0, 60, (96, 96, 3), np.uint8)
        for x, y in rng.permutation([(8, 8), (40, 12), (70, 40), (20, 60), (60, 72)])[: 2 + n % 4]:
            side = int(rng.integers(10, 16))
            pixels[y : y + side, x : x + side] = 220
            boxes.append((f"{n}.png", x - 0.5, y - 0.5, x + side - 0.5, y + side - 0.5, "seal"))
        cv2.imwrite(str(tmp_path / "images" / f"{n}.png"), pixels)
    table = pd.DataFrame(boxes, columns=["image", "x0", "y0", "x1", "y1", "class"])
    table.to_csv(tmp_path / "boxes.csv", index=False)
    return tmp_path


def test_dots_without_a_box_get_the_usual_one(boxed):
    table = pd.read_csv(boxed / "boxes.csv")
    first = table[table["image"] == "0.png"].iloc[0]
    inside = ((first["x0"] + first["x1"]) / 2 + 1, (first["y0"] + first["y1"]) / 2)
    rows = [("0.png", *inside, "seal"), ("0.png", 90.0, 90.0, "seal")]
    pd.DataFrame(rows, columns=["image", "x", "y", "class"]).to_csv(
        boxed / "points.csv", index=False
    )
    pictures = CountPictures(open_survey(boxed))
    boxes, kinds = pictures.photo_boxes(0)
    assert len(boxes) == len(kinds) == (table["image"] == "0.png").sum() + 1
    sides = np.sqrt((table["x1"] - table["x0"]) * (table["y1"] - table["y0"]))
    assert (boxes[-1, 2:] - boxes[-1, :2]).tolist() == pytest.approx([sides.median()] * 2)
    assert boxes[-1].mean() == pytest.approx(90)
    blocks = pictures.in_blocks(48)
    assert sum(len(blocks.boxes(i)[0]) for i in range(4)) == len(boxes)
    assert blocks.boxed(3).boxes.shape[1] == 5


def test_objects_of_masks_have_their_own_boxes(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    labels = np.zeros((20, 30), np.uint8)
    labels[2:6, 3:11], labels[10:12, 20:25] = 1, 2
    for n in range(2):
        cv2.imwrite(str(tmp_path / "images" / f"{n}.png"), np.full((20, 30), 9, np.uint8))
        cv2.imwrite(str(tmp_path / "masks" / f"{n}.png"), labels)
    survey = open_survey(tmp_path, question="count", mask_kind="instances")
    boxes, _ = CountPictures(survey).photo_boxes(0)
    assert boxes.tolist() == [[2.5, 1.5, 10.5, 5.5], [19.5, 9.5, 24.5, 11.5]]


def test_precision_is_that_of_the_oracle_and_can_be_counted_again():
    rng = np.random.default_rng(3)
    found, truth = [], []
    for _ in range(6):
        corner = rng.uniform(0, 80, (12, 2))
        real = np.column_stack([corner, corner + rng.uniform(6, 14, (12, 2))])
        kinds = rng.integers(0, 2, 12)
        moved = real + rng.normal(0, 1, real.shape)
        lost = rng.random(12) < 0.8
        found.append(
            Detections.of(
                moved[lost],
                rng.uniform(0.1, 1, lost.sum()),
                kinds[lost],
                classes=2,
                size_hw=(100, 100),
            )
        )
        truth.append((real, kinds))
    columns = box_columns(found, truth)
    rows = Rows(tuple("abcdef"), np.zeros(6, np.int64), ("",) * 6, columns)
    ways = precision_of(rows)

    def oracle(chosen):
        return box_ap(
            [
                {"boxes": found[i].boxes, "scores": found[i].scores, "classes": found[i].kinds}
                for i in chosen
            ],
            [{"boxes": truth[i][0], "classes": truth[i][1]} for i in chosen],
        )

    for chosen in (np.arange(6), np.array([1, 4])):
        told = oracle(chosen)
        assert ways["box_ap"](chosen) == pytest.approx(told["ap"], abs=1e-6)
        assert ways["box_ap50"](chosen) == pytest.approx(told["ap50"], abs=1e-6)
    assert 0.2 < ways["box_ap"](np.arange(6)) < ways["box_ap50"](np.arange(6)) < 1
    counts = {name: np.ones((6, 2)) for name in ("predicted", "truth")}
    ends = {name: np.ones(6) for name in ("low", "high")}
    whole = Rows(rows.names, rows.folds, rows.groups, {**columns, **counts, **ends})
    assert scores_of(whole, ("x", "y"))["box_ap50"].value == ways["box_ap50"](np.arange(6))


def with_network(**changes):
    member = replace(MEMBER, network=replace(MEMBER.network, **changes))
    return replace(RECIPE, members=(member,))


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (with_network(decoder="unet"), "boxes need a detector"),
        (replace(RECIPE, decide=replace(RECIPE.decide, target="gaussian")), "detectors boxes"),
        (with_network(hypercolumn=True), "hypercolumn, which no detector reads"),
        (replace(RECIPE, views=("identity", "rot90")), "a view of detectors"),
        (replace(RECIPE, decide=replace(RECIPE.decide, methods=("regressors",))), "need maps"),
        (
            replace(RECIPE, members=(replace(MEMBER, geometry=Geometry(fit="whole")),)),
            "geometry.fit=tile",
        ),
        (
            replace(
                RECIPE,
                members=(replace(MEMBER, stages=(replace(MEMBER.stages[0], loss="bce"),)),),
            ),
            "loss=detector",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_before_any_work(recipe, says):
    with pytest.raises(TransectError, match=says):
        check_detectors(recipe)
    check_detectors(RECIPE)
    check_detectors(TINY)


@pytest.mark.slow  # half a minute: a small training
def test_a_survey_of_boxes_is_learnt_answered_and_scored(boxed, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    small = Network(
        encoder="plain", weights=None, width=8, levels=4, decoder="fcos", decoder_channels=(32,)
    )
    stage = replace(MEMBER.stages[0], epochs=4, steps=25, average="none")
    geometry = replace(MEMBER.geometry, size_hw=(64, 64))
    member = replace(MEMBER, network=small, stages=(stage,), geometry=geometry)
    folds = replace(RECIPE.folds, count=2, use=2)
    recipe = replace(RECIPE, members=(member,), folds=folds)
    said = Said()
    run = api.train(boxed, recipe=recipe, out=out / "run", device="cpu", progress=said)
    metrics = read_json(run.path / "metrics.json")
    assert metrics["box_ap50"]["value"] > 0.5
    assert metrics["mae"]["value"] < metrics["mae_of_the_mean"]["value"]
    run.predict(boxed / "images", out / "answers", formats=("coco", "yolo", "voc"))
    table = pd.read_csv(out / "answers" / "boxes.csv")
    assert len(table) == len(pd.read_csv(out / "answers" / "points.csv"))
    assert (table["x1"] > table["x0"]).all()
    for name in ("boxes.coco.json", "yolo", "voc"):
        assert (out / "answers" / name).exists()
    assert run.score(boxed)["box_ap50"]["value"] > 0.6
    with pytest.raises(TransectError, match="draw no maps"):
        run.predict(boxed / "images", out / "other", formats=("density",))
