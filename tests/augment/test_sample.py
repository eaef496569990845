"""Everything of a sample moves by one map, and what may not be applied is not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from transect.augment import augment_sample, invalid_kinds
from transect.augment.draws import Draws
from transect.augment.warp import draw_warp
from transect.errors import TransectError
from transect.recipe import Augment
from transect.types import Sample

GEOMETRY = {
    "hflip": Augment(hflip=1.0),
    "vflip": Augment(vflip=1.0),
    "rot90": Augment(rot90=1.0),
    "rotate": Augment(rotate=40.0),
    "shift": Augment(shift=0.2),
    "scale": Augment(scale=(0.6, 1.6)),
    "aspect": Augment(aspect=0.3),
    "shear": Augment(shear=0.3),
    "elastic": Augment(elastic=6.0, elastic_p=1.0),
    "perspective": Augment(perspective=0.2, perspective_p=1.0),
    "grid": Augment(grid=0.3, grid_p=1.0),
    "barrel": Augment(barrel=0.2, barrel_p=1.0),
    "piecewise": Augment(piecewise=0.04, piecewise_p=1.0),
    "crop": Augment(crop=0.2, crop_p=1.0),
}
EVERYTHING = Augment(
    hflip=0.5,
    vflip=0.5,
    rot90=0.5,
    rotate=30,
    shift=0.1,
    scale=(0.8, 1.3),
    aspect=0.1,
    shear=0.1,
    elastic=4.0,
    elastic_p=1.0,
    perspective=0.1,
    perspective_p=1.0,
    grid=0.1,
    grid_p=1.0,
    barrel=0.1,
    barrel_p=1.0,
    piecewise=0.02,
    piecewise_p=1.0,
    crop=0.1,
    crop_p=1.0,
)
GEOMETRY["everything"] = EVERYTHING


def dotted(size_hw, points, sigma=1.2):
    """A float picture with a Gaussian dot at every point."""
    y, x = np.mgrid[0 : size_hw[0], 0 : size_hw[1]].astype(np.float32)
    image = np.zeros(size_hw, np.float32)
    for px, py in points:
        image += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return image[..., None]


def photo(size_hw=(96, 96), channels=3, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.random((*size_hw, channels), dtype=np.float32), (0, 0), 3)
    smooth = smooth.reshape(*size_hw, channels)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    if dtype == np.float32:
        return smooth
    return (smooth * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("border", ["reflect", "zero"])
@pytest.mark.parametrize("kind", GEOMETRY)
def test_a_dot_follows_its_point(kind, border):
    """One dot per picture; its centre of mass in the result is where the point went."""
    rng = np.random.default_rng(7)
    checked = 0
    for _ in range(6):
        place = rng.uniform(70, 130, 2)
        sample = Sample(dotted((200, 200), [place]), points=np.array([place], np.float32))
        moved = augment_sample(
            sample,
            replace(GEOMETRY[kind], border=border),
            rng,
            out_hw=(112, 112),
            window=(40.0, 40.0, 120.0, 120.0),
        )
        if len(moved.points) == 0 or np.abs(moved.points[0] - 55.5).max() > 42:
            continue
        x, y = moved.points[0]
        patch = moved.image[..., 0].copy()
        yy, xx = np.mgrid[0:112, 0:112]
        patch[(xx - x) ** 2 + (yy - y) ** 2 > 8**2] = 0
        found = (patch * xx).sum() / patch.sum(), (patch * yy).sum() / patch.sum()
        assert np.hypot(found[0] - x, found[1] - y) < 0.5
        checked += 1
    assert checked >= 2


@pytest.mark.parametrize("kind", GEOMETRY)
def test_labels_and_planes_agree_with_the_image(kind):
    """A picture of a disc, its label and its plane: the same disc after the warp."""
    y, x = np.mgrid[0:150, 0:150]
    disc = ((x - 70) ** 2 + (y - 80) ** 2 < 30**2).astype(np.uint8)
    sample = Sample(
        (disc * 255)[..., None], planes=disc[..., None].astype(np.float32), labels=disc * 7
    )
    rng = np.random.default_rng(1)
    window = (15.0, 15.0, 120.0, 120.0)
    moved = augment_sample(sample, GEOMETRY[kind], rng, out_hw=(100, 100), window=window)
    as_image = moved.image[..., 0] > 127
    assert set(np.unique(moved.labels)) <= {0, 7}
    assert moved.labels.dtype == np.uint8
    assert moved.planes.dtype == np.float32
    outline = np.count_nonzero(as_image != (moved.labels > 0))
    assert outline <= 0.04 * np.count_nonzero(as_image) + 8
    assert np.abs(moved.planes[..., 0] - moved.image[..., 0] / 255).max() < 0.02


@pytest.mark.parametrize("kind", ["hflip", "vflip"])
def test_a_flip_twice_is_the_identity(kind):
    sample = Sample(photo(), labels=photo(channels=1)[..., 0].astype(np.int32))
    rng = np.random.default_rng(0)
    once = augment_sample(sample, GEOMETRY[kind], rng, out_hw=(96, 96))
    twice = augment_sample(once, GEOMETRY[kind], rng, out_hw=(96, 96))
    assert not np.array_equal(once.image, sample.image)
    assert np.array_equal(twice.image, sample.image)
    assert np.array_equal(twice.labels, sample.labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_flips_and_quarter_turns_are_copies(dtype):
    """All eight of the dihedral group appear, none with a new value."""
    image = photo((20, 20), channels=2, dtype=dtype)
    views = [np.rot90(v, k) for v in (image, image[:, ::-1]) for k in range(4)]
    spec = Augment(hflip=0.5, vflip=0.5, rot90=0.75)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(80):
        out = augment_sample(Sample(image), spec, rng, out_hw=(20, 20)).image
        equal = [i for i, view in enumerate(views) if np.array_equal(out, view)]
        assert len(equal) == 1
        seen.update(equal)
    assert len(seen) == 8


def test_a_quarter_turn_of_an_odd_window_is_still_a_copy():
    """A 20 x 23 window has its middle between pixels; no value may be interpolated for that."""
    image = np.arange(3600, dtype=np.uint16).reshape(60, 60, 1)
    cuts = {
        np.rot90(image, k)[i : i + 20, j : j + 23].tobytes()
        for k in range(4)
        for i in range(41)
        for j in range(38)
    }
    for seed in range(6):
        out = augment_sample(
            Sample(image),
            Augment(rot90=1.0),
            np.random.default_rng(seed),
            out_hw=(20, 23),
            window=(20.0, 20.0, 20.0, 23.0),
        ).image
        assert out.tobytes() in cuts


@pytest.mark.parametrize("kind", GEOMETRY)
def test_points_come_back_to_the_pixel_that_reads_them(kind):
    """The source place of an output pixel, taken as a point, moves to that pixel."""
    warp = draw_warp(
        GEOMETRY[kind],
        Draws(np.random.default_rng(2)),
        out_hw=(50, 70),
        source_hw=(300, 300),
        window=(60.0, 80.0, 75.0, 90.0),
    )
    pixels = np.stack(np.meshgrid(np.arange(70), np.arange(50)), axis=-1).reshape(-1, 2)
    places = pixels.astype(float)
    if warp.field is not None:
        places = places + warp.field.reshape(2, -1).T
    homogeneous = np.c_[places, np.ones(len(places))] @ warp.matrix.T
    source = homogeneous[:, :2] / homogeneous[:, 2:]
    back, inside = warp.points(source.astype(np.float32))
    assert np.abs(back - pixels).max() < 0.02
    assert inside.all()


def test_nothing_on_is_a_plain_cut():
    image = photo((80, 90))
    out = augment_sample(
        Sample(image),
        Augment(),
        np.random.default_rng(0),
        out_hw=(32, 40),
        window=(11.0, 23.0, 32.0, 40.0),
    ).image
    assert np.array_equal(out, image[11:43, 23:63])


def test_the_surroundings_of_the_window_are_used():
    """A turn by 45 degrees of a window needs no border while the picture goes on."""
    image = np.full((200, 200, 1), 90, np.uint8)
    spec = Augment(rotate=45.0, border="zero")
    out = augment_sample(
        Sample(image),
        spec,
        np.random.default_rng(3),
        out_hw=(64, 64),
        window=(68.0, 68.0, 64.0, 64.0),
    ).image
    assert (out == 90).all()


@pytest.mark.parametrize("window", [(-30.0, -20.0, 64.0, 64.0), (70.0, 60.0, 64.0, 64.0)])
def test_reflection_is_that_of_the_whole_picture(window):
    """Reading only the region that is needed gives what reading everything gives."""
    image = photo((100, 90), channels=1)
    top, left = int(window[0]), int(window[1])
    wide = cv2.copyMakeBorder(image, 60, 60, 60, 60, cv2.BORDER_REFLECT_101)
    expected = wide[60 + top : 124 + top, 60 + left : 124 + left]
    out = augment_sample(
        Sample(image), Augment(), np.random.default_rng(0), out_hw=(64, 64), window=window
    ).image
    assert np.array_equal(out[..., 0], expected)


@pytest.mark.parametrize("kind", ["rotate", "perspective", "elastic", "everything"])
def test_a_cut_region_gives_what_the_whole_picture_gives(kind):
    """The same warp read by a slow loop over the whole mirrored picture."""
    image = photo((90, 80), channels=1, dtype=np.float32)
    rng = np.random.default_rng(5)
    window = (-6.0, 30.0, 60.0, 60.0)
    warp = draw_warp(GEOMETRY[kind], Draws(rng), out_hw=(48, 48), source_hw=(90, 80), window=window)
    out = warp.image(image)[..., 0]
    for row, column in np.random.default_rng(0).integers(0, 48, (150, 2)):
        place = np.array([column, row], float)
        if warp.field is not None:
            place += warp.field[:, row, column]
        x, y, w = warp.matrix @ np.array([*place, 1.0])
        x, y = x / w, y / w
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        value = 0.0
        for dy in (0, 1):
            for dx in (0, 1):
                weight = abs(1 - dx - (x - x0)) * abs(1 - dy - (y - y0))
                value += weight * image[mirrored(y0 + dy, 90), mirrored(x0 + dx, 80), 0]
        assert abs(value - out[row, column]) < 0.02


def mirrored(i, side):
    i = abs(i) % (2 * side - 2)
    return 2 * side - 2 - i if i >= side else i


def test_shrinking_averages():
    """A checkerboard of single pixels shrinks to grey, not to a moire."""
    board = ((np.indices((256, 256)).sum(axis=0) % 2) * 255).astype(np.uint8)[..., None]
    out = augment_sample(Sample(board), Augment(), np.random.default_rng(0), out_hw=(64, 64)).image
    assert np.abs(out.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_every_type_and_number_of_channels_passes_through_everything(dtype, channels):
    spec = replace(
        EVERYTHING,
        brightness=0.2,
        contrast=0.2,
        gamma=0.3,
        hue=0.1,
        saturation=0.5,
        channel_shift=0.1,
        colour_p=1.0,
        invert=0.5,
        grey=0.3,
        channel_shuffle=0.5,
        noise=0.05,
        noise_p=1.0,
        blur=1.5,
        blur_p=1.0,
        motion_blur=7,
        motion_blur_p=1.0,
        low_resolution=0.5,
        low_resolution_p=1.0,
        cutout=0.3,
        cutout_p=1.0,
        clahe_p=1.0,
    )
    image = photo((40, 52), channels, dtype=dtype)
    out = augment_sample(Sample(image), spec, np.random.default_rng(0), out_hw=(36, 44)).image
    assert out.shape == (36, 44, channels)
    assert out.dtype == dtype
    assert np.isfinite(out.astype(np.float64)).all()
    assert out.std() > 0


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.uint16, np.int16])
def test_labels_of_every_type_keep_their_values(dtype):
    top = np.iinfo(dtype).max
    labels = np.random.default_rng(0).choice(np.array([0, 1, 77, top], dtype), (64, 64))
    out = augment_sample(
        Sample(photo((64, 64)), labels=labels),
        EVERYTHING,
        np.random.default_rng(1),
        out_hw=(48, 48),
    )
    assert out.labels.dtype == dtype
    assert out.labels.shape == (48, 48)
    assert set(np.unique(out.labels).tolist()) == {0, 1, 77, int(top)}


def test_points_outside_are_dropped_and_classes_carried():
    points = np.array([[5, 5, 1], [30, 30, 2], [49.4, 40, 3], [49.6, 40, 4]], np.float32)
    out = augment_sample(
        Sample(photo((60, 60)), points=points),
        Augment(),
        np.random.default_rng(0),
        out_hw=(40, 40),
        window=(10.0, 10.0, 40.0, 40.0),
    )
    assert out.points[:, 2].tolist() == [2, 3]
    assert out.points[0, :2].tolist() == [20, 20]


def test_boxes_are_flipped_clipped_and_dropped():
    boxes = np.array([[10, 5, 20, 15], [-9, 0, 4, 8], [70, 70, 80, 80]], np.float32)
    out = augment_sample(
        Sample(photo((60, 60)), boxes=boxes),
        Augment(hflip=1.0),
        np.random.default_rng(0),
        out_hw=(60, 60),
    )
    assert np.allclose(out.boxes, [[39, 5, 49, 15], [55, 0, 59.5, 8]])


def test_no_points_and_no_boxes_stay_empty():
    sample = Sample(
        photo(), points=np.zeros((0, 2), np.float32), boxes=np.zeros((0, 4), np.float32)
    )
    out = augment_sample(sample, EVERYTHING, np.random.default_rng(0), out_hw=(32, 32))
    assert out.points.shape == (0, 2)
    assert out.boxes.shape == (0, 4)


def test_what_is_not_valid_is_named_and_not_applied():
    spec = Augment(vflip=1.0, rot90=1.0, rotate=20.0, hflip=1.0, valid=("hflip",))
    assert invalid_kinds(spec) == ("vflip", "rot90", "rotate")
    image = photo()
    out = augment_sample(Sample(image), spec, np.random.default_rng(0), out_hw=(96, 96)).image
    assert np.array_equal(out, image[:, ::-1])
    assert invalid_kinds(Augment(vflip=0.5)) == ()


def test_before_the_end_of_the_warm_up_only_flips_are_applied():
    spec = replace(EVERYTHING, hflip=1.0, vflip=0.0, brightness=0.9, colour_p=1.0, warmup=0.5)
    image = photo()
    early = augment_sample(
        Sample(image), spec, np.random.default_rng(0), out_hw=(96, 96), fraction=0.49
    )
    late = augment_sample(
        Sample(image), spec, np.random.default_rng(0), out_hw=(96, 96), fraction=0.5
    )
    assert np.array_equal(early.image, image[:, ::-1])
    assert not np.array_equal(late.image, image[:, ::-1])


def test_the_same_generator_gives_the_same_sample():
    spec = replace(EVERYTHING, noise=0.1, noise_p=1.0, policy="none")
    one, two = (
        augment_sample(Sample(photo()), spec, np.random.default_rng(4), out_hw=(50, 50)).image
        for _ in range(2)
    )
    assert np.array_equal(one, two)


@pytest.mark.parametrize("policy", ["randaugment", "autoaugment"])
def test_policies_change_pictures_and_respect_validity(policy):
    spec = Augment(hflip=0.5, policy=policy, valid=("hflip",))
    image = photo()
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(30):
        out = augment_sample(Sample(image), spec, rng, out_hw=(96, 96)).image
        changed += not (np.array_equal(out, image) or np.array_equal(out, image[:, ::-1]))
    assert changed >= 20


def test_a_huge_picture_costs_no_more_than_its_window():
    """A picture on no disk: a read of all of it would not fit into memory."""
    huge = np.lib.stride_tricks.as_strided(
        np.arange(256, dtype=np.uint8), (60_000, 60_000, 1), (0, 0, 1)
    )
    out = augment_sample(
        Sample(huge),
        replace(EVERYTHING, border="edge"),
        np.random.default_rng(0),
        out_hw=(64, 64),
        window=(50_000.0, 40_000.0, 64.0, 64.0),
    )
    assert out.image.shape == (64, 64, 1)


def test_a_window_wholly_outside_does_not_fail():
    for border in ("reflect", "edge", "zero"):
        out = augment_sample(
            Sample(photo((30, 30))),
            Augment(rotate=10.0, border=border),
            np.random.default_rng(0),
            out_hw=(16, 16),
            window=(-500.0, 400.0, 16.0, 16.0),
        )
        assert out.image.shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Augment(border="mirror"), "augment.border must be one of"),
        (Augment(policy="randaug"), "Did you mean 'randaugment'"),
        (Augment(valid=("hflop",)), "Did you mean 'hflip'"),
        (Augment(hflip=2.0), "augment.hflip is a probability"),
        (Augment(scale=(0.0, 1.0)), "positive range"),
        (Augment(crop=0.5), "augment.crop must be"),
        (Augment(low_resolution=0.0), "low_resolution"),
    ],
)
def test_misspelt_and_senseless_fields_are_named(spec, words):
    with pytest.raises(TransectError, match=words):
        augment_sample(Sample(photo((8, 8))), spec, np.random.default_rng(0), out_hw=(8, 8))
