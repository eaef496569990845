import dataclasses

import numpy as np
import pytest

from transect.errors import TransectError
from transect.postprocess.crf import Crf, dense_crf, exact_crf


def picture(size=(40, 44), channels=1, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    inside = np.hypot(y - 20, x - 22) < 11
    grey = np.clip(80 + 90 * inside + rng.normal(0, 8, size), 0, 255)
    image = np.stack([grey, 255 - grey, 0.5 * grey][:channels], -1).astype(np.uint8)
    soft = np.hypot(y - 20, x - 24) < 12  # a shifted, unsure guess
    p = np.clip(0.3 + 0.4 * soft + rng.normal(0, 0.15, size), 0.02, 0.98)
    return p.astype(np.float32), image, inside


@pytest.mark.parametrize("crf", [Crf(), Crf(alike_px=20, alike_colour=30), Crf(near=0, steps=10)])
def test_the_grid_is_near_the_exact_field(crf):
    p, image, _ = picture()
    error = np.abs(dense_crf(p, image, crf) - exact_crf(p, image, crf))
    assert error.mean() < 0.001


def test_colour_is_near_the_exact_field_too():
    p, image, _ = picture(channels=3)
    error = np.abs(dense_crf(p, image) - exact_crf(p, image))
    assert error.mean() < 0.01


def test_it_snaps_to_the_edges_of_the_picture():
    p, image, inside = picture()
    before = ((p > 0.5) == inside).mean()
    after = ((dense_crf(p, image) > 0.5) == inside).mean()
    assert after > before + 0.02
    assert after > 0.99


def test_without_weights_nothing_changes_and_shapes_are_checked():
    p, image, _ = picture()
    still = dense_crf(p, image, Crf(near=0, alike=0))
    np.testing.assert_allclose(still, p, atol=1e-5)
    np.testing.assert_array_equal(
        dense_crf(p, image), dense_crf(p, image[..., 0], dataclasses.replace(Crf()))
    )
    with pytest.raises(TransectError, match="grey or RGB"):
        dense_crf(p, image[:10])
    with pytest.raises(TransectError, match="6000"):
        exact_crf(np.zeros((90, 90)), np.zeros((90, 90)))


@pytest.mark.slow
def test_the_reference_library_agrees():
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    p, image, _ = picture()
    field = densecrf.DenseCRF2D(p.shape[1], p.shape[0], 2)
    field.setUnaryEnergy(-np.log(np.stack([1 - p, p])).reshape(2, -1).astype(np.float32))
    field.addPairwiseGaussian(sxy=3, compat=3)
    field.addPairwiseBilateral(
        sxy=80, srgb=13, rgbim=np.ascontiguousarray(np.repeat(image, 3, 2)), compat=10
    )
    theirs = np.array(field.inference(5))[1].reshape(p.shape)
    ours = dense_crf(p, np.repeat(image, 3, 2))
    exact = exact_crf(p, np.repeat(image, 3, 2))
    assert np.abs(ours - theirs).mean() < 0.01
    assert np.abs(ours - exact).mean() <= np.abs(theirs - exact).mean()
