import numpy as np
import pytest

from transect.segment import refining, streaming
from transect.segment.deciding import Decisions
from transect.segment.masks import Values, labels_of
from transect.segment.streaming import label_bands


def blob_maps(shape=(40, 60)):
    """Two touching discs: foreground and centre maps of an imagined network."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    maps = np.zeros((2, *shape), np.float32)
    for x in (18, 34):
        distance = np.hypot(rows - 20, columns - x)
        maps[0] = np.maximum(maps[0], (distance < 9).astype(np.float32))
        maps[1] = np.maximum(maps[1], np.clip(1 - distance / 9, 0, 1))
    return maps


def test_touching_objects_come_apart():
    labels = labels_of(blob_maps(), Values(), "instances")
    assert labels.max() == 2
    assert labels[20, 18] != labels[20, 34]


def test_small_pieces_and_nearly_empty_masks_go():
    maps = np.zeros((1, 10, 10), np.float32)
    maps[0, 1:3, 1:3] = 0.9
    assert labels_of(maps, Values(), "binary").sum() == 4
    assert labels_of(maps, Values(min_area=5), "binary").sum() == 0
    assert labels_of(maps, Values(min_total=5), "binary").sum() == 0


def test_the_image_level_head_and_flat_pictures_can_empty_a_mask():
    maps = np.ones((1, 4, 4), np.float32)
    assert labels_of(maps, Values(empty_threshold=0.5), "binary", filled=0.4).sum() == 0
    assert labels_of(maps, Values(empty_threshold=0.5), "binary", filled=0.6).sum() == 16
    assert labels_of(maps, Values(flat_rule=True), "binary", flat=True).sum() == 0


def test_classes_take_the_likeliest():
    maps = np.array([[[0.5, 0.2]], [[0.3, 0.7]], [[0.2, 0.1]]], np.float32)
    assert labels_of(maps, Values(), "classes").tolist() == [[0, 1]]


def test_decisions_survive_json():
    decisions = Decisions(
        "binary", Values(threshold=0.4), {0: Values(), 1: Values(min_area=3)},
        {"a.png": 1}, ((0.5, 0.9),), {"threshold": 0.01}, (0.1, 0.0, 0.2), "dice",
    )  # fmt: skip
    assert Decisions.from_json(decisions.to_json()) == decisions


def test_a_folds_own_threshold_becomes_the_common_one():
    decisions = Decisions(
        "binary", Values(threshold=0.4), {}, {}, (), {}, (0.0, 0.0, 0.0), "dice", {0: 0.6, 1: 0.3}
    )  # fmt: skip
    assert Decisions.from_json(decisions.to_json()) == decisions
    maps = np.array([[[0.1, 0.3, 0.599, 0.601, 0.9]]], np.float32)
    assert (decisions.levelled(maps, 0)[0] > 0.4).tolist() == [[False, False, False, True, True]]
    assert (decisions.levelled(maps, 1)[0] > 0.4).tolist() == [[False, False, True, True, True]]
    assert maps[0, 0, 0] == np.float32(0.1)


class Bands:
    """A predictor whose maps are known, given out in bands of a few rows."""

    def __init__(self, maps, kind, values):
        self.maps, self.kind = maps, kind
        self.decisions = Decisions(kind, values, {}, {}, (), {}, (0.0, 0.0, 0.0), "dice")

    def bands(self, path, image):
        for row in range(0, self.maps.shape[1], 7):
            yield row, self.maps[:, row : row + 7].copy()

    def rows(self, path, top, height):
        return self.pixels[top : top + height]

    def written(self, labels):
        return labels.astype(np.uint8)


class Picture:
    path = None

    def __init__(self, size_hw):
        self.size_hw = size_hw


@pytest.mark.parametrize("height", [5, 600, 1500])
def test_streamed_masks_equal_those_of_the_whole_picture(height):
    rng = np.random.default_rng(height)
    maps = np.zeros((1, height, 80), np.float32)
    for _ in range(height // 10):
        row, column = rng.integers(0, height), rng.integers(0, 80)
        size = rng.integers(1, 9)
        maps[0, row : row + size, column : column + size] = 0.9
    values = Values(min_area=12, fill_holes=10**9)
    counted = {"objects": 0, "foreground": 0}
    bands = list(label_bands(Bands(maps, "binary", values), Picture(maps.shape[1:]), counted))
    whole = labels_of(maps, values, "binary")
    np.testing.assert_array_equal(np.concatenate(bands), whole)
    assert counted["foreground"] == whole.sum()


def test_streamed_instances_are_as_many_as_in_the_whole_picture():
    maps = np.tile(blob_maps(), (1, 40, 24))  # wider and taller than a block
    counted = {"objects": 0, "foreground": 0}
    bands = list(label_bands(Bands(maps, "instances", Values()), Picture(maps.shape[1:]), counted))
    found = np.concatenate(bands)
    assert counted["objects"] == labels_of(maps, Values(), "instances").max() == 1920
    assert len(np.unique(found)) == 1921


def test_a_crf_that_was_decided_on_refines_streamed_pictures_too(monkeypatch):
    monkeypatch.setattr(streaming, "_BLOCK", 40)
    monkeypatch.setattr(streaming, "_MARGIN", 24)
    monkeypatch.setattr(refining, "_TILE_PX", 48)
    rows, columns = np.mgrid[:120, :70]
    inside = (columns > 30 + 6 * np.sin(rows / 15)) & (rows > 20)
    rng = np.random.default_rng(0)
    pixels = np.clip(80 + 90 * inside + rng.normal(0, 4, inside.shape), 0, 255).astype(np.uint8)
    soft = np.clip(0.5 + 0.3 * (2 * inside - 1) + rng.normal(0, 0.3, inside.shape), 0.02, 0.98)
    maps = soft.astype(np.float32)[None]
    streamed = Bands(maps, "binary", Values(use_crf=True))
    streamed.pixels = pixels[..., None]
    counted = {"objects": 0, "foreground": 0}
    found = np.concatenate(list(label_bands(streamed, Picture(maps.shape[1:]), counted)))
    whole = refining.refined(maps, pixels[..., None], "binary")[0] > 0.5
    raw_errors, errors = np.mean((maps[0] > 0.5) != inside), np.mean((found > 0) != inside)
    assert errors < 0.2 * raw_errors
    assert np.mean((found > 0) != whole) < 0.005
