import numpy as np
import pytest

from tests.matching.views import textured
from transect.errors import TransectError
from transect.matching.features import (
    Keypoints,
    KeypointSpec,
    extract,
    grey_uint8,
    read_keypoints,
    root_sift,
    write_keypoints,
)


def test_root_sift_has_length_one_and_compares_by_hellinger():
    raw = np.random.default_rng(0).integers(0, 200, (5, 128))
    rooted = root_sift(raw)
    assert np.allclose(np.linalg.norm(rooted, axis=1), 1, atol=1e-5)
    share = raw / raw.sum(axis=1, keepdims=True)
    assert np.allclose(rooted @ rooted.T, np.sqrt(share[:, None] * share[None]).sum(-1), atol=1e-5)


def test_extraction_keeps_the_strongest_and_is_repeatable(pictures):
    spec = KeypointSpec(max_keypoints=60)
    one, two = extract(pictures[0], spec), extract(pictures[0], spec)
    assert len(one) == 60
    assert (np.diff(one.responses) <= 0).all()
    assert np.array_equal(one.points, two.points)
    assert np.array_equal(one.descriptors, two.descriptors)


def test_points_are_in_stored_pixels_whatever_the_working_size(pictures):
    full = extract(pictures[0], KeypointSpec(size_limit=0, max_keypoints=80))
    half = extract(pictures[0], KeypointSpec(size_limit=160, max_keypoints=80))
    assert half.working == 0.5
    assert half.points[:, 0].max() > 160
    assert half.size_hw == full.size_hw == (200, 320)


def test_small_pictures_are_enlarged_when_asked():
    tiny = textured(3, 40, 50)
    few = extract(tiny, KeypointSpec())
    many = extract(tiny, KeypointSpec(enlarge_below=200))
    assert len(many) > len(few)
    assert many.working == 4
    assert many.points.max() < 51


def test_keypoints_stay_inside_the_mask_and_a_failed_mask_is_ignored(pictures):
    mask = np.zeros((200, 320), bool)
    mask[50:150, 100:200] = True
    inside = extract(pictures[0], mask=mask)
    assert ((inside.points >= [100, 50]) & (inside.points < [200, 150])).all()
    mask[:] = False
    mask[0, :20] = True
    assert len(extract(pictures[0], mask=mask)) == len(extract(pictures[0]))


def test_a_mask_of_another_size_is_refused(pictures):
    with pytest.raises(TransectError, match="does not fit"):
        extract(pictures[0], mask=np.ones((3, 3)))


def test_clahe_finds_keypoints_in_a_dull_picture():
    dull = (100 + textured(1).astype(float) * 0.03).astype(np.uint8)
    assert len(extract(dull, KeypointSpec(clahe=4.0))) > len(extract(dull))


def test_a_flat_picture_has_no_keypoints():
    found = extract(np.full((50, 60, 3), 7, np.uint8))
    assert len(found) == 0
    assert found.descriptors.shape == (0, 128)


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 1), (9, 8, 2), (9, 8, 3), (9, 8, 4)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_every_kind_of_picture_becomes_grey_bytes(shape, kind):
    picture = np.random.default_rng(0).integers(0, 200, shape).astype(kind)
    grey = grey_uint8(picture)
    assert grey.shape == (9, 8)
    assert grey.dtype == np.uint8


def test_stored_keypoints_read_back(tmp_path, pictures):
    found = extract(pictures[1], KeypointSpec(size_limit=200))
    write_keypoints(tmp_path / "a.npz", found)
    back = read_keypoints(tmp_path / "a.npz")
    assert np.array_equal(back.points, found.points)
    assert np.abs(back.descriptors - found.descriptors).max() < 1e-5
    assert (back.size_hw, back.working) == (found.size_hw, found.working)


def test_signed_descriptors_survive_storage(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    line = np.ones(4, np.float32)
    stored = Keypoints(np.ones((4, 2), np.float32), vectors, line, line, line, (5, 6))
    write_keypoints(tmp_path / "a.npz", stored)
    assert np.abs(read_keypoints(tmp_path / "a.npz").descriptors - vectors).max() < 1e-3


def test_broken_and_pickled_files_are_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(TransectError, match="does not hold keypoints"):
        read_keypoints(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", points=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TransectError, match="does not hold keypoints"):
        read_keypoints(tmp_path / "b.npz")
    with pytest.raises(TransectError, match="does not hold keypoints"):
        read_keypoints(tmp_path / "missing.npz")


def test_learned_kind_without_weights_says_what_to_do(pictures):
    with pytest.raises(TransectError, match="needs weights"):
        extract(pictures[0], KeypointSpec(kind="affnet_hardnet"))
    with pytest.raises(TransectError, match="rootsift"):
        extract(pictures[0], KeypointSpec(kind="rootsft"))
