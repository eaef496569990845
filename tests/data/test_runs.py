"""Many objects at once cover what they cover one by one."""

import numpy as np
import pytest

from tests.data.formats.test_every_format import one
from transect.data import runs as module
from transect.data.exchange import Instance
from transect.data.outlines import box_ring
from transect.data.rle import counts_of
from transect.data.runs import counts_for_all, counts_of_labels, paint, runs_of
from transect.data.shapes import counts_for, mask_of

SIZE = (34, 41)
KINDS = ("outline", "hole", "pieces", "mask", "box", "dot", "word")


def objects(seed, n=30):
    rng = np.random.default_rng(seed)
    found = [one(rng, str(rng.choice(KINDS)), SIZE) for _ in range(n)]
    wild = rng.uniform(-9, 50, (9, 2))  # crosses itself and leaves the picture
    half = np.round(rng.uniform(-2, 40, (7, 2)) * 2) / 2  # corners on centres and on edges
    far = box_ring(90, 90, 99, 99)
    twice = (box_ring(3, 3, 20, 20), box_ring(9, 9, 30, 30))
    more = [((wild,),), ((half,),), ((far,),), tuple((ring,) for ring in twice)]
    full = Instance(counts=(0, SIZE[0] * SIZE[1]))
    return [*found, *(Instance(parts=p) for p in more), full, Instance(counts=(1394,))]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("chunk", [1 << 22, 50])
def test_runs_give_the_pixels_of_each_object(seed, chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_PX", chunk)
    monkeypatch.setattr(module, "_CROSSINGS", chunk)
    given = objects(seed)
    runs = runs_of(given, SIZE)
    masks = np.array([mask_of(i, SIZE) if i.has_area or i.box else np.zeros(SIZE) for i in given])
    got = np.zeros((len(given), SIZE[0] * SIZE[1]), int)
    for owner, pixel in runs.pixels():
        np.add.at(got, (owner, pixel), 1)
    np.testing.assert_array_equal(got, masks.reshape(len(given), -1))
    np.testing.assert_array_equal(runs.areas, masks.sum(axis=(1, 2)))


@pytest.mark.parametrize("chunk", [1 << 22, 50])
def test_counts_of_many_are_those_of_each(chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_PX", chunk)
    given = objects(1)
    assert counts_for_all(given, SIZE) == [tuple(counts_for(i, SIZE)) for i in given]
    assert counts_for_all([], SIZE) == []


@pytest.mark.parametrize("chunk", [1 << 22, 50])
def test_small_objects_lie_on_large_ones(chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_PX", chunk)
    given = [i for i in objects(2) if i.has_area]
    numbers = np.random.default_rng(0).integers(1, 300, len(given)).tolist()
    image, shown = paint(runs_of(given, SIZE), numbers)
    masks = [mask_of(i, SIZE) for i in given]
    top = np.full(SIZE, -1)
    for k in sorted(range(len(given)), key=lambda k: (-masks[k].sum(), k)):
        top[masks[k]] = k
    np.testing.assert_array_equal(image, np.array([*numbers, 0])[top])
    assert shown.tolist() == [(top == k).sum() for k in range(len(given))]


def test_counts_of_a_label_image():
    labels = np.random.default_rng(3).choice([-1, 0, 2, 70_000], (9, 7)).astype(np.int64)
    labels[:, 3] = 2  # a run over whole columns
    wanted = [(v, tuple(counts_of(labels == v))) for v in (2, 70_000)]
    assert counts_of_labels(labels) == wanted
    assert counts_of_labels(np.zeros((3, 3), int)) == []
    assert counts_of_labels(np.ones((2, 2), int)) == [(1, (0, 4))]
