"""A fourth question in one file: how warm is the picture? It trains, predicts, scores, reports.

The truth is the number in ``depth`` of ``images.csv``; one linear unit on the mean colour answers.
Nothing of the package knows it: all that it needs is the contract in ``transect.task``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from transect.data.images import read_image
from transect.data.survey import fingerprint, open_survey
from transect.errors import TransectError
from transect.files import read_json, write_json
from transect.folds import folds_once
from transect.metrics.score import Score
from transect.metrics.spread import bootstrap
from transect.pipeline import answering
from transect.pipeline.resolve import refuse_unread, resolve
from transect.pipeline.train import train
from transect.predict.dense import load_weights
from transect.recipe import Folds, Member, Optimizer, PseudoRound, Recipe, Schedule, Stage
from transect.run import RunFolder, data_record
from transect.task import Limits, Rows, Section, every, used_folds
from transect.train import IndexBatches, Items, StagePlan, fit, sampler_for
from transect.types import Problem, Quiet


def colour(image):
    return read_image(image.path).reshape(-1, 3).mean(axis=0).astype(np.float32) / 255


@dataclass(frozen=True)
class Colours:
    survey: object
    images: tuple
    features: np.ndarray
    truth: np.ndarray
    problems: tuple = ()


class Warmth:
    """The question."""

    question = "segment"  # how the folder is opened; a question of the package has its own word
    reads = every(Optimizer, Schedule, Folds, Stage, but=("aux", "mining", "sampler")) | {
        "Member.name", "Member.stages"
    }  # fmt: skip
    options = frozenset({"digits"})

    def __init__(self):
        self.choices = {"Stage.keep": ("last", "best")}

    def nothing(self, *args):
        """What this question has no use for."""

    begin_round = after_member = choose = conclude = nothing

    def template(self):
        return Recipe(members=(Member(),))

    def dataset(self, survey, scratch, progress):
        images = survey.images
        features = np.stack([colour(image) for image in images])
        return Colours(survey, images, features, np.array([i.depth for i in images], np.float32))

    def plan(self, dataset, limits):
        stage = Stage(epochs=150, batch=4, optimizer=Optimizer(name="adam", lr=0.1))
        folds = Folds(count=3, stratify=("depth",))
        return Recipe(name="warm", members=(Member(stages=(stage,)),), folds=folds)

    def within_budget(self, recipe, dataset, limits):
        return recipe

    def check(self, recipe, dataset):
        if len(dataset.images) < 3:
            raise TransectError("three images are needed. Add some.")

    def divide(self, run, recipe, dataset, progress):
        table = pd.DataFrame({"image": [i.name for i in dataset.images], "depth": dataset.truth})
        return dataset, folds_once(run.path / "folds.csv", table, recipe.folds)

    def fit(self, work, member, fold, number):
        rows = np.flatnonzero(work.folds != fold)
        x = torch.from_numpy(work.dataset.features[rows])
        y = torch.from_numpy(work.dataset.truth[rows])[:, None]

        def make(draws, rngs, fraction):
            chosen = torch.from_numpy(draws.index)
            return {"x": x[chosen], "y": y[chosen]}

        def step(model, batch, progress):
            loss = nn.functional.mse_loss(model(batch["x"]), batch["y"])
            return loss, {}

        plans = [
            StagePlan(
                stage,
                IndexBatches(
                    sampler_for(stage, Items(len(rows)), seed=fold), make,
                    batch=stage.batch, seed=fold, epochs=stage.epochs,
                ),
                step,
            )
            for stage in member.stages
        ]  # fmt: skip
        fit(self.build, plans, folder=work.run.fold(member.name, fold), seed=fold)

    def build(self):
        return nn.Linear(3, 1)

    def model(self, run, folds):
        """The mean over some folds: the same call for held-out and for new images."""
        models = []
        for fold in folds:
            folder = run.fold("main", fold)
            for entry in read_json(folder / "done.json")["snapshots"]:
                model = self.build()
                load_weights(model, folder / entry["file"])
                models.append(model.eval())

        def answer(features):
            with torch.inference_mode():
                x = torch.from_numpy(features[None])
                return float(torch.stack([model(x) for model in models]).mean())

        return answer

    def predict_held_out(self, work):
        for fold in work.used:
            answer = self.model(work.run, [fold])
            rows = np.flatnonzero(work.folds == fold).tolist()
            found = {work.dataset.images[i].name: answer(work.dataset.features[i]) for i in rows}
            write_json(work.run.oof("main") / f"fold{fold}.json", found)

    def decide(self, work):
        """A shift, fitted on the other folds for what is scored, on all for what is shipped."""
        said = {}
        for fold in work.used:
            said |= read_json(work.run.oof("main") / f"fold{fold}.json")
        names = [image.name for image in work.dataset.images]
        raw, truth = np.array([said[name] for name in names]), work.dataset.truth
        nested = np.zeros(len(names))
        for fold in work.used:
            held = work.folds == fold
            nested[held] = raw[held] + float((truth - raw)[~held].mean())
        work.run.write_json("decide.json", {"shift": float((truth - raw).mean())})
        values = {"predicted": nested, "truth": truth}
        return Rows(tuple(names), work.folds, ("",) * len(names), values)

    def scores(self, rows, run):
        error = np.abs(rows["predicted"] - rows["truth"]).astype(np.float64)
        if not len(error):
            return {}
        low, high = bootstrap(error, groups=rows.sampling_groups)
        folds = tuple(float(error[rows.folds == f].mean()) for f in np.unique(rows.folds))
        return {"mae": Score(float(error.mean()), (low, high), folds, len(error))}

    def unit_values(self, rows):
        return "error_saved", -np.abs(rows["predicted"] - rows["truth"])

    def open(self, run, *, device, options, progress):
        return Predictor(self.model(run, used_folds(run.recipe())), run.read_json("decide.json"))

    def writer(self, run, images, out, options):
        return Writer(out, options.get("digits", 3))

    def submit(self, run, answers, problems, out):
        out.write_text("".join(f"{image.name},{answer:.3f}\n" for image, answer in answers))

    def truth_rows(self, run, truth, answers):
        images, found = zip(*answers, strict=True)
        values = {"predicted": np.array(found), "truth": np.array([i.depth for i in images])}
        names = tuple(image.name for image in images)
        return Rows(names, np.full(len(names), -1), ("",) * len(names), values)

    def headline(self, run):
        return [("error", f"{run.read_json('metrics.json')['mae']['value']:.3f}", "out of fold")]

    def metric_words(self):
        return {"mae": "mean error of a picture"}

    def sections(self, run):
        return [Section("decisions", lambda page: page.section("Shift").text("One number."))]

    def advice(self, run):
        return ["Take a thermometer."]

    def card(self, run):
        return {"use": "Tells how warm a picture is."}

    def simulate(self, folder, *, seed, progress):
        rng = np.random.default_rng(seed)
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        lines = ["image,depth"]
        for i in range(18):
            red = int(rng.integers(20, 230))
            picture = np.full((16, 16, 3), (90, 120, red), np.uint8)  # OpenCV: blue, green, red
            cv2.imwrite(str(folder / "images" / f"p{i:02}.png"), picture)
            cv2.imwrite(str(folder / "masks" / f"p{i:02}.png"), np.zeros((16, 16), np.uint8))
            lines.append(f"p{i:02}.png,{2 * red / 255 - 1:.4f}")
        (folder / "images.csv").write_text("\n".join(lines) + "\n")
        return folder

    def judge(self, run, root, predict, *, device, progress):
        return []


class Predictor:
    def __init__(self, answer, decided):
        self.answer, self.shift = answer, decided["shift"]

    def answers(self, new, progress):
        for image in new.images:
            if image.size_hw == (1, 1):
                yield image, Problem(image.name, "has one pixel. Take a larger one.")
            else:
                yield image, self.answer(colour(image)) + self.shift


class Writer:
    def __init__(self, out, digits):
        self.out, self.digits, self.rows = out, digits, []

    def add(self, image, answer):
        self.rows.append((image.name, f"{answer:.{self.digits}f}"))

    def finish(self, progress):
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / "warmth.csv").open("w", newline="") as file:
            csv.writer(file).writerows(self.rows)
        return {"files": [str(self.out / "warmth.csv")]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    task, path = Warmth(), tmp_path_factory.mktemp("warm")
    root = task.simulate(path / "survey", seed=0, progress=Quiet())
    survey = open_survey(root, missing="empty")
    dataset = task.dataset(survey, path / "cache", Quiet())
    recipe = resolve(task, None, survey, dataset, Limits(None, "cpu"), {})
    run = RunFolder(path / "run")
    run.begin(recipe, data_record(survey, fingerprint(survey), ()))
    train(task, dataset, recipe, run, device="cpu", progress=Quiet())
    return task, run, root


def test_it_trains_and_its_score_beats_the_mean(trained):
    _task, run, _ = trained
    rows = Rows.load(run.path / "oof" / "rows.npz")
    trivial = np.abs(rows["truth"] - rows["truth"].mean()).mean()
    assert run.read_json("metrics.json")["mae"]["value"] < 0.3 * trivial


def test_it_predicts_scores_and_submits(trained, tmp_path):
    task, run, root = trained
    where = {"device": "cpu", "progress": Quiet()}
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((1, 1, 3), np.uint8))
    new = tmp_path / "new"
    new.mkdir()
    (tmp_path / "one.png").rename(new / "one.png")
    cv2.imwrite(str(new / "red.png"), np.full((8, 8, 3), (90, 120, 255), np.uint8))
    found = answering.predict(task, run, new, tmp_path / "out", options={"digits": 1}, **where)
    assert found["images"] == 1
    assert found["problems"] == ["one.png: has one pixel. Take a larger one."]
    assert (tmp_path / "out" / "warmth.csv").read_text().strip() in ("red.png,1.0", "red.png,0.9")
    assert answering.score(task, run, root, **where)["mae"].value < 0.1
    answering.submit(task, run, root / "images", tmp_path / "s.csv", **where)
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 18
    with pytest.raises(TransectError, match="must be one of digits"):
        answering.predict(task, run, new, tmp_path / "other", options={"scale": 2}, **where)


def test_its_report_has_the_common_frame_and_its_own_section(trained):
    _, run, _ = trained
    text = (run.path / "report.html").read_text()
    for title in ("The survey", "Score", "Shift", "Training", "What to try next", "Versions used"):
        assert title in text
    assert "Take a thermometer." in text
    assert "Tells how warm" in (run.path / "card.md").read_text()


@pytest.mark.parametrize("more", [{"blend": "vote"}, {"pseudo": (PseudoRound(confidence=0.5),)}])
def test_it_refuses_what_it_does_not_read(trained, more):
    task, run, _ = trained
    with pytest.raises(TransectError, match="would do nothing"):
        refuse_unread(task, replace(run.recipe(), **more))
