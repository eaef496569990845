import cv2
import numpy as np
import pytest

from tests.identify.conftest import photo
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.identify.photos import Photos, eight_bits, subjects_of
from transect.identify.thumbnails import Album, boxed


@pytest.fixture
def boxes(tmp_path):
    """Two animals on one photo, a broken photo, and a box outside its photo."""
    root = tmp_path / "survey"
    (root / "images").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(root / "images" / name), photo(ord(name[0]), 0, 0))
    (root / "identities.csv").write_text(
        "image,identity,x0,y0,x1,y1\n"
        "a.png,Ada,10,8,49,27\n"
        "a.png,Bob,60,10,99,49\n"
        "b.png,Bob,,,,\n"
        "c.png,Ada,4,4,80,60\n"
    )
    return root


def test_every_box_is_an_animal_of_its_own(boxes):
    photos = Photos(subjects_of(open_survey(boxes)), unknown="new_whale")
    assert [s.key for s in photos.subjects] == ["a.png", "a.png#2", "b.png", "c.png"]
    assert photos.named().tolist() == ["Ada", "Bob", "Bob", "Ada"]
    whole = cv2.imread(str(boxes / "images" / "a.png"))[..., ::-1]
    top, left, height, width = photos.window(0)
    assert (height, width) == (19, 39)
    cut = photos.pixels(0)[int(top) : int(top) + 19, int(left) : int(left) + 39]
    np.testing.assert_array_equal(cut, whole[8:27, 10:49])
    assert boxed(photos, 0).shape[:2] == (20, 40)


def test_a_window_grows_by_margin_aspect_and_scale_about_its_middle(boxes):
    photos = Photos(subjects_of(open_survey(boxes)), unknown="new_whale")
    top, left, height, width = photos.window(1)
    for options in ({"margin": 0.1}, {"aspect": 3.0}, {"scale": 0.5}):
        t, ll, h, w = photos.window(1, **options)
        assert (t + h / 2, ll + w / 2) == pytest.approx((top + height / 2, left + width / 2))
    assert photos.window(1, aspect=3.0)[3] == pytest.approx(3 * height)


def test_long_cut_outs_are_shrunk_with_their_boxes(boxes):
    photos = Photos(subjects_of(open_survey(boxes)), unknown="new_whale", longest=32)
    for i in range(len(photos)):
        assert max(photos.window(i)[2:]) <= 33
        assert photos.pixels(i).shape[0] >= photos.window(i)[2] - 1


def test_a_broken_photo_is_told_and_the_others_stay(boxes):
    subjects = subjects_of(open_survey(boxes))
    (boxes / "images" / "b.png").write_bytes(b"nothing")
    photos = Photos(subjects, unknown="new_whale")
    assert [problem.name for problem in photos.problems] == ["b.png"]
    assert len(photos) == 3
    some = photos.take(np.array([2]))
    assert some.subjects[0].key == "c.png"


def test_deep_photos_are_stretched_to_bytes():
    ramp = np.linspace(1000, 3000, 256).astype(np.uint16).reshape(16, 16, 1)
    found = eight_bits(ramp)
    assert found.dtype == np.uint8
    assert found.min() == 0
    assert found.max() == 255
    assert (np.diff(found.ravel().astype(int)) >= 0).all()


def test_a_survey_without_names_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), photo(0, 0, 0))
    with pytest.raises(TransectError, match="identities"):
        subjects_of(open_survey(tmp_path, question="identify"))


def test_an_album_keeps_small_pictures_and_survives_spoiled_ones(boxes, tmp_path):
    photos = Photos(subjects_of(open_survey(boxes)), unknown="new_whale")
    album = Album(tmp_path / "album")
    album.keep(photos)
    assert album("a.png#2").shape == (40, 40, 3)
    before = album.path("a.png").stat().st_mtime_ns
    album.keep(photos)
    assert album.path("a.png").stat().st_mtime_ns == before
    album.path("b.png").write_bytes(b"spoiled")
    assert album("b.png") is None
    assert album("../../etc") is None
