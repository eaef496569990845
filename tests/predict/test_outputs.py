from pathlib import Path

import numpy as np
import pytest
import tifffile

from transect.data.images import ArrayReader, read_image, read_labels
from transect.errors import TransectError
from transect.files import made_path
from transect.predict.outputs import (
    SmallLabels,
    small_view,
    write_mask,
    write_mask_bands,
    write_picture,
)


@pytest.mark.parametrize(("most", "suffix"), [(1, ".png"), (300, ".png"), (70_000, ".tif")])
def test_masks_are_read_back(tmp_path, most, suffix):
    labels = np.random.default_rng(0).integers(0, most + 1, (20, 31))
    labels[0, 0] = most
    path = write_mask(tmp_path / "a.x", labels)
    assert path.suffix == suffix
    np.testing.assert_array_equal(read_labels(path), labels)


def test_bool_masks_are_zero_and_one(tmp_path):
    path = write_mask(tmp_path / "a", np.eye(3, dtype=bool))
    np.testing.assert_array_equal(read_labels(path), np.eye(3))


def test_bands_make_a_tiff_with_the_sources_place_on_the_ground(tmp_path):
    source = tmp_path / "source.tif"
    scale = (33550, 12, 3, (0.5, 0.5, 0.0), True)
    tifffile.imwrite(source, np.zeros((70, 40), np.uint8), extratags=[scale])
    labels = np.random.default_rng(0).integers(0, 9, (70, 40)).astype(np.uint8)
    bands = [(0, labels[:30]), (30, labels[30:31]), (31, labels[31:])]
    path = write_mask_bands(tmp_path / "out.png", bands, (70, 40), np.uint8, source=source)
    np.testing.assert_array_equal(read_labels(path), labels)
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.tags[33550].value == (0.5, 0.5, 0.0)


def test_maps_are_written_with_their_channels_last(tmp_path):
    maps = np.random.default_rng(0).random((2, 9, 7)).astype(np.float32)
    path = write_mask_bands(
        tmp_path / "m", [(0, maps[:, :4]), (4, maps[:, 4:])], (9, 7), np.float32
    )
    np.testing.assert_array_equal(read_image(path), maps.transpose(1, 2, 0))


def test_small_views_are_block_means_and_labels_follow(tmp_path):
    picture = np.arange(40 * 60, dtype=np.float32).reshape(40, 60, 1)
    small = small_view(ArrayReader(picture), 15)
    assert small.shape == (10, 15, 1)
    assert small[1, 2, 0] == picture[4:8, 8:12].mean()
    collector = SmallLabels((40, 60), 15)
    labels = np.arange(40 * 60).reshape(40, 60)
    for _ in collector.watch([(0, labels[:7]), (7, labels[7:8]), (8, labels[8:])]):
        pass
    np.testing.assert_array_equal(collector.labels, labels[::4, ::4])
    write_picture(tmp_path / "a.jpg", np.zeros((4, 4, 3), np.uint8))
    assert read_image(tmp_path / "a.jpg").shape == (4, 4, 3)


def test_mistakes_are_explained(tmp_path):
    with pytest.raises(TransectError, match="negative"):
        write_mask(tmp_path / "a", np.full((2, 2), -1))
    with pytest.raises(TransectError, match="whole numbers"):
        write_mask(tmp_path / "a", np.zeros((2, 2)))
    with pytest.raises(TransectError, match="given none"):
        write_mask_bands(tmp_path / "a", [], (2, 2), np.uint8)
    with pytest.raises(TransectError, match="not a relative path"):
        made_path(Path("out"), "../a.png", ".png")
