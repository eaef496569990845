import dataclasses
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile

from tests.count.conftest import TINY, Said
from tests.verbs import count
from transect.cli import main
from transect.count.annotate import next_to_annotate
from transect.count.calibrate import calibrate
from transect.count.dividing import settled
from transect.count.maps import Networks, oof_map
from transect.count.pictures import CountPictures
from transect.count.predicting import CountPredictor
from transect.count.scalecheck import look_at_new
from transect.count.training import Task
from transect.data.folder import list_new
from transect.data.images import ArrayReader, read_image
from transect.data.survey import fingerprint, open_survey
from transect.errors import TransectError
from transect.recipe import Folds
from transect.run import RunFolder
from transect.simulate.colony import write_colony_survey
from transect.types import Image, Quiet

pytestmark = pytest.mark.slow  # about fifteen seconds together, most of it one small training


def photos_of(colony, tmp_path, prefix="test"):
    folder = tmp_path / "new"
    folder.mkdir()
    for path in sorted((colony / "images").glob(f"{prefix}*.png")):
        shutil.copy(path, folder)
    return folder


def test_training_beats_always_answering_the_mean(tiny_run):
    metrics = tiny_run.read_json("metrics.json")
    assert metrics["mae"]["value"] < 0.7 * metrics["mae_of_the_mean"]["value"]
    assert metrics["coverage"]["value"] >= 0.6
    for name in ("rmse", "rmse:pups", "f1", "recall", "relative_error"):
        low, high = metrics[name]["interval"]
        assert low <= metrics[name]["value"] + 1e-9
        assert metrics[name]["value"] <= high + 1e-9
    for name in ("report.html", "card.md", "decide.json", "oof/counts.csv", "look.json"):
        assert (tiny_run.path / name).stat().st_size > 0
    assert count.score(tiny_run.path, None, progress=Quiet()) == metrics


def test_a_second_call_changes_nothing(tiny_run, colony):
    kept = [p for p in tiny_run.path.rglob("*.json") if "cache" not in p.parts]
    before = {p: p.read_bytes() for p in kept if p.name != "spent.json"}
    weights = {p: p.stat().st_mtime_ns for p in tiny_run.path.glob("members/**/*.safetensors")}
    pictures = count.prepare(open_survey(colony), tiny_run.path / "cache", Quiet())
    count.train(pictures, tiny_run.recipe(), tiny_run.path, progress=Quiet(), device="cpu")
    assert {p: p.read_bytes() for p in before} == before
    assert {p: p.stat().st_mtime_ns for p in weights} == weights


def test_the_same_seed_gives_the_same_bytes(tiny_run, colony, tmp_path):
    survey = open_survey(colony)
    run = RunFolder(tmp_path / "again")
    pictures = count.prepare(survey, run.path / "cache", Quiet())
    run.begin(tiny_run.recipe(), tiny_run.data())
    count.train(pictures, run.recipe(), run.path, progress=Quiet(), device="cpu")
    folder = photos_of(colony, tmp_path)
    for one, out in ((tiny_run, tmp_path / "one"), (run, tmp_path / "other")):
        count.predict(one.path, folder, out, device="cpu", progress=Quiet(), formats=("density",))
    names = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(names) > 6
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    for name in ("decide.json", "metrics.json", "look.json", "oof/counts.csv", "oof/points.csv"):
        assert (run.path / name).read_bytes() == (tiny_run.path / name).read_bytes()


def test_counts_points_and_totals_are_written(tiny_run, colony, tmp_path):
    folder = photos_of(colony, tmp_path)
    names = [path.name for path in sorted(folder.iterdir())]
    rows = "\n".join(f"{name},beach{k // 2}" for k, name in enumerate(names))
    (folder / "images.csv").write_text(f"image,group\n{rows}\n")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    out = tmp_path / "out"
    said = Said()
    found = count.predict(
        tiny_run.path, folder, out, device="cpu", progress=said, formats=("density",)
    )
    assert "intervals promise 90%" in said.lines[-1]
    assert found["images"] == 4
    assert "broken.png" in found["problems"][0]
    table = pd.read_csv(out / "counts.csv")
    assert (table["all low"] <= table["all"] + 0.1).all()
    assert (table["all"] <= table["all high"] + 0.1).all()
    total = pd.read_csv(out / "totals.csv").set_index("class")
    assert total.loc["all", "count"] == pytest.approx(table["all"].sum(), abs=1)
    groups = pd.read_csv(out / "groups.csv")
    beaches = groups[groups["class"] == "all"]
    assert beaches["group"].tolist() == ["beach0", "beach1"]
    assert beaches["count"].sum() == pytest.approx(total.loc["all", "count"], abs=1)
    points = pd.read_csv(out / "points.csv")
    assert set(points["image"]) <= {f"test00{i}.png" for i in range(4)}
    assert tifffile.imread(out / "density" / "test000.tif").shape == (64, 80)
    assert (out / "overlays" / "test000.jpg").stat().st_size > 1000


def test_a_photo_in_pieces_is_counted_as_the_whole(tiny_run, colony):
    """Streaming from disk and predicting in memory draw one map, so no seam counts twice."""
    recipe = tiny_run.recipe()
    task = Task.of(recipe, 5).settled(tiny_run.read_json("inputs.json"))
    networks = Networks(tiny_run, recipe, task, 0, device="cpu")
    path = colony / "images" / "test001.png"
    pixels = read_image(path)
    tall = np.concatenate([pixels, pixels[::-1], pixels])
    image = Image("a.png", path, tall.shape[:2], 3)
    networks.map(ArrayReader(tall), image)  # settles the precision of the networks
    whole = networks.map(ArrayReader(tall), image)
    tiff = path.parent.parent / "tall.tif"
    tifffile.imwrite(tiff, tall, tile=(64, 64), photometric="rgb")
    from transect.data.images import open_reader

    streamed = networks.map(open_reader(tiff), image)
    np.testing.assert_array_equal(whole.stored, streamed.stored)


def test_a_geotiff_gets_points_on_the_ground(tiny_run, colony, tmp_path):
    folder = tmp_path / "geo"
    folder.mkdir()
    tags = [
        (33550, 12, 3, (0.5, 0.5, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 1000.0, 2000.0, 0.0), True),
        (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True),
    ]
    pixels = read_image(colony / "images" / "train001.png")
    tifffile.imwrite(folder / "a.tif", pixels, photometric="rgb", extratags=tags)
    count.predict(
        tiny_run.path, folder, tmp_path / "out", device="cpu", progress=Quiet(),
        formats=("density",),
    )  # fmt: skip
    written = json.loads((tmp_path / "out" / "points.geojson").read_text())
    points = pd.read_csv(tmp_path / "out" / "points.csv")
    assert len(written["features"]) == len(points) > 0
    x, y = written["features"][0]["geometry"]["coordinates"]
    assert x == pytest.approx(1000 + 0.5 * (points["x"][0] + 0.5), abs=0.06)
    assert y == pytest.approx(2000 - 0.5 * (points["y"][0] + 0.5), abs=0.06)
    from transect.data.formats.geo import ground_of

    placed = ground_of(tmp_path / "out" / "density" / "a.tif")
    assert placed.matrix[0][0] == pytest.approx(1.0)


def test_scoring_a_survey_and_calibrating_on_it(tiny_run, colony, tmp_path):
    pilot = tmp_path / "pilot"
    (pilot / "images").mkdir(parents=True)
    names = sorted(p.name for p in (colony / "images").glob("test*.png"))
    for name in names:
        shutil.copy(colony / "images" / name, pilot / "images")
    shutil.copy(colony / "truth" / "points.csv", pilot / "points.csv")
    found = count.score(tiny_run.path, pilot, progress=Quiet())
    assert np.isfinite([record["value"] for record in found.values()]).all()
    said = Said()
    record = calibrate(tiny_run.path, pilot, progress=said)
    assert record["photos"] == 4
    assert "calibration" in said.lines[-1]
    assert (tiny_run.path / "calibration.json").is_file()
    CountPredictor(tiny_run, device="cpu")
    (tiny_run.path / "calibration.json").unlink()
    (pilot / "points.csv").write_text("image,x,y,class\ntest000.png,5,5,walrus\n")
    with pytest.raises(TransectError, match="walrus"):
        count.score(tiny_run.path, pilot, progress=Quiet())


def test_a_submission_has_a_row_for_every_photo(tiny_run, colony, tmp_path):
    folder = photos_of(colony, tmp_path)
    count.submit(tiny_run.path, folder, tmp_path / "s.csv", device="cpu", progress=Quiet())
    table = pd.read_csv(tmp_path / "s.csv")
    assert table.columns[0] == "test_id"
    assert len(table) == 4
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(TransectError, match="every picture"):
        count.submit(tiny_run.path, folder, tmp_path / "s.csv", device="cpu", progress=Quiet())


def test_held_out_photos_get_the_maps_of_their_fold_again(tiny_run, colony):
    """One predictor draws held-out and new photos: what was scored is what ships."""
    task = settled(tiny_run, tiny_run.recipe())
    survey = open_survey(colony)
    folds = dict(pd.read_csv(tiny_run.path / "folds.csv").itertuples(index=False))
    predictor = CountPredictor(tiny_run, device="cpu")
    for image in survey.training()[:4]:
        maps = predictor.map(image)
        assert len(maps) == 2
        held_out = oof_map(tiny_run, task, image)
        np.testing.assert_array_equal(maps[folds[image.name]].stored, held_out.stored)


def test_photos_to_dot_next_are_named_once_each(tiny_run, colony, tmp_path):
    folder = photos_of(colony, tmp_path)
    found = next_to_annotate(tiny_run.path, folder, 3, progress=Quiet())
    assert len({s.image for s in found}) == len(found) == 3
    assert found[0].score >= found[1].score
    x0, y0, x1, y1 = found[0].box
    assert 0 <= x0 < x1 <= 160
    assert 0 <= y0 < y1 <= 128


def test_crops_to_dot_are_written_with_proposed_dots_and_taken_back(
    tiny_run, colony, tmp_path, capsys
):
    folder, todo = photos_of(colony, tmp_path), tmp_path / "todo"
    arguments = ["audit", str(tiny_run.path), str(folder), "--next", "2", "--write", str(todo)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("annotate next: test") == 2
    crops = open_survey(todo)
    assert len(crops.images) == 2
    assert len(crops.points) > 0
    survey = tmp_path / "survey"
    shutil.copytree(colony / "images", survey / "images", ignore=lambda *_: ["test000.png"])
    shutil.copy(colony / "points.csv", survey)
    before = open_survey(survey)
    assert main(["audit", str(survey), str(todo), "--take-back"]) == 0
    after = open_survey(survey)
    assert len(after.images) == len(before.images) + 2
    assert len(after.points) == len(before.points) + len(crops.points)
    assert main(["audit", str(survey), str(todo), "--take-back"]) == 2
    assert "there already" in capsys.readouterr().err


def test_the_scale_check_notices_photos_of_another_size(tiny_run, colony, tmp_path):
    listed, _ = list_new(photos_of(colony, tmp_path, "train"))
    predictor = CountPredictor(tiny_run, device="cpu")
    look = look_at_new(tiny_run, predictor, listed, Quiet())
    assert not look.strange
    assert look.factor(listed[0]) == 1.0
    for image in listed:
        pixels = cv2.imread(str(image.path))
        cv2.imwrite(str(image.path), cv2.resize(pixels, None, fx=2, fy=2))
    doubled, _ = list_new(tmp_path / "new")
    look = look_at_new(tiny_run, predictor, doubled, Quiet())
    assert look.strange
    assert look.factor(doubled[0]) == pytest.approx(0.5, rel=0.3)
    assert "--scale auto" in look.lines(repair=False)[0]


def test_a_few_photos_are_cut_into_blocks(colony):
    pictures = CountPictures(open_survey(colony)).in_blocks(64)
    assert pictures.divided
    assert len(pictures.blocks) == 10 * 2 * 2  # 128 x 160 in halves
    whole = CountPictures(open_survey(colony))
    np.testing.assert_array_equal(pictures.counts.sum(axis=0), whole.counts.sum(axis=0))
    assert {image.group for image in pictures.images} == {p.group for p in whole.photos}


@pytest.mark.parametrize(("groups", "folds"), [(None, 3), ("aaaab", 2)])
def test_a_single_held_out_photo_is_cut_into_blocks(tmp_path, groups, folds):
    """Three photos, or five in two groups, of which the one fold trained holds out one."""
    root = write_colony_survey(
        tmp_path / "survey", n_train=len(groups or "abc"), n_test=0, seed=2, size_hw=(128, 160),
        scale=0.25, animals=10,
    )  # fmt: skip
    if groups:
        names = sorted(path.name for path in (root / "images").iterdir())
        rows = "".join(f"{a},{g}\n" for a, g in zip(names, groups, strict=True))
        (root / "images.csv").write_text(f"image,group\n{rows}")
    else:
        (root / "images.csv").unlink()
    member = TINY.members[0]
    short = dataclasses.replace(member.stages[0], epochs=1, steps=2)
    recipe = dataclasses.replace(
        TINY,
        members=(dataclasses.replace(member, stages=(short,)),),
        folds=Folds(count=folds, use=1, stratify=("count",)),
    )
    said = Said()
    survey, run = open_survey(root), RunFolder(tmp_path / "run")
    run.begin(recipe, {"folder": str(root), "fingerprint": fingerprint(survey), "problems": []})
    pictures = count.prepare(survey, run.path / "cache", said)
    count.train(pictures, recipe, run.path, progress=said, device="cpu")
    assert any("hold out a single photo" in line for line in said.lines)
    table = pd.read_csv(run.path / "oof" / "counts.csv")
    assert len(table) > 1
    assert table["image"].str.partition("@")[0].nunique() == 1


def test_a_single_held_out_photo_too_small_to_cut_is_told_before_training(tmp_path):
    root = write_colony_survey(
        tmp_path / "survey", n_train=3, n_test=0, seed=2, size_hw=(64, 64), scale=0.25, animals=4
    )
    (root / "images.csv").unlink()
    recipe = dataclasses.replace(TINY, folds=Folds(count=3, use=1, stratify=("count",)))
    pictures = count.prepare(open_survey(root), tmp_path / "cache", Quiet())
    with pytest.raises(TransectError, match=r"folds\.use=3"):
        count.train(pictures, recipe, tmp_path / "run", progress=Quiet(), device="cpu")
    assert not (tmp_path / "run" / "members").exists()
