"""New pictures hold the values that a network was trained on, or are refused, or rescaled."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from transect.data.folder import list_new
from transect.data.images import read_image
from transect.data.ranges import ValueRange, comparable, comparison, range_of
from transect.errors import TransectError
from transect.types import Quiet

PHOTOS = ValueRange(5, 240, "uint8", 3)


class Told(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def folder_of(root, arrays, suffix="tif"):
    (root / "s").mkdir(parents=True)
    for i, array in enumerate(arrays):
        if suffix == "tif":
            bands = {"photometric": "minisblack", "planarconfig": "contig"}
            many = array.ndim == 3 and array.shape[2] > 3
            tifffile.imwrite(root / "s" / f"{i}.tif", array, **(bands if many else {}))
        else:
            Image.fromarray(array).save(root / "s" / f"{i}.{suffix}")
    return root


@pytest.mark.parametrize(
    ("new", "normalise"),
    [
        (ValueRange(0, 255, "uint8", 3), "imagenet"),
        (ValueRange(60, 75, "uint8", 3), "imagenet"),  # fog
        (ValueRange(0, 40, "uint8", 1), "imagenet"),  # night
        (ValueRange(100, 100, "uint8", 3), "survey"),
        (ValueRange(900, 60000, "uint16", 3), "imagenet"),  # 16 bits, used to the full
        (ValueRange(0, 4095, "uint16", 3), "standardise"),
        (ValueRange(0, 1, "float32", 3), "unit"),
    ],
)
def test_what_the_network_sees_alike_is_answered(new, normalise):
    assert comparison(PHOTOS, new, [normalise]) == ""


@pytest.mark.parametrize(
    ("new", "normalise"),
    [
        (ValueRange(0, 4095, "uint16", 3), "imagenet"),  # 12 bits in 16
        (ValueRange(0, 4095, "uint16", 3), "survey"),
        (ValueRange(0, 1, "float32", 3), "survey"),
        (ValueRange(0, 255, "float32", 3), "unit"),
        (ValueRange(900, 60000, "uint16", 3), "survey"),
        (ValueRange(0, 255, "uint8", 4), "imagenet"),
        (ValueRange(0, 255, "uint8", 2), "standardise"),
    ],
)
def test_what_it_sees_quite_otherwise_is_not(new, normalise):
    said = comparison(PHOTOS, new, [normalise])
    assert "and the training had" in said


def test_the_range_is_that_of_pixels_with_data(tmp_path):
    array = np.linspace(300, 310, 100 * 100).reshape(100, 100).astype(np.float32)
    array[:40] = np.nan
    images, _ = list_new(folder_of(tmp_path / "f", [array] * 3))
    found = range_of(images)
    assert 304 <= found.low < found.high <= 310
    assert ValueRange.from_json(found.to_json()) == found
    assert range_of([]) is None


def test_the_range_of_photos_is_near_their_percentiles(tmp_path):
    rng = np.random.default_rng(0)
    photos = [rng.integers(20, 200, (150, 150, 3), dtype=np.uint8) for _ in range(3)]
    images, _ = list_new(folder_of(tmp_path / "f", photos, "png"))
    found = range_of(images)
    assert (found.low, found.high) == pytest.approx(np.percentile(photos, (1, 99)), abs=3)


def test_refused_with_both_ranges_and_the_option(tmp_path):
    new = folder_of(tmp_path / "n", [np.full((50, 50, 3), 3000, np.uint16)] * 2)
    with (
        pytest.raises(
            TransectError, match=r"3000 \(uint16, 3 channels\), and the training .*--resc"
        ),
        comparable(PHOTOS, new, ["survey"], progress=Quiet()),
    ):
        pass


def test_rescaled_copies_keep_names_and_order_and_vanish(tmp_path):
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 4000, (60, 70, 3), dtype=np.uint16) for _ in range(2)]
    new = folder_of(tmp_path / "n", arrays)
    (new / "images.csv").write_text("image,group\ns/0,A\n")
    told = Told()
    with comparable(PHOTOS, new, ["imagenet"], rescale=True, progress=told) as given:
        listed, problems = list_new(given)
        assert problems == ()
        assert [(i.name, i.dtype, i.group) for i in listed] == [
            ("s/0.tif", "uint8", "A"),
            ("s/1.tif", "uint8", None),
        ]
        pixels = read_image(listed[0].path).astype(float)
        assert np.corrcoef(pixels.ravel(), arrays[0].ravel())[0, 1] > 0.999
        assert (pixels.min(), pixels.max()) == pytest.approx((3, 243), abs=3)
    assert not given.exists()
    assert "rescaling" in told.lines[0]


def test_other_channels_cannot_be_rescaled(tmp_path):
    new = folder_of(tmp_path / "n", [np.zeros((50, 50), np.uint8)])
    trained = ValueRange(0, 255, "uint8", 4)
    with (
        pytest.raises(TransectError, match="have 1 channels, and the training had 4"),
        comparable(trained, new, ["imagenet"], rescale=True, progress=Quiet()),
    ):
        pass


def test_a_few_of_other_channels_are_told_and_left_to_the_prediction(tmp_path):
    many = [np.full((60, 70, 3), 90, np.uint8)] * 3
    new = folder_of(tmp_path / "n", [*many, np.full((60, 70, 5), 90, np.uint8)])
    told = Told()
    with comparable(PHOTOS, new, ["imagenet"], progress=told) as given:
        assert given == new
    assert "1 of the pictures have 5 channels, and the training had 3" in " ".join(told.lines)
    (new / "s" / "empty.png").write_bytes(b"")
    with comparable(PHOTOS, new, ["imagenet"], rescale=True, progress=told) as given:
        listed, problems = list_new(given)
        assert [image.channels for image in listed] == [3, 3, 3, 5]
        assert [problem.name for problem in problems] == ["s/empty.png"]


def test_a_damaged_picture_is_left_to_the_prediction(tmp_path):
    rng = np.random.default_rng(1)
    new = folder_of(tmp_path / "n", [rng.integers(0, 255, (60, 70, 3), dtype=np.uint8)], "png")
    whole = (new / "s" / "0.png").read_bytes()
    (new / "s" / "b.png").write_bytes(whole[: len(whole) // 2])
    told = Told()
    with comparable(PHOTOS, new, ["imagenet"], rescale=True, progress=told) as given:
        assert (given / "images" / "s" / "b.png").is_file()
    with comparable(PHOTOS, new, ["imagenet"], progress=told) as given:
        assert given == new
    assert told.lines[-1].startswith("new pictures: values")


def test_a_few_of_another_depth_among_many_are_seen(tmp_path):
    rng = np.random.default_rng(1)
    few = rng.integers(0, 4000, (60, 70, 3), dtype=np.uint16)
    arrays = [rng.integers(0, 255, (60, 70, 3), dtype=np.uint8) for _ in range(4)]
    new = folder_of(tmp_path / "n", [*arrays, few])
    with (
        pytest.raises(TransectError, match=r"1 of the pictures hold.*first: s/4.tif"),
        comparable(PHOTOS, new, ["imagenet"], progress=Quiet()),
    ):
        pass
    with comparable(PHOTOS, new, ["imagenet"], rescale=True, progress=Quiet()) as given:
        assert {image.dtype for image in list_new(given)[0]} == {"uint8"}
