"""Strokes, outlines, cuts and merges against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from transect.errors import TransectError
from transect.review import drawing
from transect.review.marks import Area, Mark

SIZE = (40, 50)


def pixels(*marks):
    found = np.zeros(SIZE, int)
    for mark in marks:
        area = mark if isinstance(mark, Area) else mark.area
        found[area.place] += area.mask()
    return found


def block(id, top, left, height, width):
    return Mark(id, "cell", Area.of(np.ones((height, width), bool), top, left))


def test_an_area_gives_its_pixels_back():
    mask = np.zeros((9, 9), bool)
    mask[3:5, 2] = mask[4, 6] = True
    area = Area.of(mask, 10, 20)
    assert (area.top, area.left, area.size_hw) == (13, 22, (2, 5))
    assert (pixels(area)[10:19, 20:29] == mask).all()
    assert Area.of(np.zeros((3, 3), bool)) is None


def test_a_dab_is_the_disc_of_its_radius():
    area = drawing.stroke(np.array([[20.0, 15.0]]), 4, SIZE)
    rows, columns = np.indices(SIZE)
    disc = np.hypot(rows - 15, columns - 20) <= 4
    assert abs(int(pixels(area).sum()) - int(disc.sum())) <= 4
    assert (pixels(area) & ~disc).sum() <= 4


def test_the_thinnest_stroke_is_a_connected_line_of_pixels():
    area = drawing.stroke(np.array([[2.0, 3.0], [12.0, 3.0]]), 0.5, SIZE)
    assert pixels(area).sum() == 11


def test_a_stroke_ends_at_the_border():
    points = drawing.points_of([[-100, -100], [1000, 1000]], SIZE)
    found = pixels(drawing.stroke(points, 3, SIZE))
    assert found[0, 0] == found[-1, -1] == 1


def test_an_outline_holds_the_pixels_whose_centres_are_inside():
    points = drawing.points_of([[2, 3], [7, 3], [7, 9], [2, 9]], SIZE)
    found = pixels(drawing.filled(points, SIZE))
    assert found.sum() in (30, 42)
    assert found[4:9, 3:7].all()


def test_painting_takes_pixels_from_the_others():
    a, b = block("a", 5, 5, 10, 10), block("b", 5, 15, 10, 2)
    changed, gone = drawing.painted([a, b], a, Area.of(np.ones((4, 12), bool), 5, 10))
    assert gone == []
    assert pixels(*changed).max() == 1
    assert pixels(*changed)[5:9, 10:22].all()
    assert {mark.id: int(mark.area.mask().sum()) for mark in changed} == {"a": 128, "b": 12}


def test_what_is_wholly_painted_over_is_gone():
    a, b = block("a", 5, 5, 3, 3), block("b", 20, 20, 2, 2)
    changed, gone = drawing.painted([a, b], a, Area.of(np.ones((6, 6), bool), 18, 18))
    assert gone == ["b"]
    assert [mark.id for mark in changed] == ["a"]


def test_erasing_beside_an_object_changes_nothing():
    assert drawing.erased([block("a", 5, 5, 3, 3)], Area.of(np.ones((3, 3), bool), 8, 5)) == (
        [],
        [],
    )


@pytest.mark.parametrize("line", [[[10, 0], [10, 30]], [[3, 3], [16, 16]], [[16, 3], [3, 16]]])
def test_a_cut_parts_an_object_and_loses_no_pixel(line):
    mark = block("a", 5, 5, 10, 10)
    pieces = drawing.cut(mark, np.array(line, float), ["n0", "n1"])
    assert len(pieces) == 2
    assert pieces[0].id == "a"
    assert (pixels(*pieces) == pixels(mark)).all()
    assert pieces[0].area.mask().sum() >= pieces[1].area.mask().sum() >= 40


def test_a_cut_that_does_not_reach_the_edge_is_refused():
    with pytest.raises(TransectError, match="does not part"):
        drawing.cut(block("a", 5, 5, 10, 10), np.array([[8.0, 8], [12, 8]]), ["n0"])


def test_merging_keeps_the_first_and_all_pixels():
    a, b = block("a", 5, 5, 3, 3), block("b", 20, 20, 2, 2)
    (whole,), gone = drawing.merged([a, b])
    assert (whole.id, gone) == ("a", ["b"])
    assert (pixels(whole) == pixels(a, b)).all()
    with pytest.raises(TransectError, match="two or more"):
        drawing.merged([a])


@pytest.mark.parametrize("points", [[], [[1]], "text", [[float("nan"), 1]], [[[1, 2]]]])
def test_strange_points_are_refused(points):
    with pytest.raises(TransectError, match="Draw it again"):
        drawing.points_of(points, SIZE)
