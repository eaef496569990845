import cv2
import numpy as np
import pytest

from tests.matching.views import textured
from transect.identify.duplicates import (
    duplicate_photos,
    photo_print,
    propose_merges,
    resolve_duplicates,
)


@pytest.fixture(scope="module")
def prints(tmp_path_factory):
    """Two photos, a byte copy, a brighter copy, a smaller one, a grey one, a mirrored one."""
    folder = tmp_path_factory.mktemp("photos")
    tints = np.array([1.0, 0.8, 0.5])
    one, two = ((textured(s, 120, 160)[..., None] * tints).astype(np.uint8) for s in (0, 1))
    bright = np.clip(one.astype(int) + 20, 0, 255).astype(np.uint8)
    copies = [
        one,
        two,
        one,
        bright,
        cv2.resize(one, (80, 60), interpolation=cv2.INTER_AREA),
        one[..., 0],
        one[:, ::-1],
    ]
    made = []
    for number, picture in enumerate(copies):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), picture)
        made.append(photo_print(path, picture))
    return made


def test_copies_of_every_kind_are_found_and_a_mirror_image_is_none(prints):
    found = {(d.first, d.second): d.how for d in duplicate_photos(prints)}
    assert found[0, 2] == "md5"
    assert found[0, 3] == "hash"
    assert found[0, 4] == "correlation"
    assert found[0, 5] == "correlation"
    assert not any(1 in pair or 6 in pair for pair in found)


def test_progress_is_told(prints):
    told = []
    duplicate_photos(prints, progress=lambda done, total: told.append((done, total)))
    assert told == [(7, 7)]


def test_the_largest_copy_stays_and_a_name_wins_over_unknown(prints):
    duplicates = duplicate_photos(prints)
    names = ["a", "b", "a", "unknown", "a", "a", "c"]
    out, ambiguous = resolve_duplicates(duplicates, names, [9, 9, 9, 99, 4, 9, 9])
    assert out == [2, 3, 4, 5]
    assert ambiguous == []


def test_one_photo_under_two_names_is_ambiguous(prints):
    names = ["a", "b", "z", "a", "a", "a", "c"]
    out, ambiguous = resolve_duplicates(duplicate_photos(prints), names, [1] * 7)
    assert ambiguous == [(0, 2, 3, 4, 5)]
    assert out == [0, 2, 3, 4, 5]


def test_merges_are_proposed_when_both_sides_agree():
    names = ["a", "a", "b", "b", "b", "c", "unknown"]
    chance = np.full((7, 7), 0.1)
    chance[:2, 2:5] = chance[2:5, :2] = 0.95
    chance[5, 0] = 0.99  # c resembles a, but a does not resemble c
    chance[6, :] = chance[:, 6] = 0.99
    np.fill_diagonal(chance, np.nan)
    found = propose_merges(chance, names)
    assert [(m.keep, m.other) for m in found] == [("b", "a")]
    assert found[0].photos == 5
    both = propose_merges(chance, names, same_photo=[(0, 5)])
    assert (both[0].keep, both[0].other, both[0].score) == ("a", "c", 1.0)
