"""Outlines: exact in both directions, holes and corners included."""

import cv2
import numpy as np
import pytest

from transect.data import outlines as module
from transect.data.outlines import box_ring, ellipse_ring, fill, one_ring, outlines, signed_area
from transect.errors import TransectError


def test_one_pixel_has_four_corners():
    (part,) = outlines(np.array([[False, False], [False, True]]))
    assert part[0].tolist() == [[0.5, 0.5], [1.5, 0.5], [1.5, 1.5], [0.5, 1.5]]


def test_a_hole_stands_beside_its_outer_ring():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    ((outer, hole),) = outlines(mask)
    assert signed_area(outer) == 9
    assert signed_area(hole) == -1


def test_pixels_that_touch_at_a_corner_are_two_pieces():
    assert len(outlines(np.eye(2, dtype=bool))) == 2
    assert len(outlines(np.eye(2, dtype=bool)[::-1])) == 2


def test_any_mask_comes_back():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(1, 9, 2)
        mask = rng.random((height, width)) < rng.random()
        parts = outlines(mask)
        np.testing.assert_array_equal(fill(parts, mask.shape), mask)
        pieces = cv2.connectedComponents(np.pad(mask, 1).astype(np.uint8), connectivity=4)[0] - 1
        assert len(parts) == pieces
        assert sum(signed_area(r) for part in parts for r in part) == pytest.approx(mask.sum())
        rings = [ring for part in parts for ring in part]
        if rings:
            np.testing.assert_array_equal(fill([(one_ring(rings),)], mask.shape), mask)


def test_filling_agrees_with_a_slow_test_of_every_centre():
    rng = np.random.default_rng(1)
    for _ in range(40):
        ring = rng.uniform(-4, 14, (rng.integers(3, 8), 2))
        got = fill([(ring,)], (10, 11))
        ends = np.roll(ring, -1, axis=0)
        for y in range(10):
            for x in range(11):
                odd = False
                for (x0, y0), (x1, y1) in zip(ring, ends, strict=True):
                    if (y0 > y) != (y1 > y) and x > x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                        odd = not odd
                assert got[y, x] == odd


def test_pieces_that_overlap_do_not_cancel():
    square = box_ring(0.5, 0.5, 3.5, 3.5)
    assert fill([(square,), (square,)], (5, 5)).sum() == 9


def test_rings_outside_and_empty_rings_fill_nothing():
    assert not fill([(box_ring(50, 50, 60, 60),), (np.zeros((0, 2)),)], (5, 5)).any()
    assert fill([(box_ring(-1e6, -1e6, 1e6, 1e6),)], (5, 5)).all()


def test_an_ellipse_has_its_area():
    ring = ellipse_ring(20, 20, 10, 5, degrees=90)
    assert signed_area(ring) == pytest.approx(np.pi * 50, rel=0.01)
    assert np.ptp(ring[:, 1]) > np.ptp(ring[:, 0])


def test_an_outline_that_is_an_attack_is_refused(monkeypatch):
    monkeypatch.setattr(module, "_CROSSINGS_LIMIT", 100)
    zigzag = np.array([[i, 50.0 * (i % 2)] for i in range(50)])
    with pytest.raises(TransectError, match="Simplify"):
        fill([(zigzag,)], (60, 60))
