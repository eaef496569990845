import numpy as np
import pytest

from tests.audit import planted
from transect.audit import audit
from transect.audit.chance import FALSE_PAIRS, above_chance
from transect.simulate.flukes import write_fluke_survey
from transect.simulate.salt import write_salt_survey


def test_clean_surveys_are_told_wrong_things_rarely():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(2000):
        decoys, real = rng.exponential(0.3, (2, 40))
        wrong += int((real > above_chance(decoys, floor=0.1, spread=0.3)).sum())
    assert wrong / 2000 < 2.5 * FALSE_PAIRS


def test_without_decoys_there_is_a_limit_and_more_of_them_raise_it():
    decoys = np.array([0.4, 0.4])
    limits = [above_chance(np.repeat(decoys, n), floor=0.1, spread=0.3) for n in (0, 1, 10)]
    assert 0.1 < limits[0] < limits[1] < limits[2]


@pytest.mark.slow  # draws a hundred flukes
def test_open_water_is_no_background_of_two(tmp_path):
    report = audit(write_fluke_survey(tmp_path / "s", identities=12, images=100))
    assert report.clean, report.lines()


@pytest.mark.slow  # draws a hundred flukes
def test_one_beach_behind_two_flukes_is_found_in_open_water(tmp_path):
    root = write_fluke_survey(tmp_path / "s", identities=12, images=100)
    beach, _, _ = planted.scene(np.random.default_rng(1), (160, 320), blobs=0)
    files = sorted((root / "images").iterdir())[:2]
    for seed, path in enumerate(files):
        shown = beach.copy()
        shown[48:112, 96:224] = planted.scene(np.random.default_rng(9 + seed), (64, 128), 9)[0]
        planted.write(path, shown)
    leaks = [f for f in audit(root, thorough=False).findings if f.kind == "leak"]
    assert [leak.images for leak in leaks] == [tuple(file.name for file in files)]


def test_mosaics_in_one_group_each_are_clean(tmp_path):
    root = write_salt_survey(tmp_path / "s", n_train=90, n_test=30, seed=3, size_hw=(64, 64))
    report = audit(root, thorough=False)
    assert not [f for f in report.findings if f.kind.startswith("leak")], report.lines()
