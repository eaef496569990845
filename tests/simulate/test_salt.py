"""The salt simulator: same seed, same bytes; the shares of the competition; honest folders."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from transect.errors import TransectError
from transect.simulate.salt import (
    EMPTY_SHARE_BY_DEPTH,
    depth_bin,
    simulate_patches,
    write_salt_survey,
)


@pytest.fixture(scope="module")
def patches():
    return list(simulate_patches(150, seed=1, size_hw=(64, 64)))


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_salt_survey(tmp_path / name, n_train=6, n_test=3, seed=4, size_hw=(32, 40))
    first = sorted(p for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(first) == 9 + 6 + 3 + 1
    for path in first:
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == twin.read_bytes()


def test_another_seed_gives_other_patches():
    one, other = (next(simulate_patches(4, seed=s, size_hw=(32, 32))) for s in (0, 1))
    assert not np.array_equal(one.image, other.image)


def test_shares_are_those_of_the_competition(patches):
    empty = np.array([not p.mask.any() for p in patches])
    flat = np.array([np.ptp(p.image) == 0 for p in patches])
    bins = np.array([depth_bin(p.depth_m) for p in patches])
    assert len(patches) == 150
    assert empty.sum() == round(0.3905 * 150)
    assert flat.sum() == 3
    assert empty[flat].all()
    assert not any(p.mask.all() for p in patches)
    for b in range(3, 7):  # the bins with more than a handful of patches
        assert abs(empty[bins == b].mean() - EMPTY_SHARE_BY_DEPTH[b]) < 0.1
    assert all(50 <= p.depth_m <= 959 for p in patches)


def test_neighbouring_patches_adjoin(patches):
    """The grey step over a seam is about as small as between neighbouring rows inside a patch."""
    places = {p.name: p for p in patches if np.ptp(p.image)}
    seam, inside = [], []
    for patch in places.values():
        mosaic, row, column = patch.name.removesuffix(".png").split("-")
        below = places.get(f"{mosaic}-r{int(row[1:]) + 1}-{column}.png")
        if below is not None:
            grey = patch.image.astype(int)
            seam.append(np.abs(below.image[0].astype(int) - grey[-1]).mean())
            inside.append(np.abs(grey[1:] - grey[:-1]).mean())
    assert len(seam) > 10
    assert np.mean(seam) < 1.3 * np.mean(inside)


def test_no_threshold_on_grey_finds_the_salt(patches):
    """Grey values of salt and of layers overlap: no threshold comes far."""
    image = np.stack([p.image for p in patches])
    mask = np.stack([p.mask for p in patches])
    best = 0.0
    for level in range(8, 256, 16):
        for predicted in (image > level, image < level):
            both = (predicted & mask).sum((1, 2))
            either = (predicted | mask).sum((1, 2))
            best = max(best, float(np.where(either, both / np.maximum(either, 1), 1.0).mean()))
    assert best < 0.45  # mean IoU; all-empty has 0.39


def test_the_folder_hides_the_truth_of_test_patches(tmp_path):
    root = write_salt_survey(tmp_path / "salt", n_train=10, n_test=5, seed=0, size_hw=(101, 101))
    table = pd.read_csv(root / "images.csv")
    assert list(table.columns) == ["image", "depth", "group", "split"]
    train, test = (set(table[table.split == s].image) for s in ("train", "test"))
    assert (len(train), len(test)) == (10, 5)
    assert {p.name for p in (root / "images").iterdir()} == train | test
    assert {p.name for p in (root / "masks").iterdir()} == train
    assert {p.name for p in (root / "truth" / "masks").iterdir()} == test
    groups = table.groupby("group").split.nunique()
    assert (groups == 1).all()
    image = cv2.imread(str(root / "images" / table.image[0]), cv2.IMREAD_UNCHANGED)
    mask = cv2.imread(str(root / "masks" / table.image[0]), cv2.IMREAD_UNCHANGED)
    assert image.shape == mask.shape == (101, 101)
    assert image.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255}


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(TransectError, match="not an empty folder"):
        write_salt_survey(tmp_path, n_train=1)


def test_senseless_numbers_are_refused(tmp_path):
    with pytest.raises(TransectError, match="at least 16 x 16"):
        write_salt_survey(tmp_path / "x", size_hw=(8, 8))


def test_faint_salt_is_thinner_and_harder_to_see():
    """The same shares of empty patches, less difference of grey at the outline of the salt."""

    def looked(faint):
        found = list(simulate_patches(150, seed=1, size_hw=(64, 64), faint=faint))
        step, coverage = [], []
        for patch in found:
            inner = cv2.erode(patch.mask.astype(np.uint8), np.ones((5, 5))) > 0
            edge = patch.mask & ~inner
            if edge.any():
                grey = patch.image.astype(float)
                away = np.abs(grey - np.median(grey))
                step.append(away[edge].mean() / (away[~patch.mask].mean() + 1))
                coverage.append(patch.mask.mean())
        return (
            np.mean(step),
            np.quantile(coverage, 0.25),
            np.mean([not p.mask.any() for p in found]),
        )

    plain, faint = looked(0.0), looked(1.0)
    assert faint[0] < 0.95 * plain[0]  # the bright outline is gone
    assert faint[1] < plain[1]
    assert faint[2] == plain[2]


def test_faintness_beyond_its_range_is_refused(tmp_path):
    with pytest.raises(TransectError, match="0 to 1"):
        write_salt_survey(tmp_path / "x", n_train=1, n_test=0, faint=2.0)
