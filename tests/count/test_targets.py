import numpy as np
import pytest

from transect.count.targets import TARGETS, render, spacing_of
from transect.errors import TransectError


def drawn(target, points, size=(40, 40), px=3.0, classes=(0, 0)):
    return render(
        np.array(points, np.float32), np.array(classes[: len(points)]), target=target,
        target_px=px, n_classes=2, size_hw=size,
    )  # fmt: skip


def test_squares_have_one_size_and_later_dots_win():
    planes = drawn("squares", [(10, 10), (14, 10)], px=16.0, classes=(0, 1))
    assert planes.shape == (3, 40, 40)
    np.testing.assert_array_equal(planes.sum(axis=0), 1)
    assert planes[1].sum() == 16 * 16
    assert planes[0].sum() == 4 * 16
    assert planes[1, 2, 6] == 1
    assert planes[2, 18, 10] == 1


def test_a_density_sums_to_one_and_to_a_half_on_the_edge():
    assert drawn("density", [(20, 20)])[0].sum() == pytest.approx(1, abs=5e-3)
    assert drawn("density", [(-0.5, 20)])[0].sum() == pytest.approx(0.5, abs=2e-2)


def test_a_gaussian_is_one_at_its_dot():
    assert drawn("gaussian", [(7, 9)])[0, 9, 7] == 1
    assert drawn("fidt", [(7, 9)])[0, 9, 7] == 1


def test_crowds_stay_apart_in_a_joint_target_and_add_up_in_its_density():
    """Two dots 4 px apart are one hill to a sigma of 4; each has its own where sigma shrinks."""
    two = [(18, 20), (22, 20)]
    assert drawn("gaussian", two, px=4.0)[0, 20, 20] > 0.85
    peaks, other, density, _ = drawn("joint", two, px=4.0)
    assert other.sum() == 0
    assert peaks[20, 18] == peaks[20, 22] == 1
    assert peaks[20, 20] < 0.3
    assert density.sum() == pytest.approx(2, abs=2e-2)
    far = drawn("joint", [(7, 20), (33, 20)], px=2.0)[0]
    np.testing.assert_array_equal(far, drawn("gaussian", [(7, 20), (33, 20)], px=2.0)[0])


@pytest.mark.parametrize("target", TARGETS)
def test_no_dot_is_no_error(target):
    planes = drawn(target, np.zeros((0, 2)))
    assert planes[:2].sum() == 0


def test_unknown_target():
    with pytest.raises(TransectError, match="count target"):
        drawn("stars", [(1, 1)])


def test_spacing_is_the_lower_quartile_within_photos():
    points = np.array([[0, 0], [10, 0], [0, 1000], [0, 1030], [0, 1]], np.float32)
    groups = np.array([0, 0, 1, 1, 2])
    assert spacing_of(points, groups) == pytest.approx(10)
    assert spacing_of(points[:1], groups[:1]) == 32
