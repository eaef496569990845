import numpy as np
import pandas as pd
import pytest

from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.simulate.colony import CLASS_MIX, CLASSES, simulate_photo, write_colony_survey


def test_a_colony_is_a_survey_and_test_dots_stay_apart(tmp_path):
    root = write_colony_survey(
        tmp_path / "a", n_train=3, n_test=2, seed=3, size_hw=(96, 128), scale=0.2, test_scale=0.4
    )
    survey = open_survey(root)
    assert survey.question == "count"
    assert survey.classes == CLASSES
    assert len(survey.training()) == 3
    assert not survey.points["image"].str.startswith("test").any()
    sizes = {image.split: image.size_hw for image in survey.images}
    assert sizes == {"train": (96, 128), "test": (192, 256)}
    assert set(pd.read_csv(root / "truth" / "points.csv")["image"]) <= {
        "test000.png",
        "test001.png",
    }
    again = write_colony_survey(
        tmp_path / "b", n_train=3, n_test=2, seed=3, size_hw=(96, 128), scale=0.2, test_scale=0.4
    )
    for name in ("points.csv", "images/train001.png"):
        assert (root / name).read_bytes() == (again / name).read_bytes()


def test_classes_are_mixed_as_in_the_competition():
    counts = np.zeros(5)
    for seed in range(12):
        photo = simulate_photo(np.random.default_rng(seed), size_hw=(240, 320), scale=0.15)
        counts += np.bincount(photo.classes, minlength=5)
        inside = (photo.points >= 0) & (photo.points < (320, 240))
        assert inside.all()
    share = counts / counts.sum()
    assert np.abs(share - np.array(CLASS_MIX)).max() < 0.2
    assert share.argmax() == 2


def test_animals_differ_from_the_beach():
    photo = simulate_photo(np.random.default_rng(4), size_hw=(240, 320), scale=0.4, animals=60)
    empty = simulate_photo(np.random.default_rng(4), size_hw=(240, 320), scale=0.4, animals=0)
    assert len(empty.points) == 0
    assert photo.image.shape == (240, 320, 3)
    assert photo.image.dtype == np.uint8


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(TransectError, match="not an empty folder"):
        write_colony_survey(tmp_path, n_train=1, n_test=0)
