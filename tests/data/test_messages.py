"""The messages of the data room that its other tests do not reach."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile

from tests.small import write_disc_survey
from transect.data import describe, images, labels, rle, tables
from transect.data.images import read_image
from transect.data.png import write_png
from transect.data.survey import open_survey
from transect.data.tiff import TiffReader, damaged
from transect.errors import TransectError
from transect.simulate import colony as synthetic_colony


def test_a_picture_without_pixels(tmp_path):
    with pytest.raises(TransectError, match="has no pixels"):
        images._check_pixels(tmp_path / "a.png", (0, 5), 100)


def test_masks_with_values_of_no_class(tmp_path):
    root = write_disc_survey(tmp_path / "s", kind="classes")
    survey = replace(open_survey(root), class_values=(1,), classes=("a",))
    name = survey.images[0].name
    for value in (9, 1 << 21):
        size = survey.images[0].size_hw
        mask = np.full(size, min(value, 65535), np.uint16)
        if value > 65535:
            tifffile.imwrite(tmp_path / "m.tif", np.full(size, value, np.uint32))
            survey = replace(survey, masks={name: tmp_path / "m.tif"})
        else:
            cv2.imwrite(str(survey.masks[name]), mask)
        with pytest.raises(TransectError, match=str(value)):
            labels.mask_labels(survey, survey.images[0])


def test_an_array_that_is_no_picture(tmp_path):
    with pytest.raises(TransectError, match="cannot be a PNG"):
        write_png(tmp_path / "a.png", np.zeros((2, 2), np.float64))


def test_run_lengths_beyond_any_mask():
    with pytest.raises(TransectError, match="more than 60 bits"):
        rle.decompress_counts("o" * 13 + "0")
    with pytest.raises(TransectError, match="beyond any mask"):
        rle.decompress_counts("o" * 10 + "?")


def test_a_survey_that_keeps_every_picture_apart(tmp_path):
    root = write_disc_survey(tmp_path / "s", count=2)
    (root / "images.csv").write_text("image,split\np0.png,test\np1.png,test\n")
    with pytest.raises(TransectError, match="no image left to train on"):
        open_survey(root)


def test_class_names_given_twice(tmp_path):
    root = write_disc_survey(tmp_path / "s", count=2, kind="classes")
    (root / "classes.csv").write_text("value,name\n1,a\n1,b\n")
    with pytest.raises(TransectError, match="new whole number and a new name"):
        open_survey(root)


def test_a_colony_too_small_to_draw(tmp_path, monkeypatch):
    with pytest.raises(TransectError, match="64 x 64"):
        synthetic_colony.write_colony_survey(tmp_path / "s", size_hw=(8, 8))
    monkeypatch.setattr(cv2, "imencode", lambda *words: (False, None))
    with pytest.raises(TransectError, match="could not be encoded"):
        synthetic_colony._write_png(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))


def test_tables_that_are_none(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("image,x\n" + "y" * 200_000 + ",1\n")
    with pytest.raises(TransectError, match="is not CSV"):
        tables.read_table(tmp_path / "a.csv", ["image"])
    monkeypatch.setattr(tables, "TABLE_LIMIT", 3)
    with pytest.raises(TransectError, match="larger than 1 GiB"):
        tables.read_table(tmp_path / "a.csv", ["image"])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda p: tifffile.imwrite(p, np.zeros((4, 32, 32), np.uint8), volumetric=True,
                                    photometric="minisblack", tile=(4, 16, 16)), "is a volume"),
        (lambda p: tifffile.imwrite(p, np.zeros((3, 3, 3), np.uint8), photometric="ycbcr"),
         "stores luma and chroma"),
        (lambda p: tifffile.imwrite(p, np.zeros((3, 3), np.complex64)), "which is not read"),
        (lambda p: tifffile.imwrite(p, np.zeros((2, 2, 5000), np.uint8), photometric="minisblack",
                                    planarconfig="contig"), "channels; at most"),
    ],
    ids=["volume", "ycbcr", "complex", "channels"],
)  # fmt: skip
def test_tiffs_that_are_not_read(tmp_path, write, words):
    write(tmp_path / "a.tif")
    with pytest.raises(TransectError, match=words):
        TiffReader(tmp_path / "a.tif")


def test_a_tiff_in_an_unknown_compression(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages.first.tags["Compression"].overwrite(32773 + 1)
    with pytest.raises(TransectError, match=r"damaged|not read"):
        read_image(tmp_path / "a.tif")


def test_a_file_without_permission(tmp_path):
    error = damaged(tmp_path / "a.png", PermissionError(13, "Permission denied"))
    assert "Change its permissions" in str(error)


def test_a_picture_that_vanishes_while_a_survey_is_read(tmp_path):
    root = write_disc_survey(tmp_path / "s", count=2)
    survey = open_survey(root)
    (root / "images" / "p0.png").unlink()
    with pytest.raises(TransectError, match=r"images/p0.png vanished"):
        describe.fingerprint(survey)
