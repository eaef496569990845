import numpy as np
import pytest

from transect.errors import TransectError
from transect.postprocess.blobs import blobs

THRESHOLDS = (0.02, 0.04, 0.16, 0.5)


def spots(kind, seed=0):
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    image = np.zeros((120, 150))
    for y, x in rng.integers(0, (116, 146), (60, 2)):
        image[y : y + 4, x : x + 4] = rng.random() * 0.5 + 0.5
    image = ndimage.gaussian_filter(image, 1) + rng.normal(0, 0.03, image.shape)
    image = np.clip(image, 0, 1)
    return {
        "float64": image,
        "uint8": (image * 255).astype(np.uint8),
        "uint16": (image * 65535).astype(np.uint16),
        "noise": rng.random(image.shape),
    }[kind]


@pytest.mark.parametrize("kind", ["float64", "uint8", "uint16", "noise"])
def test_they_are_those_of_scikit_image(kind):
    from skimage.feature import blob_log

    image = spots(kind)
    found = blobs(image, thresholds=THRESHOLDS)
    for threshold in THRESHOLDS:
        theirs = blob_log(image, min_sigma=1, max_sigma=4, num_sigma=4, threshold=threshold)
        np.testing.assert_array_equal(found[threshold], theirs)


def test_other_widths_and_overlaps_too():
    from skimage.feature import blob_log

    image = spots("float64", 3)
    kind = {"min_sigma": 1.5, "max_sigma": 6, "num_sigma": 3, "overlap": 0.2}
    theirs = blob_log(image, threshold=0.05, **kind)
    np.testing.assert_array_equal(blobs(image, thresholds=[0.05], **kind)[0.05], theirs)


def test_a_square_of_ones_by_hand():
    image = np.zeros((40, 40))
    image[18:22, 18:22] = 1
    found = blobs(image, thresholds=[0.6, 0.65])
    assert found[0.6][:, 2].tolist() == [2.0]
    assert found[0.65].shape == (0, 3)


def test_flat_maps_have_none_and_channels_are_refused():
    assert blobs(np.ones((9, 9)))[0.04].shape == (0, 3)
    assert blobs(np.zeros((9, 9)))[0.04].shape == (0, 3)
    assert blobs(np.zeros((9, 9)), thresholds=[]) == {}
    with pytest.raises(TransectError, match="one map"):
        blobs(np.zeros((9, 9, 3)))
    with pytest.raises(TransectError, match="unsigned"):
        blobs(np.zeros((9, 9), np.int32))
