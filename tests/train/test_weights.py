"""The column ``weight`` of ``images.csv``, from a survey to what its trainings draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.count.conftest import TINY
from transect.count.pictures import CountPictures
from transect.count.training import Task, _source
from transect.data.convert import convert
from transect.data.survey import open_survey
from transect.recipe import Augment, Geometry, Stage
from transect.segment.dataset import MaskDataset
from transect.train.dense import DenseBatches, DenseSource

GEOMETRY = Geometry(fit="tile", size_hw=(32, 32))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        pixels = rng.integers(0, 255, (32, 32), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), pixels)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), (pixels > 200).astype(np.uint8) * 255)
    (tmp_path / "images.csv").write_text("image,weight\na.png,0\nb.png,\nc.png,3\n")
    return tmp_path


def shares(source: DenseSource, sampler: str) -> list[float]:
    drawn: list[int] = []

    def sample(i: int):
        drawn.append(i)
        return source.sample(i)

    stage = Stage(batch=8, steps=50, epochs=1, sampler=sampler)
    found = DenseBatches(
        replace(source, sample=sample), range(3), stage=stage, geometry=GEOMETRY,
        augment=Augment(), seed=0,
    )  # fmt: skip
    for _ in found.epoch(0):
        pass
    return (np.bincount(drawn, minlength=3) / len(drawn)).tolist()


@pytest.mark.parametrize("sampler", ["uniform", "foreground", "weighted"])
def test_an_image_of_weight_zero_is_never_drawn(root, sampler):
    masks = MaskDataset(open_survey(root)).source(GEOMETRY)
    assert shares(masks, sampler) == pytest.approx([0, 0.25, 0.75], abs=0.06)
    for path in (root / "masks").iterdir():
        path.unlink()
    (root / "masks").rmdir()
    (root / "points.csv").write_text("image,x,y\na.png,4,4\nb.png,9,9\nc.png,9,9\n")
    dots = CountPictures(open_survey(root))
    member = replace(TINY.members[0], geometry=GEOMETRY)
    counts = _source(dots, member, Task.of(TINY, 1))
    assert shares(counts, sampler) == pytest.approx([0, 0.25, 0.75], abs=0.06)


def test_the_weight_goes_along_when_a_survey_is_converted(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    for step, target in (("coco", "coco.json"), ("survey", "again")):
        source = root if step == "coco" else out / "coco.json"
        convert(source, out / target, target_format=step, images=root / "images")
    assert [image.weight for image in open_survey(out / "again").images] == [0, 1, 3]
