import errno

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from transect.data.cache import PixelCache
from transect.data.folder import list_images
from transect.data.images import read_image
from transect.errors import TransectError


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(5):
        shape = (10 + i, 7, 3) if i % 2 else (10 + i, 7)
        Pillow.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(folder / f"{i}.png")
    wide = rng.integers(0, 60_000, (9, 11, 5), dtype=np.uint16)
    tifffile.imwrite(
        folder / "5.tif", wide, photometric="minisblack", planarconfig="contig", metadata=None
    )
    tifffile.imwrite(folder / "6.tif", rng.random((9, 11)).astype(np.float32), metadata=None)
    return list_images(folder)[0]


def labels_of(image):
    rows = np.arange(image.size_hw[0])[:, None] * np.ones(image.size_hw[1], int)
    return rows * {"0.png": 1, "1.png": -1, "2.png": 100_000}.get(image.name, 2)


def planes_of(image):
    return np.full((*image.size_hw, 2), len(image.name), np.uint8)


@pytest.mark.parametrize("limit", [1 << 30, 0])
@pytest.mark.parametrize("with_folder", [True, False])
def test_everything_comes_back_from_memory_and_from_a_file(images, tmp_path, limit, with_folder):
    cache = PixelCache(
        images,
        tmp_path / "cache" if with_folder else None,
        labels_of=labels_of,
        planes_of=planes_of,
        planes=2,
        limit_bytes=limit,
    )
    assert cache.mapped == (limit == 0)
    assert len(cache) == 7
    for i, image in enumerate(cache.images):
        np.testing.assert_array_equal(cache.image(i), read_image(image.path))
        np.testing.assert_array_equal(cache.labels(i), labels_of(image))
        np.testing.assert_array_equal(cache.planes(i), planes_of(image))
        assert cache.image(i).dtype.name == image.dtype
    assert [cache.labels(i).dtype.name for i in range(3)] == ["uint8", "int16", "int32"]
    with pytest.raises(ValueError, match="read-only"):
        cache.image(0)[0] = 1
    assert (tmp_path / "cache" / "pixels.bin").exists() == (with_folder and limit == 0)


def test_a_file_of_pixels_is_used_again_if_nothing_changed(images, tmp_path):
    seen = []
    folder = tmp_path / "cache"

    def build(key=""):
        seen.clear()
        return PixelCache(
            images, folder, limit_bytes=0, key=key, progress=lambda *at: seen.append(at)
        )

    first = build()
    assert seen[-1] == (7, 7)
    again = build()
    assert seen == []
    for i in range(7):
        np.testing.assert_array_equal(first.image(i), again.image(i))
    build("other labels")
    assert seen
    image = images[0]
    Pillow.fromarray(255 - read_image(image.path)[..., 0]).save(image.path)
    build("other labels")
    assert seen


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_truncated_pictures_are_left_out_and_listed(images, tmp_path, limit):
    data = images[1].path.read_bytes()
    images[1].path.write_bytes(data[: len(data) // 2])
    Pillow.fromarray(np.zeros((3, 3), np.uint8)).save(images[2].path)
    for _ in range(2):
        cache = PixelCache(images, tmp_path / "cache", limit_bytes=limit)
        assert [i.name for i in cache.images] == ["0.png", "3.png", "4.png", "5.tif", "6.tif"]
        assert [p.name for p in cache.problems] == ["1.png", "2.png"]
        assert "truncated" in cache.problems[0].what
        assert "has changed since" in cache.problems[1].what
        np.testing.assert_array_equal(cache.image(1), read_image(images[3].path))


def test_large_pictures_are_decoded_by_bands(images, monkeypatch):
    monkeypatch.setattr("transect.data.cache.BAND_BYTES", 100)
    cache = PixelCache(images, None)
    for i, image in enumerate(images):
        np.testing.assert_array_equal(cache.image(i), read_image(image.path))


def test_statistics_agree_with_numpy(images):
    cache = PixelCache(images, None)
    mean, deviation = cache.statistics()
    grey = np.concatenate([cache.image(i).ravel() for i in (0, 2, 4, 6)])
    assert mean == pytest.approx([grey.mean()])
    assert deviation == pytest.approx([grey.std()])
    colours = np.concatenate([cache.image(i).reshape(-1, 3) for i in (1, 3)])
    np.testing.assert_allclose(cache.statistics(3), [colours.mean(0), colours.std(0)])
    assert PixelCache([], None).statistics() == ([], [])


def test_a_disk_without_room_is_said_before_decoding(images, tmp_path, monkeypatch):
    claimed = []

    def full(file, start, size):
        claimed.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(TransectError, match=r"the decoded pictures need .* the disk has .* left"):
        PixelCache(images, tmp_path / "cache", limit_bytes=0)
    # Bytes, not pixels: one of the pictures has 16 bits, another one 32.
    assert claimed[0] >= sum(read_image(i.path).nbytes for i in images)
    monkeypatch.undo()
    PixelCache(images, tmp_path / "cache", limit_bytes=0)
    at = (tmp_path / "cache" / "pixels.bin").stat()
    assert at.st_size == claimed[0]
