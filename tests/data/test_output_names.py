"""What is made from images that share a stem keeps apart, and is read back as theirs."""

import numpy as np
import pytest
from PIL import Image

from transect.data.folder import list_new
from transect.data.survey import mask_labels, open_survey
from transect.files import made_path
from transect.predict.outputs import write_mask

NAMES = ["a.png", "a.jpg", "a.bmp", "A.tif", "b.png", "s/a.png", "c.d.png"]


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(NAMES):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30 + i, 3), 40 * i, np.uint8)).save(path)
    return tmp_path


def test_every_image_has_its_own_output(folder):
    images, _ = list_new(folder)
    paths = {i.name: made_path(folder / "masks", i.stem, ".png") for i in images}
    names = {n: p.relative_to(folder / "masks").as_posix() for n, p in paths.items()}
    assert len({name.lower() for name in names.values()}) == len(NAMES)
    assert (names["b.png"], names["s/a.png"], names["c.d.png"]) == ("b.png", "s/a.png", "c.d.png")
    assert names["a.jpg"] == "a.jpg.png"


def test_masks_so_named_are_read_as_those_of_their_images(folder):
    images, _ = list_new(folder)
    for k, image in enumerate(images):
        labels = np.zeros(image.size_hw, np.uint8)
        labels[: k + 1] = 1
        write_mask(made_path(folder / "masks", image.stem, ".png"), labels)
    survey = open_survey(folder)
    assert survey.problems == ()
    for k, image in enumerate(images):
        assert mask_labels(survey, image.name)[:, 0].sum() == k + 1
