import re

import numpy as np
import pytest

from transect.audit import Seam, find_seams, reassemble, take_prints
from transect.data.folder import list_images
from transect.simulate.salt import write_salt_survey


def place_of(name: str) -> tuple[str, int, int]:
    match = re.match(r"(.*)-r(\d)-c(\d)", name)
    return match[1], int(match[2]), int(match[3])


def test_the_mosaics_of_the_salt_simulator_are_found(tmp_path):
    root = write_salt_survey(tmp_path / "salt", n_train=90, n_test=30, seed=3, size_hw=(64, 64))
    prints = take_prints(list_images(root)[0])
    rows = {place_of(name): i for i, name in enumerate(prints.names)}
    true = set()
    for (mosaic, r, c), i in rows.items():
        for down, key in ((True, (mosaic, r + 1, c)), (False, (mosaic, r, c + 1))):
            j = rows.get(key)
            if j is not None and not prints.flat[i] and not prints.flat[j]:
                true.add((i, j, down))
    found = {(s.first, s.second, s.down) for s in find_seams(prints)}
    assert len(found & true) / len(found) >= 0.98
    assert len(found & true) / len(true) >= 0.75


def test_tiles_are_put_where_their_seams_say():
    seams = [Seam(0, 1, False, 0.9), Seam(0, 2, True, 0.8), Seam(2, 3, False, 0.7)]
    assert reassemble(seams) == [{0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)}]


def test_a_seam_that_would_lay_two_tiles_on_one_place_is_dropped():
    seams = [Seam(0, 1, False, 0.9), Seam(0, 2, True, 0.8), Seam(1, 3, True, 0.7)]
    wrong = Seam(4, 3, False, 0.6)  # 4 would lie where 2 lies
    assert all(4 not in layout for layout in reassemble([*seams, wrong]))


def test_noise_has_no_seams(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    for i in range(60):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 255, (40, 40), np.uint8))
    assert find_seams(take_prints(list_images(tmp_path)[0])) == ()


@pytest.mark.slow
def test_the_seams_of_a_large_survey_are_right(tmp_path):
    root = write_salt_survey(tmp_path / "salt", n_train=900, n_test=100, seed=5)
    prints = take_prints(list_images(root)[0])
    found = find_seams(prints)
    right = [
        place_of(prints.names[s.first])[0] == place_of(prints.names[s.second])[0] for s in found
    ]
    assert len(found) > 500
    assert np.mean(right) >= 0.99
