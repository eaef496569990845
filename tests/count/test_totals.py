import dataclasses
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

import transect
from tests.count.conftest import Said
from transect.count.annotate import next_to_annotate
from transect.count.predicting import predictor_of
from transect.count.totals import TotalPictures
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.models.encoders import build_encoder
from transect.run import RunFolder
from transect.types import Quiet

pytestmark = pytest.mark.slow  # a few seconds: a pretrained network looks at sixty small pictures


@pytest.fixture(scope="module")
def totals(tmp_path_factory):
    """Photos with bright discs on dark noise, whose totals are known and whose places are not."""
    root = tmp_path_factory.mktemp("totals") / "survey"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for k in range(36):
        height, width = rng.integers(90, 160, 2).tolist()
        pixels = rng.normal(60, 8, (height, width, 3)).clip(0, 255).astype(np.uint8)
        number = int(rng.integers(0, 25))
        for _ in range(number):
            x, y = int(rng.integers(4, width - 4)), int(rng.integers(4, height - 4))
            cv2.circle(pixels, (x, y), 3, (200, 180, 160), -1)
        cv2.imwrite(str(root / "images" / f"{k:02d}.png"), pixels)
        rows.append((f"{k:02d}.png", number))
    pd.DataFrame(rows, columns=["image", "gull"]).to_csv(root / "counts.csv", index=False)
    return root


@pytest.fixture(scope="module")
def run(totals, tmp_path_factory):
    said = Said()
    out = tmp_path_factory.mktemp("totals_run") / "run"
    found = transect.train(totals, out=out, question="count", progress=said)
    assert any("no dots come out" in line for line in said.lines)
    return found


def test_totals_alone_beat_the_mean(run):
    metrics = run.score()
    assert metrics["mae"]["value"] < 0.6 * metrics["mae_of_the_mean"]["value"]
    assert 0.7 <= metrics["coverage"]["value"] <= 1
    assert "f1" not in metrics
    assert (run.path / "report.html").stat().st_size > 0


def test_new_photos_get_counts_and_no_dots(run, totals, tmp_path):
    out = tmp_path / "out"
    found = run.predict(totals / "images", out)
    assert found["images"] == 36
    said = pd.read_csv(out / "counts.csv")
    truth = pd.read_csv(totals / "counts.csv")
    gap = np.abs(said["gull"] - truth["gull"]).mean()
    assert gap < 0.6 * np.abs(truth["gull"] - truth["gull"].mean()).mean()
    assert (said["all low"] <= said["all"]).all()
    assert len(pd.read_csv(out / "points.csv")) == 0
    run.submit(totals / "images", tmp_path / "s.csv")
    assert len(pd.read_csv(tmp_path / "s.csv")) == 36
    assert np.isfinite(run.score(totals)["mae"]["value"])


def test_what_needs_dots_says_so(run, totals, tmp_path):
    with pytest.raises(TransectError, match="knows no places"):
        run.predict(totals / "images", tmp_path / "a", formats=("density",))
    with pytest.raises(TransectError, match="nothing of scale"):
        run.predict(totals / "images", tmp_path / "a", scale="auto")
    with pytest.raises(TransectError, match="Dot some photos"):
        next_to_annotate(run.path, totals / "images", 2, progress=Said())
    with pytest.raises(TransectError, match="learns from dots"):
        transect.train(totals, recipe="sealion-2nd", quick=True, out=tmp_path / "b")


def test_totals_need_four_photos(totals, tmp_path):
    (tmp_path / "images").mkdir()
    for k in range(3):
        shutil.copyfile(totals / "images" / f"{k:02d}.png", tmp_path / "images" / f"{k:02d}.png")
    rows = "\n".join(f"{k:02d}.png,{k}" for k in range(3))
    (tmp_path / "counts.csv").write_text(f"image,gull\n{rows}\n")
    with pytest.raises(TransectError, match="3 readable photos with a total"):
        TotalPictures(open_survey(tmp_path, question="count"), Quiet())


def test_totals_need_pretrained_weights(totals, monkeypatch):
    def fresh(network, **options):
        return build_encoder(dataclasses.replace(network, weights=None), **options)

    monkeypatch.setattr("transect.count.totals.build_encoder", fresh)
    with pytest.raises(TransectError, match="needs pretrained weights"):
        TotalPictures(open_survey(totals, question="count"), Quiet())


def test_photos_of_totals_are_not_resampled(run, totals):
    predictor = predictor_of(RunFolder.open(run.path), device="cpu")
    image = open_survey(totals, question="count").images[0]
    with pytest.raises(TransectError, match="cannot resample"):
        predictor.map(image, scale=0.5)
