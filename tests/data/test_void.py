"""Pixels without data and channels that are no colours: kept apart, never dropped."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from transect.data.cache import PixelCache
from transect.data.images import image_info, open_reader, read_image, read_void
from transect.data.inputs import picture_channels, suited_normalisation
from transect.data.survey import mask_labels, open_survey
from transect.errors import TransectError

NODATA = 42113


def tagged(value):
    text = f"{value}\0"
    return [(NODATA, "s", len(text), text, True)]


def ramp(low=300, high=310, size=(40, 60)):
    return np.linspace(low, high, size[0] * size[1]).reshape(size)


def hole(array, value):
    array = array.copy()
    array[:10, :20] = value
    return array


@pytest.mark.parametrize(
    ("array", "tag"),
    [
        (hole(ramp().astype(np.float32), np.nan), None),
        (hole(ramp().astype(np.float32), np.inf), None),
        (hole(ramp().astype(np.float32), -9999), "-9999"),
        (hole(ramp().astype(np.float32), -3.4028234663852886e38), "-3.4028234663852886e+38"),
        (hole(ramp().astype(np.float32), -3.4028234663852886e38), None),
        (hole(ramp().astype(np.float64), -9999.0), "-9999.0"),
        (hole(ramp().astype(np.int16), -9999), "-9999"),
        (hole(ramp().astype(np.uint16), 65535), "65535"),
        (hole(ramp(40, 90).astype(np.uint8), 0), " 0"),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pixels_without_data_hold_the_mean_of_others_and_are_told(
    tmp_path, array, tag, compression
):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, extratags=tagged(tag) if tag else (), compression=compression)
    void, pixels = read_void(path), read_image(path)[..., 0]
    assert void.sum() == 200
    assert void[:10, :20].all()
    assert np.isfinite(pixels).all()
    rest = pixels[~void].astype(float)
    assert rest.min() <= pixels[void].min() <= pixels[void].max() <= rest.max()
    np.testing.assert_array_equal(rest, array[~void].astype(pixels.dtype))
    reader = open_reader(path)
    np.testing.assert_array_equal(reader.window(5, 5, 9, 30), pixels[5:14, 5:35, None])
    np.testing.assert_array_equal(reader.void(5, 5, 9, 30), void[5:14, 5:35])


def test_black_in_one_colour_is_a_colour(tmp_path):
    picture = np.full((6, 8, 3), 90, np.uint8)
    picture[:2] = 0
    picture[4, 0] = (0, 90, 90)
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", extratags=tagged(0))
    assert read_void(tmp_path / "a.tif").sum() == 16
    assert read_image(tmp_path / "a.tif")[4, 0].tolist() == [0, 90, 90]


@pytest.mark.parametrize(
    ("extra", "channels"), [([0], 4), ([1], 3), ([2], 3), ([0, 0], 5), ([0, 2], 4)]
)
def test_alpha_is_what_extra_samples_say_and_nothing_else(tmp_path, extra, channels):
    picture = np.random.default_rng(0).integers(1, 255, (8, 9, 3 + len(extra)), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", extrasamples=extra)
    assert image_info(tmp_path / "a.tif") == ((8, 9), channels, "uint8")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), picture[..., :channels])


def test_transparent_pixels_of_an_orthomosaic_hold_no_data(tmp_path):
    picture = np.full((8, 9, 4), 200, np.uint8)
    picture[:3] = 0
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", extrasamples=[2])
    assert read_void(tmp_path / "a.tif").sum() == 27
    assert (read_image(tmp_path / "a.tif") == 200).all()


def test_a_picture_of_two_channels_stays_whole(tmp_path):
    picture = np.arange(2 * 30, dtype=np.uint16).reshape(5, 6, 2)
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), picture)


@pytest.mark.parametrize("pages", [1, 5])
def test_a_stack_is_refused_however_it_is_described(tmp_path, pages):
    volume = np.zeros((5, 20, 30), np.uint16)
    path = tmp_path / "s.tif"
    if pages == 5:
        tifffile.imwrite(path, volume, imagej=True)
    else:
        words = "ImageJ=1.54f\nimages=5\nslices=5\n"
        tifffile.imwrite(path, volume[0], description=words, metadata=None)
        path.write_bytes(path.read_bytes() + volume[1:].tobytes())
    with pytest.raises(TransectError, match="is a stack of 5 pictures"):
        read_image(path)
    tifffile.imwrite(path, volume, truncate=True)
    with pytest.raises(TransectError, match="is a stack of 5 pictures"):
        read_image(path)


def survey_of(root, arrays, **options):
    for i, array in enumerate(arrays):
        for folder in ("images", "masks"):
            (root / folder).mkdir(exist_ok=True, parents=True)
        tifffile.imwrite(root / "images" / f"t{i}.tif", array, **options)
        mask = np.zeros(array.shape[:2], np.uint8)
        mask[5:15, 5:30] = 255
        Image.fromarray(mask).save(root / "masks" / f"t{i}.png")
    return root


def test_a_survey_counts_them_and_keeps_them_out_of_statistics_and_losses(tmp_path):
    arrays = [hole(ramp().astype(np.int16), -9999), ramp().astype(np.int16)]
    survey = open_survey(survey_of(tmp_path, arrays, extratags=tagged(-9999)))
    assert [round(i.void, 4) for i in survey.images] == [round(200 / 2400, 4), 0]
    (note,) = (n for n in survey.notes if "without data" in n)
    assert note.startswith("1 of 2 images hold pixels without data")
    assert "8.3 % of their pixels; first: t0.tif" in note
    labels = mask_labels(survey, "t0.tif")
    assert (labels[:10, :20] == -1).all()
    assert (labels == -1).sum() == 200
    assert labels[12, 8] == 1
    cache = PixelCache(survey.training(), None)
    known = np.concatenate([arrays[0][arrays[0] > 0], arrays[1].ravel()]).astype(float)
    (mean,), (deviation,) = cache.statistics()
    assert mean == pytest.approx(known.mean(), abs=1e-3)
    assert deviation == pytest.approx(known.std(), abs=1e-3)


def test_a_picture_without_any_data_is_left_out(tmp_path):
    arrays = [np.full((20, 40), np.nan, np.float32), ramp(size=(20, 40)).astype(np.float32)]
    survey = open_survey(survey_of(tmp_path, arrays))
    assert [i.name for i in survey.images] == ["t1.tif"]
    assert "t0.tif holds no data at all" in survey.problems[0].what


def test_near_infrared_reaches_the_network(tmp_path):
    arrays = [np.full((20, 40, 4), 90, np.uint8)] * 2
    root = survey_of(tmp_path, arrays, photometric="rgb", extrasamples=[0])
    survey = open_survey(root)
    assert picture_channels(survey.images) == 4
    assert suited_normalisation(survey.images) == "survey"


def gdal(path, array, mask, *, beside=False, orientation=1, overview=False):
    """A GeoTIFF with GDAL's mask: a page of subfile type 4, or NAME.tif.msk."""
    tags = [(274, "H", 1, orientation, True)]
    with tifffile.TiffWriter(path) as out:
        out.write(array, extratags=tags, photometric="minisblack", compression="zlib")
        if overview:
            out.write(array[::2, ::2], subfiletype=1, photometric="minisblack")
        if not beside:
            out.write(mask != 0, subfiletype=4, photometric="minisblack")
    if beside:
        tifffile.imwrite(path.with_name(path.name + ".msk"), mask)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("beside", [False, True])
def test_gdals_masks_say_which_pixels_hold_no_data(tmp_path, beside, orientation):
    array = ramp(40, 90).astype(np.uint8)
    mask = np.full(array.shape, 255, np.uint8)
    mask[:10, :20] = 0
    path = tmp_path / "a.tif"
    gdal(path, array, mask, beside=beside, orientation=orientation, overview=True)
    wanted = mask == 0 if orientation == 1 else np.rot90(mask == 0, -1)
    np.testing.assert_array_equal(read_void(path), wanted)
    pixels = read_image(path)[..., 0]
    assert len(np.unique(pixels[wanted])) == 1  # the mean of others
    reader = open_reader(path)
    np.testing.assert_array_equal(reader.void(2, 3, 12, 30), wanted[2:14, 3:33])


def test_a_gdal_mask_of_another_size_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    gdal(path, ramp().astype(np.uint8), np.zeros((4, 4), np.uint8), beside=True)
    with pytest.raises(TransectError, match=r"a\.tif\.msk is of another size"):
        read_image(path)


def test_gdals_masks_count_in_a_survey_and_are_told_where_they_cannot(tmp_path):
    from transect.data.png import write_png

    (tmp_path / "images").mkdir()
    mask = np.full((40, 60), 255, np.uint8)
    mask[:, :30] = 0
    gdal(tmp_path / "images" / "a.tif", ramp(40, 90).astype(np.uint8), mask)
    write_png(tmp_path / "images" / "b.png", ramp(40, 90).astype(np.uint8))
    tifffile.imwrite(tmp_path / "images" / "b.png.msk", mask)
    for name in "ab":
        write_png(tmp_path / "masks" / f"{name}.png", np.eye(40, 60, dtype=np.uint8))
    survey = open_survey(tmp_path)
    assert [image.void for image in survey.images] == [0.5, 0]
    assert (mask_labels(survey, "a.tif")[:, :30] == -1).all()
    notes = " ".join(survey.notes)
    assert "first: b.png.msk) and are not used" in notes
    assert "hold pixels without data" in notes
