"""Draws by likeness to the pictures that are to be answered."""

import cv2
import numpy as np
import pytest

from transect.data.survey import open_survey
from transect.recipe import Member, Recipe, Stage
from transect.run import RunFolder
from transect.segment.dataset import MaskDataset
from transect.segment.likeness import weighted, write_weights_by_likeness
from transect.types import Quiet


@pytest.fixture
def survey(tmp_path):
    """Dark and bright training pictures; those to be answered are bright."""
    root = tmp_path / "survey"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rng = np.random.default_rng(0)
    rows = ["image,split"]
    for i in range(36):
        split = "test" if i >= 24 else "train"
        level = 60 if i < 12 else 160
        pixels = np.clip(level + rng.normal(0, 20, (40, 40)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "images" / f"p{i:02d}.png"), pixels)
        if split == "train":
            cv2.imwrite(str(root / "masks" / f"p{i:02d}.png"), np.eye(40, dtype=np.uint8) * 255)
        rows.append(f"p{i:02d}.png,{split}")
    (root / "images.csv").write_text("\n".join(rows) + "\n")
    return open_survey(root)


def recipe(sampler):
    return Recipe(members=(Member(stages=(Stage(sampler=sampler),)),))


def test_pictures_like_the_unlabelled_ones_weigh_more(survey, tmp_path):
    run = RunFolder(tmp_path / "run")
    unlabelled = [image for image in survey.images if image.split == "test"]
    write_weights_by_likeness(
        run, recipe("weighted"), survey.training(), unlabelled, progress=Quiet()
    )
    weights = run.read_json("weights.json")
    assert set(weights) == {image.name for image in survey.training()}
    dark, bright = ([weights[f"p{i:02d}.png"] for i in part] for part in (range(12), range(12, 24)))
    assert np.mean(bright) > 3 * np.mean(dark)
    assert run.read_json("likeness.json")["auroc"] > 0.6


def test_nothing_is_compared_unless_a_stage_asks_and_there_is_something_to_be_like(
    survey, tmp_path
):
    run = RunFolder(tmp_path / "run")
    write_weights_by_likeness(
        run, recipe("uniform"), survey.training(), survey.images, progress=Quiet()
    )
    write_weights_by_likeness(run, recipe("weighted"), survey.training(), (), progress=Quiet())
    assert not (tmp_path / "run" / "weights.json").exists()


def test_a_stage_draws_its_share_by_the_weights(survey):
    source = MaskDataset(survey).source(Member().geometry)
    weights = np.repeat([1.0, 3.0], 12)
    assert weighted(source, weights, Stage(sampler="uniform")).weights is None
    assert weighted(source, None, Stage(sampler="weighted")).weights is None
    found = weighted(source, weights, Stage(sampler="weighted", sampler_share=0.5)).weights
    np.testing.assert_array_equal(found, weights)  # the sampler keeps the share
