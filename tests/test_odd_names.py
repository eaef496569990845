"""Names that file systems allow and programs forget: no UTF-8, 255 bytes, thousands of them."""

import os

import cv2
import numpy as np
import pytest

from tests.small import write_disc_survey
from transect.cli import main
from transect.count.maps import _path as count_maps
from transect.data.folder import list_new, list_pictures
from transect.data.survey import open_survey
from transect.errors import TransectError, listed, unknown_name
from transect.files import made_path, write_text
from transect.run import RunFolder
from transect.segment.cascade import _path as channel_masks
from transect.segment.oof import map_path
from transect.segment.pseudo import _mask_path
from transect.types import Image

LATIN = os.fsdecode(b"for\xeat.png")


def test_a_name_that_is_not_utf8_is_left_out_and_told(tmp_path, capsys):
    root = write_disc_survey(tmp_path / "survey")
    for part in ("images", "masks"):
        (root / part / "p1.png").rename(root / part / LATIN)
    found, problems = list_pictures(root / "images")
    assert len(found) == 7
    assert [p.what for p in problems] == ["for\\xeat.png is a name that is not UTF-8. Rename it."]
    survey = open_survey(root)
    assert len(survey.images) == 7
    assert any("not UTF-8" in problem.what for problem in survey.problems)
    assert len(list_new(root)[0]) == 7
    main(["audit", str(root)])
    assert "not UTF-8" in capsys.readouterr().out


def test_a_path_that_is_not_utf8_can_be_told_and_written(tmp_path, capsys):
    assert main(["audit", str(tmp_path / LATIN)]) == 2
    assert "for" in capsys.readouterr().err
    write_text(tmp_path / "a.txt", f"from {LATIN}")
    assert (tmp_path / "a.txt").read_text() == "from for\\udceat.png"


@pytest.mark.parametrize("place", [map_path, channel_masks, count_maps, _mask_path])
def test_what_is_made_of_an_image_has_a_name_that_the_disk_allows(tmp_path, place):
    run, names = RunFolder(tmp_path / "run"), set()
    for last in ("é" * 125 + "1.png", "é" * 125 + "2.png"):
        image = Image(f"site/{last}", tmp_path / last, (8, 8), 3)
        given = {
            map_path: lambda i: map_path(run, "main", i),
            count_maps: lambda i: count_maps(run, i),
        }.get(place, lambda i: place(tmp_path, i))
        path = given(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")  # OSError: File name too long
        names.add(path)
    assert len(names) == 2
    short = Image("a.png", tmp_path / "a.png", (8, 8), 3)
    assert map_path(run, "main", short).name == "a.png.npy"


def test_a_name_leads_nowhere_else_when_it_is_cut():
    with pytest.raises(TransectError, match="not a relative path"):
        made_path(RunFolder(".").path, "../" + "a" * 300, ".npy")


def test_a_name_that_no_disk_allows_is_one_sentence(tmp_path):
    with pytest.raises(TransectError, match="longer name than this disk allows"):
        write_text(tmp_path / ("a" * 300), "x")


def test_pictures_of_one_pixel_are_audited(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for k in range(8):
        cv2.imwrite(str(tmp_path / f"images/{k}.png"), np.full((1, 1, 3), k * 9, np.uint8))
        cv2.imwrite(str(tmp_path / f"masks/{k}.png"), np.full((1, 1), 255 * (k % 2), np.uint8))
    assert main(["audit", str(tmp_path)]) in (0, 1)


def test_two_thousand_classes_do_not_fill_a_line():
    names = [f"class{k:04d}" for k in range(2000)]
    assert listed(names).endswith("class0011 and 1988 more")
    said = str(unknown_name("a class", "clas0007", names))
    assert len(said) < 700
    assert "Did you mean 'class0007'?" in said


def test_two_thousand_classes_are_summed_up(tmp_path):
    from transect.data.survey import survey_summary

    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), np.zeros((32, 32, 3), np.uint8))
    rows = [f"a.png,{k % 32},{k // 64},c{k}" for k in range(2000)]
    (tmp_path / "points.csv").write_text("image,x,y,class\n" + "\n".join(rows) + "\n")
    assert max(map(len, survey_summary(open_survey(tmp_path)))) < 300
