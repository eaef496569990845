"""Dots from pairs of photos: every trap of the sea-lion set planted in a small one."""

import cv2
import numpy as np
import pytest

from transect.data.convert import convert
from transect.data.formats import detect, dotted
from transect.data.png import write_png
from transect.errors import TransectError

DOTS = {
    "adult_males": [(20, 30), (90, 41)],
    "subadult_males": [(60, 70)],
    "adult_females": [(33, 12), (80, 90), (100, 15)],
    "juveniles": [(110, 60)],
    "pups": [(15, 80), (24, 80)],
}


def beach(seed=0, height=101, width=131):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(90, 200, (height // 8 + 1, width // 8 + 1, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 2, (height, width, 3)), 60, 255).astype(np.uint8)


def with_dots(image, dots=DOTS):
    copy = image.copy()
    for label, places in dots.items():
        for x, y in places:
            cv2.circle(copy, (x, y), 2, dotted.SEA_LIONS[label], -1)
    return copy


def assert_found(found, dots=DOTS):
    assert {k: sorted(map(tuple, v.astype(int).tolist())) for k, v in found.items()} == {
        k: sorted(v) for k, v in dots.items()
    }


def test_finds_every_dot_where_it_is():
    image = beach()
    assert_found(dotted.find_dots(image, with_dots(image), dotted.DotRule()))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_copies_are_turned_back(turns):
    for image in (beach(), beach(height=120, width=120)):
        copy = np.ascontiguousarray(np.rot90(with_dots(image), turns))
        assert_found(dotted.find_dots(image, copy, dotted.DotRule()))


@pytest.mark.parametrize("factor", [0.8, 1.15])
def test_other_exposure_is_equalised(factor):
    image = beach()
    darker = np.clip(image * factor, 0, 255).astype(np.uint8)
    assert_found(dotted.find_dots(darker, with_dots(image), dotted.DotRule()))


def test_black_outs_hide_and_red_lines_end():
    image = beach()
    copy = with_dots(image)
    cv2.rectangle(copy, (70, 20), (110, 50), (0, 0, 0), -1)  # hides a male and its dot
    cv2.circle(copy, (70, 35), 2, dotted.SEA_LIONS["adult_males"], -1)  # a line's end at its edge
    wanted = {**DOTS, "adult_males": [(20, 30)]}
    assert_found(dotted.find_dots(image, copy, dotted.DotRule()), wanted)


def test_too_small_and_too_large_are_no_dots():
    image = beach()
    copy = image.copy()
    cv2.circle(copy, (50, 50), 9, dotted.SEA_LIONS["pups"], -1)
    copy[20, 20:23] = dotted.SEA_LIONS["pups"]
    assert all(len(v) == 0 for v in dotted.find_dots(image, copy, dotted.DotRule()).values())


def test_other_pictures_and_other_types_are_refused():
    with pytest.raises(TransectError, match="do not show the same picture"):
        dotted.find_dots(beach(0), 255 - beach(1), dotted.DotRule())
    with pytest.raises(TransectError, match="do not show the same picture"):
        dotted.find_dots(beach(), beach(height=40, width=50), dotted.DotRule())
    with pytest.raises(TransectError, match="8-bit colours"):
        dotted.find_dots(beach()[..., :1], beach(), dotted.DotRule())


def test_colours_can_be_set():
    image = beach()
    rule = dotted.DotRule(colours={"tree": (255, 255, 0)}, line_classes=())
    copy = image.copy()
    cv2.circle(copy, (50, 40), 2, (255, 255, 0), -1)
    assert dotted.find_dots(image, copy, rule)["tree"].tolist() == [[50.0, 40.0]]


def test_a_folder_with_every_trap(tmp_path):
    folder = tmp_path / "data"
    for i in range(5):
        image = beach(i)
        write_png(folder / "Train" / f"{i}.png", image)
        copy = with_dots(image)
        if i == 1:
            copy = np.ascontiguousarray(np.rot90(copy, 2))
        if i == 2:
            copy = 255 - beach(9)
        if i != 3:
            write_png(folder / "TrainDotted" / f"{i}.png", copy)
    write_png(folder / "TrainDotted" / "77.png", beach(3))
    counts = [len(DOTS[k]) for k in DOTS]
    rows = [[i, *counts] for i in range(4)] + [[4, counts[0] + 1, *counts[1:]]]
    lines = [",".join(["train_id", *DOTS]), *(",".join(map(str, r)) for r in rows)]
    (folder / "Train" / "train.csv").write_text("\n".join(lines) + "\n")
    assert detect(folder) == "dotted"
    result = convert(folder, tmp_path / "survey", images=folder / "Train")
    assert result.pictures == 2
    assert result.instances == 18
    said = " ".join(result.problems)
    assert "2.png and its dotted copy do not show the same picture" in said
    assert "3.png has no dotted copy" in said
    assert "4.png disagree with the table of counts (adult_males 2 instead of 3)" in said
    assert "77.png has no plain picture" in said
    points = (tmp_path / "survey" / "points.csv").read_text().splitlines()
    assert points[0] == "image,x,y,class"
    assert "0.png,20.0,30.0,adult_males" in points
    again = convert(folder, tmp_path / "again.json")
    assert (again.pictures, again.instances) == (2, 18)


def test_a_table_without_the_classes(tmp_path):
    folder = tmp_path / "data"
    write_png(folder / "images" / "0.png", beach())
    write_png(folder / "dotted" / "0.png", with_dots(beach()))
    (folder / "counts.csv").write_text("image,cats\n0,1\n")
    with pytest.raises(TransectError, match="none of the columns"):
        dotted.read(folder)
    with pytest.raises(TransectError, match="no pair of folders"):
        dotted.read(folder / "images")
