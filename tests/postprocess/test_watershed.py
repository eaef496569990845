import cv2
import numpy as np
import pytest

from transect.errors import TransectError
from transect.postprocess.watershed import (
    InstanceSplitter,
    seeds,
    split_instances,
    split_instances_streamed,
)


def discs(centres, radius, size):
    """Foreground and centre maps of discs."""
    y, x = np.mgrid[: size[0], : size[1]]
    d = np.min([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=0)
    foreground = np.clip(1.0 + (radius - d) / 2, 0, 1) * (d <= radius)
    return foreground.astype(np.float32), np.exp(-((d / radius) ** 2) * 2).astype(np.float32)


def test_touching_discs_part_where_they_touch():
    foreground, centre = discs([(20, 15), (20, 31)], 9, (40, 46))
    labels = split_instances(foreground, centre)
    assert labels.dtype == np.int32
    assert sorted(np.unique(labels)) == [0, 1, 2]
    assert labels[20, 15] != labels[20, 31]
    np.testing.assert_array_equal(labels > 0, foreground > 0.5)
    assert (labels[:, :23][foreground[:, :23] > 0.5] == labels[20, 15]).all()


def test_without_a_centre_map_the_distance_from_the_edge_does():
    foreground, _ = discs([(20, 15), (20, 31)], 9, (40, 46))
    labels = split_instances(foreground, seed_threshold=0.5)
    assert labels.max() == 2


def test_pieces_without_a_seed_are_objects_too_and_small_ones_go():
    foreground, centre = discs([(20, 15), (20, 31)], 9, (40, 46))
    foreground[0:3, 0:3] = 1
    centre[0:3, 0:3] = 0
    assert split_instances(foreground, centre).max() == 3
    assert split_instances(foreground, centre, min_area=10).max() == 2
    assert split_instances(foreground, centre, seed_threshold=2.0).max() == 2
    assert split_instances(np.zeros((5, 5)), np.zeros((5, 5))).max() == 0
    with pytest.raises(TransectError, match="one shape"):
        split_instances(np.zeros((5, 5)), np.zeros((5, 6)))


@pytest.mark.parametrize("depth", [0.02, 0.1, 0.3])
def test_seeds_are_the_h_maxima_of_the_map(depth):
    from scipy import ndimage
    from skimage.morphology import h_maxima, label

    level = ndimage.gaussian_filter(np.random.default_rng(0).random((60, 70)), 3)
    level = ((level - level.min()) / np.ptp(level)).astype(np.float32)
    found = seeds(level, seed_threshold=0.0, seed_depth=depth)
    assert found.max() == label(h_maxima(level, depth)).max()


def test_ripples_on_one_object_are_one_seed_and_a_deep_pass_makes_two():
    x = np.arange(60)
    shallow = np.tile(0.8 + 0.03 * np.cos(x / 3), (20, 1))
    deep = np.tile(0.8 * np.abs(np.sin(x * np.pi / 30)), (20, 1))
    assert seeds(shallow, seed_threshold=0.5, seed_depth=0.1).max() == 1
    assert seeds(deep, seed_threshold=0.5, seed_depth=0.1).max() == 2
    assert seeds(deep, seed_threshold=0.9, seed_depth=0.1).max() == 0


def test_a_plateau_is_one_seed():
    level = np.zeros((30, 30), np.float32)
    level[10:20, 10:20] = 1
    assert seeds(level, seed_threshold=0.5, seed_depth=0.1).max() == 1


def unlike(a, b):
    """Pixels that differ once every object of a is named as the object of b it mostly covers."""
    table = np.zeros((a.max() + 1, b.max() + 1), int)
    np.add.at(table, (a.ravel(), b.ravel()), 1)
    names = table.argmax(1)
    assert len(set(names)) == len(names)
    return int((names[a] != b).sum())


@pytest.mark.parametrize("rows", [7, 50, 400])
@pytest.mark.parametrize("block", [40, 100])
def test_the_streamed_form_finds_the_same_objects(rows, block):
    rng = np.random.default_rng(1)
    centres = [
        (y + rng.integers(-3, 4), x + rng.integers(-3, 4))
        for y in range(8, 300, 14)
        for x in range(8, 120, 14)
    ]
    foreground, centre = discs(centres, 8, (310, 124))
    whole = split_instances(foreground, centre, min_area=5)
    maps = np.stack([foreground, centre])
    bands = ((i, maps[:, i : i + rows]) for i in range(0, 310, rows))
    parts = list(split_instances_streamed(bands, margin=60, block=block, min_area=5))
    assert [start for start, _ in parts] == np.cumsum([0, *(len(p) for _, p in parts)])[
        :-1
    ].tolist()
    streamed = np.concatenate([p for _, p in parts])
    assert streamed.shape == whole.shape
    assert streamed.max() == whole.max()
    assert unlike(streamed, whole) <= 3  # ties of the flood on the line between two objects


def test_bands_must_follow_one_another_and_may_be_none():
    band = np.zeros((2, 10, 10), np.float32)
    assert list(split_instances_streamed([])) == []
    with pytest.raises(TransectError, match="row 10 was expected"):
        list(split_instances_streamed([(0, band), (11, band)]))
    assert sum(len(p) for _, p in split_instances_streamed([(0, band[:1])])) == 10


def noisy(seed=0, size=(70, 90)):
    rng = np.random.default_rng(seed)
    foreground, centre = discs([(20, 15), (20, 31), (50, 40), (52, 60), (30, 75)], 10, size)
    noise = cv2.GaussianBlur(rng.normal(size=(2, *size)).astype(np.float32).T, (0, 0), 2.0).T
    return np.clip(np.stack([foreground, centre]) + noise, 0, 1)


@pytest.mark.parametrize("with_centres", [True, False])
def test_a_search_over_one_picture_gives_what_each_split_alone_gives(with_centres):
    foreground, centre = noisy()
    maps = (foreground, centre) if with_centres else (foreground,)
    splitter = InstanceSplitter(*maps)
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(40):
        numbers = {
            "threshold": rng.choice([0.4, 0.5, 0.6]),
            "seed_threshold": rng.choice([0.1, 0.5, 0.8]),
            "seed_depth": rng.choice([0.05, 0.2]),
            "min_area": rng.choice([0, 30]),
        }
        found = splitter(**numbers)
        np.testing.assert_array_equal(found, split_instances(*maps, **numbers))
        seen.add(found.tobytes())
    assert len(seen) > 4  # the numbers matter


def test_a_search_looks_for_hills_once_per_depth(monkeypatch):
    from skimage import morphology

    calls, real = [], morphology.reconstruction
    monkeypatch.setattr(morphology, "reconstruction", lambda *a: calls.append(1) or real(*a))
    splitter = InstanceSplitter(*noisy())
    for depth in (0.05, 0.2):
        for threshold in (0.3, 0.5, 0.7):
            for height in (0.2, 0.6):
                splitter(threshold=threshold, seed_threshold=height, seed_depth=depth)
    assert len(calls) == 2


def test_objects_are_those_of_a_watershed_from_the_h_maxima_inside_each_piece():
    from scipy import ndimage
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    foreground, centre = noisy(3)
    level = cv2.GaussianBlur(centre, (0, 0), 1.5)
    on = foreground > 0.5
    tops = (h_maxima(level, 0.1) > 0) & on & (level > 0.4)
    pieces, count = ndimage.label(on, np.ones((3, 3)))
    marks, _ = ndimage.label(tops, np.ones((3, 3)))
    expected = 0
    for piece in range(1, count + 1):
        inside = pieces == piece
        flooded = watershed(-level, np.where(inside, marks, 0), mask=inside)
        expected += max(1, len(np.unique(flooded[inside])) - (flooded[inside] == 0).any())
    found = split_instances(foreground, centre, seed_threshold=0.4, seed_depth=0.1)
    assert found.max() == expected
