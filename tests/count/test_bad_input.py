"""Mistakes in dots, as they reach someone at the command line, before anything is trained."""

import numpy as np
import pytest
from PIL import Image as Pillow

from transect.cli import main


@pytest.fixture
def survey(tmp_path):
    (tmp_path / "images").mkdir()
    for k in range(2):
        Pillow.fromarray(np.zeros((60, 90, 3), np.uint8)).save(tmp_path / "images" / f"{k}.png")
    (tmp_path / "classes.csv").write_text("name\nseal\n")
    return tmp_path


def rows(places, image="{}.png", kind="seal"):
    lines = [f"{image.format(i % 2)},{x:.3f},{y:.3f},{kind}" for i, (x, y) in enumerate(places)]
    return "\n".join(["image,x,y,class", *lines]) + "\n"


INSIDE = np.column_stack([np.linspace(1, 88, 40), np.linspace(58, 1, 40)])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (rows(INSIDE[:, ::-1]), "x and y"),
        (rows(INSIDE / (90, 60)), "shares"),
        (rows(np.add(INSIDE, (500, 0))), "lies outside"),
        (rows(INSIDE, image="photo{}.jpg"), "names an image"),
        (rows(INSIDE, kind="seel"), "seal"),
    ],
    ids=["swapped", "shares", "outside", "names", "classes"],
)
def test_a_mistake_through_the_whole_table_ends_before_training(table, said, survey, capsys):
    (survey / "points.csv").write_text(table)
    out = survey.parent / "run"
    assert main(["train", str(survey), "--question", "count", "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not (out / "recipe.json").exists()
