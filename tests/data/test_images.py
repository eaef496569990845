import contextlib
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from transect.data.images import image_info, open_reader, read_image, read_labels
from transect.data.tiff import TiffReader, oriented
from transect.data.tiff_writer import geo_tags, write_tiff_bands
from transect.errors import TransectError


def picture(rng, *shape, dtype=np.uint8):
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def check_info(path: Path):
    image = read_image(path)
    assert image_info(path) == (image.shape[:2], image.shape[2], image.dtype.name)
    reader = open_reader(path)
    assert reader.shape == image.shape
    assert reader.dtype == image.dtype
    top, left = image.shape[0] // 3, image.shape[1] // 2
    window = reader.window(top, left, image.shape[0] - top, 1)
    np.testing.assert_array_equal(window, image[top:, left : left + 1])
    return image


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [("png", 1), ("png", 3), ("png", 4), ("bmp", 1), ("bmp", 3), ("webp", 3), ("webp", 4)],
)
def test_lossless_8_bit_pictures_come_back(tmp_path, rng, suffix, channels):
    array = picture(rng, 7, 9, channels)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(array[..., 0] if channels == 1 else array).save(
        path, **({"lossless": True, "exact": True} if suffix == "webp" else {})
    )
    np.testing.assert_array_equal(check_info(path), array[..., :3])  # alpha is no colour


def test_lossy_pictures_are_near(tmp_path):
    array = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None], (1, 64, 3))
    for name in ("a.jpg", "a.webp"):
        Image.fromarray(array).save(tmp_path / name, quality=95)
        assert np.abs(check_info(tmp_path / name).astype(int) - array).max() < 12


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_png_keeps_16_bits_and_the_order_of_channels(tmp_path, rng, channels):
    array = picture(rng, 6, 5, channels, dtype=np.uint16)
    stored = array if channels == 1 else array[..., [2, 1, 0, 3][:channels]]
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    np.testing.assert_array_equal(check_info(tmp_path / "a.png"), array[..., :3])


def test_16_bit_grey_with_alpha(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">4H", 1, 65535, 500, 9) for _ in range(2))
    (tmp_path / "a.png").write_bytes(png(2, 2, 16, 4, rows))
    expected = np.array([[[1], [500]]] * 2, np.uint16)
    np.testing.assert_array_equal(check_info(tmp_path / "a.png"), expected)


def png(width, height, bits, colour, rows):
    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_one_bit_becomes_0_and_255_and_as_labels_0_and_1(tmp_path):
    array = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    for name in ("a.png", "a.tif", "a.bmp"):
        Image.fromarray(array * 255).convert("1").save(tmp_path / name)
        np.testing.assert_array_equal(check_info(tmp_path / name)[..., 0], array * 255)
        if not name.endswith("bmp"):
            np.testing.assert_array_equal(read_labels(tmp_path / name), array)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_palettes_become_colours_and_as_labels_indices(tmp_path, suffix):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "L").convert("L")
    paletted = image.convert("P")
    paletted.putdata([0, 1, 2, 1])
    paletted.putpalette([0, 0, 0, 200, 100, 8, 7, 255, 9])
    path = tmp_path / f"a.{suffix}"
    paletted.save(path)
    colours = [[[0, 0, 0], [200, 100, 8]], [[7, 255, 9], [200, 100, 8]]]
    np.testing.assert_array_equal(check_info(path), colours)
    np.testing.assert_array_equal(read_labels(path), [[0, 1], [2, 1]])


def test_palette_with_transparency_has_three_channels(tmp_path):
    image = Image.fromarray(np.zeros((2, 2), np.uint8)).convert("P")
    image.save(tmp_path / "a.png", transparency=0)
    assert check_info(tmp_path / "a.png").shape == (2, 2, 3)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (4, 3), (0, 0, 0, 0)).save(tmp_path / "a.jpg")
    assert check_info(tmp_path / "a.jpg").min() > 250


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_exif_orientation_agrees_with_pillow(tmp_path, rng, orientation, suffix):
    from PIL import ImageOps

    array = np.kron(picture(rng, 2, 3, 3), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        Image.fromarray(array).save(path, tiffinfo={274: orientation})
    else:
        Image.fromarray(array).save(path, exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(check_info(path), expected)


TIFF_TYPES = [np.uint8, np.uint16, np.float32]


@pytest.mark.parametrize("dtype", TIFF_TYPES)
@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"bigtiff": True},
        {"rowsperstrip": 5},
        {"tile": (16, 32)},
        {"tile": (16, 16), "compression": "zlib"},
        {"rowsperstrip": 4, "compression": "zlib", "predictor": True},
        {"byteorder": ">", "rowsperstrip": 4, "compression": "zlib", "predictor": True},
        {"byteorder": ">"},
        {"compression": "lzma"},
    ],
)
def test_tiff_layouts_come_back(tmp_path, rng, dtype, channels, layout):
    layout = dict(layout)
    if np.dtype(dtype).kind == "f":
        layout.pop("predictor", None)  # tifffile writes that of whole numbers alone
    array = picture(rng, 37, 41, channels, dtype=dtype)
    extra = {"planarconfig": "contig", "photometric": "minisblack"} if channels > 1 else {}
    stored = array[..., 0] if channels == 1 else array
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata=None, **extra, **layout)
    np.testing.assert_array_equal(check_info(tmp_path / "a.tif"), array)


@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"compression": "zlib"}])
def test_planar_tiff(tmp_path, rng, layout):
    array = picture(rng, 5, 33, 20, dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        array,
        planarconfig="separate",
        photometric="minisblack",
        metadata=None,
        **layout,
    )
    np.testing.assert_array_equal(check_info(tmp_path / "a.tif"), array.transpose(1, 2, 0))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_compressions_written_by_libtiff(tmp_path, rng, compression, mode):
    array = np.sort(picture(rng, 50, 40, 3), axis=0)
    image = Image.fromarray(array).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    got = check_info(tmp_path / "a.tif")
    np.testing.assert_array_equal(got.squeeze(), np.asarray(image))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_lzw_with_predictor_agrees_with_opencv(tmp_path, rng, dtype):
    array = np.sort(picture(rng, 30, 40, 3, dtype=dtype), axis=0)
    cv2.imwrite(str(tmp_path / "a.tif"), array[..., ::-1])
    np.testing.assert_array_equal(check_info(tmp_path / "a.tif"), array.astype(check_dtype(dtype)))


def check_dtype(dtype):
    return dtype if dtype in TIFF_TYPES else np.float32


def test_float_predictor_by_hand(tmp_path):
    # TIFF Technical Note 3: byte planes from the most significant, then differences.
    values = np.array([[1.5, -2.25, 1e-3]], np.float32)
    planes = np.frombuffer(values.astype(">f4").tobytes(), np.uint8).reshape(3, 4).T.ravel()
    stored = np.diff(planes, prepend=np.uint8(0))
    tifffile.imwrite(tmp_path / "a.tif", values, compression="zlib", metadata=None)
    reader = TiffReader(tmp_path / "a.tif")
    from transect.data import tiff

    np.testing.assert_array_equal(
        tiff._float_unpredicted(stored, (1, 3, 1), np.dtype("<f4"))[..., 0], values
    )
    assert reader.shape == (1, 3, 1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_in_tiff_agrees_with_pillow(tmp_path, mode):
    ramp = np.tile(np.linspace(0, 255, 96, dtype=np.uint8)[:, None, None], (1, 80, 3))
    Image.fromarray(ramp).convert(mode).save(tmp_path / "a.tif", compression="jpeg", quality=90)
    with Image.open(tmp_path / "a.tif") as opened:
        expected = np.asarray(opened)
    got = check_info(tmp_path / "a.tif").squeeze()
    assert np.abs(got.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_compressions(tmp_path, rng, compression):
    array = picture(rng, 20, 33) > 128
    Image.fromarray(array).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(check_info(tmp_path / "a.tif")[..., 0], array * np.uint8(255))


@pytest.mark.parametrize(
    "dtype", [np.int8, np.int16, np.uint32, np.int32, np.float16, np.float64, np.int64]
)
def test_other_types_become_float32_of_the_same_value(tmp_path, dtype):
    array = np.array([[0, 1, 100], [5, 6, 7]]).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None)
    got = check_info(tmp_path / "a.tif")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[..., 0], array)
    if np.dtype(dtype).kind in "ui":
        np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), array)


@given(
    values=st.lists(st.integers(0, 4095), min_size=1, max_size=40),
    bits=st.sampled_from([1, 2, 4, 12]),
)
def test_odd_bits_unpack_as_python_would(values, bits):
    from transect.data.tiff import _unpack_bits

    values = [v % (1 << bits) for v in values]
    text = "".join(f"{v:0{bits}b}" for v in values)
    text += "0" * (-len(text) % 8)
    flat = np.array([int(text[i : i + 8], 2) for i in range(0, len(text), 8)], np.uint8)
    assert _unpack_bits(flat, 1, len(values), bits)[0].tolist() == values


def test_white_is_zero_is_inverted_but_not_for_labels(tmp_path):
    array = np.array([[0, 3]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite", metadata=None)
    assert read_image(tmp_path / "a.tif").ravel().tolist() == [255, 252]
    assert read_labels(tmp_path / "a.tif").ravel().tolist() == [0, 3]


def test_a_stack_is_refused_and_a_pyramid_gives_its_full_size(tmp_path, rng):
    array = picture(rng, 3, 20, 20)
    tifffile.imwrite(tmp_path / "stack.tif", array, photometric="minisblack")
    with pytest.raises(TransectError, match="stack of 3 pictures"):
        read_image(tmp_path / "stack.tif")
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as out:
        out.write(array[0], metadata=None)
        out.write(array[0, ::2, ::2], subfiletype=1, metadata=None)
    np.testing.assert_array_equal(check_info(tmp_path / "pyramid.tif")[..., 0], array[0])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_windows_of_every_orientation_are_parts_of_the_whole(tmp_path, data):
    orientation = data.draw(st.integers(1, 8))
    array = np.arange(23 * 31, dtype=np.uint16).reshape(23, 31)
    path = tmp_path / f"{orientation}.tif"
    if not path.exists():
        tifffile.imwrite(
            path,
            array,
            tile=(16, 16),
            compression="zlib",
            metadata=None,
            extratags=[(274, 3, 1, orientation, True)],
        )
    whole = oriented(array, orientation)
    reader = TiffReader(path, cache_bytes=600)
    top = data.draw(st.integers(0, whole.shape[0] - 1))
    left = data.draw(st.integers(0, whole.shape[1] - 1))
    height = data.draw(st.integers(0, whole.shape[0] - top))
    width = data.draw(st.integers(0, whole.shape[1] - left))
    np.testing.assert_array_equal(
        reader.window(top, left, height, width)[..., 0],
        whole[top : top + height, left : left + width],
    )
    assert reader._cached_bytes <= 600


def test_a_window_outside_the_picture_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(TransectError, match="leaves the picture of 4 x 4"):
        open_reader(tmp_path / "a.png").window(2, 2, 3, 1)


def test_a_huge_sparse_tiff_is_read_without_being_loaded(tmp_path):
    side, path = 40_000, tmp_path / "big.tif"
    np_map = tifffile.memmap(path, shape=(side, side), dtype=np.uint8, bigtiff=True, metadata=None)
    np_map[20_000, 30_000:30_003] = (1, 2, 3)
    del np_map
    reader = open_reader(path)
    assert reader.shape == (side, side, 1)
    assert reader.window(20_000, 29_999, 1, 5).ravel().tolist() == [0, 1, 2, 3, 0]
    with pytest.raises(TransectError, match="more than the 400 million"):
        read_image(path)


# --- what strangers send -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.97])
def test_truncated_files_get_one_sentence(tmp_path, rng, suffix, keep):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture(rng, 64, 64, 3)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(TransectError, match=f"a.{suffix} is .*Restore it from the original"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_a_picture_or_our_error(tmp_path, suffix, data):
    path = tmp_path / f"fuzz.{suffix}"
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    for read in (image_info, read_image, read_labels):
        with contextlib.suppress(TransectError):
            read(path)


@pytest.mark.parametrize("read", [read_image, open_reader, read_labels])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, read):
    (tmp_path / "a.png").write_bytes(png(100_000, 100_000, 8, 0, b""))
    with pytest.raises(TransectError, match="more than the 400 million"):
        read(tmp_path / "a.png")
    webp = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\xff" * 2
    (tmp_path / "a.webp").write_bytes(webp)
    with pytest.raises(TransectError, match="more than the 400 million"):
        read(tmp_path / "a.webp")


def test_a_tiff_strip_never_unpacks_to_more_than_it_declares(tmp_path):
    array = np.zeros((64, 64), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="zlib", metadata=None)
    raw = (tmp_path / "a.tif").read_bytes()
    bomb = zlib.compress(bytes(50 << 20))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        offset = file.pages[0].tags[273].valueoffset
        count = file.pages[0].tags[279].valueoffset
    data = bytearray(raw)
    data[offset : offset + 4] = struct.pack("<I", len(raw))
    data[count : count + 4] = struct.pack("<I", len(bomb))
    assert file.pages[0].tags[273].dtype == 4  # offsets are longs, as packed above
    (tmp_path / "a.tif").write_bytes(bytes(data) + bomb)
    reader = TiffReader(tmp_path / "a.tif")
    assert reader.window(0, 0, 64, 64).nbytes == 64 * 64
    assert len(reader._bytes(bomb, 64, 64 * 64)) == 64 * 64


def test_huge_strips_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((8, 8), np.uint8), compression="zlib", metadata=None
    )
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[name].overwrite(60_000)
    with pytest.raises(TransectError, match="more than 1 GiB each"):
        open_reader(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"GIF89a", "a GIF"),
        (b"hello", "not a picture"),
        (b"version https://git-lfs", "Git LFS pointer"),
    ],
)
def test_other_files_are_named(tmp_path, start, what):
    (tmp_path / "a.png").write_bytes(start)
    with pytest.raises(TransectError, match=what):
        image_info(tmp_path / "a.png")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(TransectError, match="is missing"):
        read_image(tmp_path / "no.png")
    with pytest.raises(TransectError, match="is a folder"):
        read_image(tmp_path)


def test_masks_in_colour_or_with_fractions_or_negative_are_refused(tmp_path, rng):
    Image.fromarray(picture(rng, 4, 4, 3)).save(tmp_path / "a.png")
    with pytest.raises(TransectError, match="has colours"):
        read_labels(tmp_path / "a.png")
    grey = np.repeat(np.eye(3, dtype=np.uint8)[..., None], 4, axis=2)
    grey[..., 3] = 255
    Image.fromarray(grey).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "b.png"), np.eye(3))
    tifffile.imwrite(tmp_path / "c.tif", np.full((2, 2), 0.5, np.float32), metadata=None)
    with pytest.raises(TransectError, match="needs whole numbers"):
        read_labels(tmp_path / "c.tif")
    tifffile.imwrite(tmp_path / "d.tif", np.full((2, 2), -2, np.int16), metadata=None)
    with pytest.raises(TransectError, match="negative label -2"):
        read_labels(tmp_path / "d.tif")
    tifffile.imwrite(tmp_path / "e.tif", np.full((2, 2), 2**32 - 1, np.uint32), metadata=None)
    with pytest.raises(TransectError, match="values from 4294967295"):
        read_labels(tmp_path / "e.tif")


# --- writing -------------------------------------------------------------------------------


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    channels=st.sampled_from([1, 2, 3, 4, 6]),
    dtype=st.sampled_from(TIFF_TYPES),
    rows=st.integers(1, 40),
    compression=st.sampled_from(["zlib", None]),
)
def test_bands_written_are_read_back(tmp_path, height, width, channels, dtype, rows, compression):
    array = picture(np.random.default_rng(height), height, width, channels, dtype=dtype)
    bands = (array[i : i + rows] for i in range(0, height, rows))
    path = tmp_path / "out.tif"
    write_tiff_bands(
        path, bands, (height, width, channels), dtype, compression=compression, tile_px=32
    )
    np.testing.assert_array_equal(read_image(path), array)
    np.testing.assert_array_equal(tifffile.imread(path).reshape(array.shape), array)


def test_wrong_bands_leave_the_old_file(tmp_path):
    path = tmp_path / "a.tif"
    write_tiff_bands(path, [np.ones((4, 4), np.uint8)], (4, 4), np.uint8)
    for bands in ([np.ones((5, 4))], [np.ones((3, 4))], [np.ones((4, 3))]):
        with pytest.raises(TransectError, match="band"):
            write_tiff_bands(path, bands, (4, 4), np.uint8)
    assert read_image(path).min() == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_georeference_travels(tmp_path):
    scale = (33550, 12, 3, (0.5, 0.5, 0.0), True)
    tie = (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True)
    array = np.ones((4, 4), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, extratags=[scale, tie])
    tags = geo_tags(tmp_path / "a.tif")
    write_tiff_bands(tmp_path / "b.tif", [array], (4, 4), np.uint8, extratags=tags)
    assert geo_tags(tmp_path / "b.tif") == tags
    assert [t[3] for t in tags] == [scale[3], tie[3]]
