import numpy as np
import pytest

from transect.count.maps import CellMap
from transect.count.measures import measure, peaks
from transect.count.windows import window_features
from transect.postprocess.blobs import blobs
from transect.recipe import CountDecide


def bumps(rng, size_hw, count, classes=1):
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    planes = np.zeros((classes, *size_hw), np.float32)
    for _ in range(count):
        y, x = rng.uniform(3, size_hw[0] - 3), rng.uniform(3, size_hw[1] - 3)
        bump = 0.9 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 4.5)
        plane = planes[rng.integers(classes)]
        np.maximum(plane, bump, out=plane)
    return planes


def cells_of(planes):
    return CellMap(np.rint(planes * 65535).astype(np.uint16), 1.0, planes.shape[1:])


DECIDE = CountDecide(window=16, stride=8, blob_thresholds=(0.05, 0.1), pixel_thresholds=(0.1, 0.5))


def test_features_by_squares_agree_with_features_by_windows():
    cells = cells_of(bumps(np.random.default_rng(0), (43, 37), 14))
    measured = measure(cells, DECIDE, radius=2, blur=0.5)
    plane = cells.values()[0]
    found = blobs(plane, thresholds=DECIDE.blob_thresholds)
    expected = window_features(
        plane, measured.windows, pixel_thresholds=DECIDE.pixel_thresholds, blobs=found
    )
    np.testing.assert_allclose(measured.features[..., 0], expected, rtol=1e-4, atol=1e-4)
    assert measured.sums[0] == pytest.approx(plane.sum(), rel=1e-5)


def test_row_blocks_change_nothing(monkeypatch):
    cells = cells_of(bumps(np.random.default_rng(1), (400, 60), 90, classes=2))
    whole = measure(cells, DECIDE, radius=2, blur=0.8)
    monkeypatch.setattr("transect.count.measures._ROWS", 64)
    parts = measure(cells, DECIDE, radius=2, blur=0.8)
    np.testing.assert_allclose(parts.features, whole.features, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(parts.together[:, :2], whole.together[:, :2])
    for one, other in zip(parts.peaks, whole.peaks, strict=True):
        np.testing.assert_array_equal(one[:, :2], other[:, :2])


def test_a_plateau_is_one_peak_and_lone_bumps_are_counted_once():
    plane = np.zeros((30, 30), np.float32)
    plane[5:9, 5:9] = 1
    plane[20:24, 12:16] = 0.6
    found = peaks(plane, radius=3, blur=0.0, least=0.1)
    assert len(found) == 2
    assert sorted(found[:, 2].round(2)) == [0.6, 1.0]


def test_positions_go_to_cells_and_back():
    cells = CellMap(np.zeros((1, 25, 50), np.uint16), 1.0, (100, 201))
    points = np.array([[-0.5, -0.5], [200.4, 99.4], [17.2, 80.0]])
    there = cells.to_cells(points)
    back = cells.to_pixels(there[:, ::-1])
    np.testing.assert_allclose(back, points, atol=1e-6)
    assert (np.floor(there + 0.5) >= 0).all()
    assert (np.floor(there + 0.5) < (50, 25)).all()


def test_densities_beside_the_maps_are_what_is_added_up():
    hills = bumps(np.random.default_rng(0), (40, 40), 5)
    cells = cells_of(np.concatenate([hills, 0.5 * hills]))
    both = CellMap(cells.stored, 1.0, (40, 40), densities=1)
    alone, measured = (measure(c, DECIDE, radius=2, blur=0.5) for c in (cells_of(hills), both))
    assert measured.sums == pytest.approx(0.5 * alone.sums, rel=1e-4)
    np.testing.assert_array_equal(measured.peaks[0], alone.peaks[0])
    np.testing.assert_array_equal(measured.features, alone.features)
    np.testing.assert_array_equal(measured.together, alone.together)
