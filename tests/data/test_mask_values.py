"""Masks whose numbers are fractions, -1 or colours: read, or asked about by name."""

import numpy as np
import pytest
import tifffile

from tests.data.test_strangers import pictures
from transect.data.images import read_labels
from transect.data.masks import mask_facts
from transect.data.survey import mask_labels, open_survey
from transect.errors import TransectError


def masks(root, *arrays):
    (root / "masks").mkdir()
    pictures(root, *(f"p{i}.png" for i in range(len(arrays))), size_hw=arrays[0].shape)
    for i, array in enumerate(arrays):
        tifffile.imwrite(root / "masks" / f"p{i}.tif", array)
    return root


def blob(value, dtype, place=5):
    array = np.zeros((30, 40), dtype)
    array[place : place + 10, place : place + 10] = value
    return array


@pytest.mark.parametrize("value", [1.0, 0.5, 1 / 255, 255.0])
def test_float_masks_of_one_value_are_binary(tmp_path, value):
    survey = open_survey(masks(tmp_path, blob(value, np.float32), blob(value, np.float64, 9)))
    assert survey.mask_kind == "binary"
    labels = mask_labels(survey, "p0.png")
    assert sorted(np.unique(labels)) == [0, 1]
    assert labels.sum() == 100


def test_soft_masks_are_refused_with_a_threshold(tmp_path):
    soft = blob(1, np.float32)
    soft[5:15, 4] = 0.4
    with pytest.raises(TransectError, match=r"shares from 0 to 1.*mask > 0\.5"):
        open_survey(masks(tmp_path, soft))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize(("kind", "most"), [("binary", 1), ("classes", 2), ("instances", 2)])
def test_minus_one_is_not_labelled(tmp_path, kind, most, dtype):
    arrays = []
    for place in (3, 12):
        array = blob(1, dtype, place)
        array[0] = -1
        if kind != "binary":
            array[20:24, 30:34] = 2
        if kind == "classes":
            array[28, 38] = 1
        arrays.append(array)
    survey = open_survey(masks(tmp_path, *arrays), mask_kind=kind if most > 1 else None)
    assert survey.mask_kind == kind
    labels = mask_labels(survey, "p0.png")
    assert (labels[0] == -1).all()
    assert (labels[1:] >= 0).all()
    assert labels.max() == most
    assert "-1 in the masks is read as void (not labelled)" in survey.notes
    assert mask_facts(survey.masks["p0.png"]).values[0] == -1


def test_other_negative_labels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", blob(-2, np.int16))
    with pytest.raises(TransectError, match="negative label -2"):
        read_labels(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(("under", "shown"), [(255, 255), (9, 0), (0, 7)])
def test_transparent_pixels_of_masks_show_nothing(tmp_path, mode, under, shown):
    from PIL import Image

    wanted = blob(1, bool)
    colour = np.where(wanted, shown, under).astype(np.uint8)
    alpha = np.where(wanted, 255, 0).astype(np.uint8)
    bands = [colour] * (len(mode) - 1) + [alpha]
    Image.fromarray(np.stack(bands, axis=2)).save(tmp_path / "a.png")
    assert (read_labels(tmp_path / "a.png") > 0).tolist() == wanted.tolist()
    bands[-1] = np.full_like(alpha, 255)  # opaque: the colours count
    Image.fromarray(np.stack(bands, axis=2)).save(tmp_path / "b.png")
    assert (read_labels(tmp_path / "b.png") == colour).all()


def test_masks_that_may_be_inverted_are_told(tmp_path):
    black = [255 - blob(255, np.uint8, place) for place in (3, 12)]
    assert any("the masks are inverted" in n for n in open_survey(masks(tmp_path, *black)).notes)
