import cv2
import numpy as np
import pandas as pd
import pytest

from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.simulate.cells import simulate_cells, write_cells_survey


def test_a_survey_of_cells_opens_and_hides_the_dots_of_test(tmp_path):
    root = write_cells_survey(tmp_path / "s", n_train=3, n_test=2, seed=1, size_px=64, cells=9)
    survey = open_survey(root, question="count")
    assert [image.name for image in survey.training()] == [f"train{k:03d}.png" for k in range(3)]
    assert len(survey.points) > 5
    hidden = pd.read_csv(root / "truth" / "points.csv")
    assert set(hidden["image"]) <= {"test000.png", "test001.png"}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in "ab":
        write_cells_survey(tmp_path / name, n_train=2, seed=4, size_px=64, cells=9)
    for one in (tmp_path / "a").rglob("*.*"):
        assert one.read_bytes() == (tmp_path / "b" / one.relative_to(tmp_path / "a")).read_bytes()


def test_cells_are_bright_crowd_and_number_as_asked():
    rng = np.random.default_rng(0)
    fields = [simulate_cells(rng, size_px=128, cells=44.0) for _ in range(12)]
    numbers = [len(points) for _, points in fields]
    assert 34 < np.mean(numbers) < 54
    assert np.std(numbers) > 6
    image, points = fields[0]
    x, y = np.round(points).astype(int).T
    blue = cv2.GaussianBlur(image[..., 2], (0, 0), 2)
    assert blue[y, x].mean() > 1.3 * blue.mean()
    away = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    np.fill_diagonal(away, np.inf)
    assert np.median(away.min(1)) < 11  # nearest neighbours touch or overlap


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(TransectError, match="not an empty folder"):
        write_cells_survey(tmp_path, n_train=1)
