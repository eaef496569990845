import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.data.geometry import (
    BORDERS,
    NORMALISE,
    count_channels,
    depth_range,
    fit_labels,
    fit_planes,
    fit_whole,
    input_channels,
    match_channels,
    placement_of,
    reflect_pad,
    unfit,
)
from transect.errors import TransectError
from transect.recipe import Geometry


def whole(size, resize=None, border="reflect", **more):
    return Geometry(fit="whole", size_hw=size, resize_hw=resize, border=border, **more)


@pytest.mark.parametrize(
    ("size", "resize", "content", "corner"),
    [
        ((128, 128), None, (101, 101), (13, 13)),
        ((224, 224), (192, 192), (192, 192), (16, 16)),
        ((256, 256), (202, 202), (202, 202), (27, 27)),
        ((148, 148), None, (101, 101), (23, 23)),
        ((64, 64), None, (64, 64), (0, 0)),
    ],
)
def test_the_winners_geometries(size, resize, content, corner):
    place = placement_of((101, 101), whole(size, resize))
    assert place.content_hw == content
    assert (place.top, place.left) == corner
    assert place.size_hw == size


def test_a_larger_picture_keeps_its_shape_when_it_shrinks():
    assert placement_of((100, 400), whole((64, 64))).content_hw == (16, 64)
    assert placement_of((1, 4000), whole((64, 64))).content_hw == (1, 64)


@pytest.mark.parametrize("border", ["reflect", "edge", "zero"])
def test_borders_agree_with_opencv(border):
    import cv2

    image = np.random.default_rng(0).integers(0, 255, (101, 101, 3), dtype=np.uint8)
    how = {
        "reflect": cv2.BORDER_REFLECT_101,
        "edge": cv2.BORDER_REPLICATE,
        "zero": cv2.BORDER_CONSTANT,
    }[border]
    fitted, _ = fit_whole(image, whole((128, 128), border=border))
    np.testing.assert_array_equal(fitted, cv2.copyMakeBorder(image, 13, 14, 13, 14, how))


def test_inpainting_continues_a_ramp_and_keeps_the_picture():
    ramp = np.tile(np.arange(24, dtype=np.uint8)[:, None, None] * 4 + 60, (1, 24, 1))
    fitted, place = fit_whole(ramp, whole((32, 32), border="inpaint"))
    np.testing.assert_array_equal(fitted[4:28, 4:28], ramp)
    assert fitted.dtype == np.uint8
    assert np.abs(fitted[4:28, 0].astype(int) - ramp[:, 0]).max() <= 12
    labels = np.zeros((24, 24), np.uint8)
    labels[:, :12] = 1
    padded = fit_labels(labels, place, border="inpaint")
    assert set(np.unique(padded)) == {0, 1}
    assert padded[10, 0] == 1
    assert padded[10, -1] == 0
    three = fit_labels(labels * 3, place, border="inpaint")
    np.testing.assert_array_equal(three, np.pad(labels * 3, 4, mode="edge"))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    extra=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    border=st.sampled_from(BORDERS[:3]),
    channels=st.integers(1, 6),
)
def test_cropping_undoes_padding_exactly(height, width, extra, border, channels):
    image = np.random.default_rng(height).standard_normal((height, width, channels))
    image = image.astype(np.float32)
    geometry = whole((height + extra[0], width + extra[1]), border=border)
    fitted, place = fit_whole(image, geometry)
    assert fitted.shape == (*geometry.size_hw, channels)
    np.testing.assert_array_equal(unfit(np.moveaxis(fitted, 2, 0), place), np.moveaxis(image, 2, 0))
    labels = (image[..., 0] > 0).astype(np.int16)
    np.testing.assert_array_equal(unfit(fit_labels(labels, place)[None], place)[0], labels)


def test_resizing_there_and_back_is_near_for_smooth_pictures():
    rows, columns = np.mgrid[:101, :101] / 100
    smooth = np.stack([rows, columns, rows * columns, rows**2, columns**2], axis=2)
    smooth = smooth.astype(np.float32)
    for size, resize in (((224, 224), (192, 192)), ((256, 256), (202, 202)), ((64, 64), None)):
        fitted, place = fit_whole(smooth, whole(size, resize, border="edge"))
        back = unfit(np.moveaxis(fitted, 2, 0), place)
        assert back.shape == (5, 101, 101)
        assert np.abs(back - np.moveaxis(smooth, 2, 0)).max() < 0.02


def test_labels_and_pictures_move_alike():
    labels = np.zeros((50, 70), np.uint8)
    labels[20:40, 10:45] = 1
    geometry = whole((128, 160), (100, 140))
    fitted, place = fit_whole(labels[..., None] * np.uint8(255), geometry)
    moved = fit_labels(labels, place)
    assert ((fitted[..., 0] > 127) != moved).mean() < 0.001
    assert fit_planes(labels[..., None].astype(np.float32), place).shape == (128, 160, 1)


def test_contradictions_and_unknown_words_are_refused():
    with pytest.raises(TransectError, match=r"larger than geometry.size_hw"):
        placement_of((10, 10), whole((64, 64), (96, 96)))
    with pytest.raises(TransectError, match="Did you mean 'reflect'"):
        fit_whole(np.zeros((4, 4, 1), np.uint8), whole((8, 8), border="reflekt"))
    image = np.zeros((4, 4, 1), np.uint8)
    with pytest.raises(TransectError, match="a channel of geometry"):
        input_channels(image, Geometry(channels=("imgae",)))
    with pytest.raises(TransectError, match="Did you mean 'imagenet'"):
        input_channels(image, Geometry(normalise="imagnet"))


# --- channels -------------------------------------------------------------------------------


def test_channels_by_hand():
    image = np.array([[[0], [255]], [[51], [102]]], np.uint8)
    geometry = Geometry(
        channels=("image", "row", "column", "row*image", "cumsum", "depth", "mask:a", "grey"),
        normalise="unit",
    )
    out = input_channels(
        image, geometry, depth=30, depth_range=(10, 50), masks={"a": np.full((2, 2), 0.25)}
    )
    assert out.dtype == np.float32
    assert out.shape[2] == count_channels(geometry, 1) == 8
    unit = [[0, 1], [0.2, 0.4]]
    cumsum = [[0, 255 / 357], [51 / 357, 1]]
    expected = [
        unit,
        [[0, 0], [1, 1]],
        [[0, 1], [0, 1]],
        [[0, 0], [0.2, 0.4]],
        cumsum,
        [[0.5] * 2] * 2,
        [[0.25] * 2] * 2,
        unit,
    ]
    np.testing.assert_allclose(np.moveaxis(out, 2, 0), expected, atol=1e-6)


def test_a_tile_knows_where_it_lies():
    geometry = Geometry(channels=("row", "column"))
    full = input_channels(np.zeros((9, 11, 1), np.uint8), geometry)
    tile = input_channels(np.zeros((3, 4, 1), np.uint8), geometry, window=(5, 6, 9, 11))
    np.testing.assert_array_equal(tile, full[5:8, 6:10])


def test_normalising_by_hand():
    image = np.array([[[10, 20, 30], [30, 40, 50]]], np.uint8)
    torch_like = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(input_channels(image, Geometry()), torch_like, rtol=1e-5)
    standard = input_channels(image, Geometry(normalise="standardise"))
    assert standard.mean() == pytest.approx(0, abs=1e-6)
    assert standard.std() == pytest.approx(1, abs=1e-6)
    survey = input_channels(
        image, Geometry(normalise="survey"), statistics=([10, 20, 30], [2, 4, 5])
    )
    np.testing.assert_allclose(survey, [[[0, 0, 0], [10, 5, 4]]])
    np.testing.assert_array_equal(input_channels(image, Geometry(normalise="raw")), image)
    with pytest.raises(TransectError, match="needs the survey's mean"):
        input_channels(image, Geometry(normalise="survey"))


@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_way_works_for_every_picture_also_flat_ones(normalise, channels, dtype):
    rng = np.random.default_rng(0)
    geometry = Geometry(channels=("image", "grey", "cumsum", "row*image"), normalise=normalise)
    statistics = ([1.0] * channels, [2.0] * channels)
    for image in (rng.integers(0, 200, (5, 6, channels)), np.zeros((5, 6, channels))):
        out = input_channels(image.astype(dtype), geometry, statistics=statistics)
        assert out.shape == (5, 6, channels + 3)
        assert np.isfinite(out).all()


def test_a_missing_depth_or_mask_is_explained():
    image = np.zeros((4, 4, 1), np.uint8)
    with pytest.raises(TransectError, match=r"Add the column depth to images.csv"):
        input_channels(image, Geometry(channels=("depth",)), depth=1)
    out = input_channels(image, Geometry(channels=("depth",)), depth_range=(0, 1))
    assert out.mean() == 0.5
    with pytest.raises(TransectError, match="run after mask:"):
        input_channels(image, Geometry(channels=("mask:x",)))
    with pytest.raises(TransectError, match="Predict the same pictures"):
        input_channels(image, Geometry(channels=("mask:x",)), masks={"x": np.zeros((2, 2))})


def test_depth_range_takes_all_pictures():
    from pathlib import Path

    from transect.types import Image

    images = [Image("a", Path("a"), (1, 1), 1, depth=d) for d in (5.0, None, 2.0)]
    assert depth_range(images) == (2.0, 5.0)
    assert depth_range(images[1:2]) is None


def test_channels_are_matched():
    rgb = np.array([[[255, 0, 0]]], np.uint8)
    assert match_channels(rgb, 1).tolist() == [[[76]]]
    assert match_channels(rgb[..., :1], 3).tolist() == [[[255, 255, 255]]]
    for have, want in ((3, 7), (4, 3), (2, 1), (4, 1), (3, 4)):
        with pytest.raises(TransectError, match=f"{have} channels and the survey's network takes"):
            match_channels(np.zeros((1, 1, have), np.uint8), want)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))
def test_reflect_pad_keeps_the_picture_inside(height, width, want_h, want_w):
    array = np.arange(height * width).reshape(height, width)
    padded, (top, left) = reflect_pad(array, (want_h, want_w))
    assert padded.shape == (max(height, want_h), max(width, want_w))
    np.testing.assert_array_equal(padded[top : top + height, left : left + width], array)
