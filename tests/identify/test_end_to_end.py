"""The whole story on ten invented animals: train, score, answer, submit, report, twice alike."""

import shutil

import numpy as np
import pandas as pd
import pytest

from tests.identify.conftest import TINY, Said, begin, with_decide
from tests.verbs import identify
from transect.cli import main
from transect.errors import TransectError
from transect.types import Quiet


def images_of(asked, tmp_path):
    """A plain folder of new photos."""
    folder = tmp_path / "new"
    shutil.copytree(asked / "images", folder)
    return folder


def test_the_run_names_individuals_far_better_than_chance(tiny_run):
    metrics = tiny_run.read_json("metrics.json")
    assert metrics["known_top1"]["value"] > 0.6  # chance among eight: 0.125
    assert metrics["auroc_new"]["value"] > 0.7
    for name in ("map5", "known_top1", "false_new", "false_match"):
        if metrics[name]["interval"] is None:
            why = metrics[name]["why"]
            assert "an interval needs 5 groups" in why or "every draw" in why
            continue
        low, high = metrics[name]["interval"]
        assert low - 1e-9 <= metrics[name]["value"] <= high + 1e-9
    for name in ("report.html", "card.md", "decide.json", "oof/answers.csv", "facts.json"):
        assert (tiny_run.path / name).stat().st_size > 0
    assert identify.score(tiny_run.path, None, progress=Quiet()) == metrics


def test_a_second_call_changes_nothing(tiny_run, animals, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(tiny_run.path, path)
    kept = [p for p in path.rglob("*") if p.suffix in (".json", ".npy", ".npz", ".csv", ".skops")]
    kept = [p for p in kept if p.name != "spent.json"]
    before = {p: p.read_bytes() for p in kept}
    photos, _ = begin(animals, tmp_path / "other")
    identify.train(photos, TINY, path, progress=Quiet(), device="cpu")
    assert {p: p.read_bytes() for p in kept} == before


def test_two_runs_of_one_seed_give_the_same_bytes(tiny_run, animals, asked, tmp_path):
    photos, again = begin(animals, tmp_path / "again")
    identify.train(photos, TINY, again.path, progress=Quiet(), device="cpu")
    for name in ("decide.json", "metrics.json", "oof/answers.csv", "oof/answers.npz"):
        assert (again.path / name).read_bytes() == (tiny_run.path / name).read_bytes()
    tables = []
    for number, run in enumerate((tiny_run, again)):
        out = tmp_path / f"out{number}"
        identify.predict(run.path, asked / "images", out, device="cpu", progress=Quiet())
        tables.append((out / "identities.csv").read_bytes())
    assert tables[0] == tables[1]


def test_new_photos_get_ranked_names_reasons_and_a_page(tiny_run, asked, tmp_path):
    folder = images_of(asked, tmp_path)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    out = tmp_path / "out"
    found = identify.predict(tiny_run.path, folder, out, device="cpu", progress=Quiet())
    assert found["images"] == 12
    assert "broken.png" in found["problems"][0]
    assert found["known"] + found["new"] + found["cannot_tell"] == 12
    table = pd.read_csv(out / "identities.csv", index_col="image")
    known = [name for name in table.index if name[3] in "0123" and name[4] == "_"]
    assert np.mean([table.identity[n] == f"a{n[3]}" for n in known]) > 0.6
    assert table.new_probability[["new20_0.png", "new21_0.png"]].min() > 0.2
    places = table[[f"identity_{k}" for k in range(1, 6)]].to_numpy()
    assert all(len(set(row)) == 5 for row in places)
    assert table.why.str.len().min() > 10
    page = (out / "answers.html").read_text()
    for word in ("runner-up", "probability of new", "Candidates 1:", "new20_0.png"):
        assert word in page


def test_photos_of_one_encounter_get_one_answer(tiny_run, asked, tmp_path):
    folder = images_of(asked, tmp_path)
    shutil.copy(asked / "identities.csv", folder / "images.csv")
    out = tmp_path / "out"
    words = ["predict", str(tiny_run.path), str(folder), "--out", str(out), "--encounters"]
    assert main([*words, "--catalogue", str(tiny_run.path / "catalogue")]) == 0
    table = pd.read_csv(out / "identities.csv", index_col="image")
    for person in (0, 1, 2, 3, 20, 21):
        rows = table.loc[[f"new{person}_0.png", f"new{person}_1.png"]]
        assert rows["identity"].nunique() == 1
        assert rows["probability"].nunique() == 1


def test_a_photo_that_shows_nothing_is_counted_apart(tiny_run, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "fog.png"), np.full((64, 128, 3), 128, np.uint8))
    out = tmp_path / "out"
    found = identify.predict(
        tiny_run.path, tmp_path / "fog.png", out, device="cpu", progress=Quiet()
    )
    assert (found["cannot_tell"], found["new"], found["known"]) == (1, 0, 0)
    table = pd.read_csv(out / "identities.csv")
    assert table["cannot_tell"].tolist() == [1]
    assert "cannot tell" in table["why"][0]


def test_scoring_a_survey_with_known_answers(tiny_run, asked):
    found = identify.score(tiny_run.path, asked, progress=Quiet())
    assert found["map5"]["pictures"] == 12
    assert found["known_top1"]["pictures"] == 8
    assert found["known_top1"]["value"] > 0.6
    assert found["false_match"]["pictures"] == 4


def test_a_submission_has_a_row_for_every_photo(tiny_run, asked, tmp_path):
    folder = images_of(asked, tmp_path)
    (folder / "broken.png").write_bytes(b"no picture")
    identify.submit(tiny_run.path, folder, tmp_path / "s.csv", device="cpu", progress=Quiet())
    table = pd.read_csv(tmp_path / "s.csv", index_col="Image")
    assert list(table.columns) == ["Id"]
    assert len(table) == 13
    assert table.Id["broken.png"] == "new_whale"
    assert all(len(row.split()) == 5 for name, row in table.Id.items() if name != "broken.png")


def test_the_report_compares_sources_and_shows_the_leak(tiny_run):
    page = identify.report(tiny_run.path).read_text()
    for word in ("Said probability and what came true", "Same encounter", "Surest mistakes"):
        assert word in page
    compared = tiny_run.read_json("oof/compared.json")
    alone = {"frozen", "geometry", "lnbnn"}
    assert alone < set(compared["sources"])
    best = max(compared["sources"][name] for name in alone)
    assert compared["sources"][compared["fusion"]] >= best


def test_one_individual_is_too_few(animals, tmp_path):
    photos, run = begin(animals, tmp_path / "run")
    few = photos.take(np.flatnonzero(np.isin(photos.named(), ["a0", "new_whale"])))
    with pytest.raises(TransectError, match="at least two individuals"):
        identify.train(few, TINY, run.path, progress=Quiet(), device="cpu")


def test_a_misspelt_source_is_said_before_training(photos, animals, tmp_path):
    recipe = with_decide(TINY, sources=("geometri",))
    _, run = begin(animals, tmp_path / "run", recipe)
    with pytest.raises(TransectError, match="geometry"):
        identify.train(photos, recipe, run.path, progress=Quiet(), device="cpu")


def test_copies_are_left_out_and_two_names_for_one_photo_are_told(animals, tmp_path):
    root = tmp_path / "survey"
    shutil.copytree(animals, root)
    shutil.copy(root / "images" / "00_0_0.png", root / "images" / "copy.png")
    shutil.copy(root / "images" / "01_0_0.png", root / "images" / "other.png")
    with (root / "identities.csv").open("a") as file:
        file.write("copy.png,a0,e0_0\nother.png,a5,e9_9\n")
    from transect.data.survey import open_survey

    said = Said()
    found = identify.prepare(open_survey(root), tmp_path / "cache", said)
    told = "\n".join(said.lines)
    assert "ambiguous" in told
    assert "a1" in told
    assert "copies" in told
    assert len(found) == 59  # of a0's two one stays; of a1's or a5's none
