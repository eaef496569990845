"""The whole story on small surveys of all three kinds: train, score, predict, submit, report."""

import csv
import dataclasses

import numpy as np
import pytest

import transect
from tests.classify.worlds import FROZEN, recipe, trained, write_squares
from tests.verbs import Verbs
from transect.classify.oof import decision_of
from transect.classify.task import ClassifyTask
from transect.data.png import write_png
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.recipe import ClassifyDecide, Folds
from transect.run import RunFolder
from transect.task import Rows
from transect.types import Quiet

KINDS = {"single": "accuracy", "several": "f2", "grades": "weighted_kappa"}
WHERE = {"device": "cpu", "progress": Quiet()}
classify = Verbs("classify")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one member that is not trained: fast."""
    path = tmp_path_factory.mktemp("squares")
    root = write_squares(path / "survey")
    made = transect.train(root, recipe=recipe(), out=path / "run", device="cpu")
    return RunFolder(made.path), root


def test_it_beats_the_commonest_label_and_says_so(run):
    folder, _ = run
    rows = Rows.load(folder.path / "oof" / "rows.npz")
    assert rows["p"].shape == (36, 3)
    metrics = folder.read_json("metrics.json")
    assert next(iter(metrics)) == "accuracy"
    assert metrics["accuracy"]["value"] > 0.8 > decision_of(folder).scores["trivial"] + 0.4
    assert (
        "Worth using: better than always answering the commonest label"
        in (folder.path / "report.html").read_text()
    )
    assert len(metrics["auroc"]["folds"]) == 2


def test_the_report_shows_confusion_reliability_sources_and_the_worst_images(run):
    folder, _ = run
    page = (folder.path / "report.html").read_text()
    shown = ("What was taken for what", "what came true", "Sources by accuracy", "Worst images",
             "Grad-CAM", "without looking", "Every label by itself")  # fmt: skip
    assert not [words for words in shown if words not in page]
    assert page.count("data:image") >= 16
    assert "red" in (folder.path / "card.md").read_text()


def test_new_images_are_answered_and_broken_ones_told(run, tmp_path):
    folder, root = run
    new = tmp_path / "new"
    new.mkdir()
    for name in ("p00.png", "p01.png", "p02.png"):
        (new / name).write_bytes((root / "images" / name).read_bytes())
    (new / "broken.png").write_bytes((root / "images" / "p00.png").read_bytes()[:60])
    found = classify.predict(folder.path, new, tmp_path / "out", **WHERE)
    assert found["images"] == 3
    assert found["problems"][0].startswith("broken.png")
    rows = table(tmp_path / "out" / "labels.csv")
    assert [row["label"] for row in rows] == ["red", "green", "blue"]
    for row in rows:
        assert sum(float(row[f"p:{c}"]) for c in ("red", "green", "blue")) == pytest.approx(
            1, abs=1e-3
        )
        assert float(row["doubt"]) == pytest.approx(1 - float(row[f"p:{row['label']}"]), abs=1e-3)
    classify.submit(folder.path, root / "images", tmp_path / "s.csv", **WHERE)
    assert (tmp_path / "s.csv").read_text().startswith("image,label\np00.png,red\n")
    with pytest.raises(TransectError, match="A submission needs every picture"):
        classify.submit(folder.path, new, tmp_path / "t.csv", **WHERE)


def test_what_it_wrote_can_be_trained_on_and_scored_against(run, tmp_path):
    folder, root = run
    classify.predict(folder.path, root / "images", tmp_path / "out", **WHERE)
    again = tmp_path / "again"
    (again / "images").mkdir(parents=True)
    for path in (root / "images").iterdir():
        (again / "images" / path.name).write_bytes(path.read_bytes())
    (again / "labels.csv").write_bytes((tmp_path / "out" / "labels.csv").read_bytes())
    assert open_survey(again).classes == ("blue", "green", "red")
    assert classify.score(folder.path, again, progress=Quiet())["accuracy"]["value"] == 1
    (again / "labels.csv").write_text("image,label\np00.png,pink\np01.png,red\n")
    (again / "images.csv").write_text(
        "image,split\n" + "".join(f"p{i:02}.png,test\n" for i in range(2, 36))
    )
    with pytest.raises(TransectError, match="'pink', which the run does not know"):
        classify.score(folder.path, again, progress=Quiet())


def test_an_image_is_answered_alike_whatever_stands_beside_it(run, tmp_path):
    folder, root = run
    classify.predict(folder.path, root / "images", tmp_path / "all", **WHERE)
    classify.predict(folder.path, root / "images" / "p07.png", tmp_path / "one", **WHERE)
    lines = [(tmp_path / name / "labels.csv").read_text().splitlines() for name in ("all", "one")]
    assert lines[1][1] in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_train_predict_score_and_submit(kind, tmp_path):
    root = write_squares(tmp_path / "survey", kind=kind, count=40)
    loss = {"single": "focal + 0.1 * ce", "several": "bce + 0.1 * lsep", "grades": "focal + kappa"}
    members = [
        FROZEN,
        trained(loss=loss[kind], sampler="class_aware", mixup=0.4, augment_rare=0.5),
        trained("fresh", loss=loss[kind], start="random", freeze="all_but_head", keep="best"),
    ]
    if kind == "grades":
        members.append(trained("number", loss="smooth_l1", start="random"))
    given = recipe(*members, views=("identity", "hflip"), view_mean="geometric")
    made = transect.train(root, recipe=given, out=tmp_path / "run", device="cpu")
    metrics = RunFolder(made.path).read_json("metrics.json")
    decision = decision_of(RunFolder(made.path))
    assert next(iter(metrics)) == KINDS[kind]
    assert set(decision.scores) >= {m.name for m in members} | {"trivial", "mean"}
    assert metrics["auroc"]["value"] > 0.75
    if kind != "several":  # twenty images are too few to tell thresholds by
        assert metrics[KINDS[kind]]["value"] > decision.scores["trivial"] + 0.3
    made.predict(root / "images", tmp_path / "out", device="cpu")
    scored = made.score(root)
    assert scored["auroc"]["value"] > 0.75
    assert scored[KINDS[kind]]["pictures"] == 40
    made.submit(root / "images", tmp_path / "s.csv")
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 41


@pytest.mark.slow
def test_what_is_scored_is_what_is_shipped(tmp_path):
    """The networks of a fold say of its held-out images what stands in the out-of-fold file."""
    from transect.classify.members import MemberModels, facts_of

    root = write_squares(tmp_path / "survey")
    given = recipe(FROZEN, trained(), views=("identity", "vflip"))
    folder = RunFolder(transect.train(root, recipe=given, out=tmp_path / "run", device="cpu").path)
    dataset = ClassifyTask().dataset(open_survey(root), tmp_path / "cache", Quiet())
    dataset, folds = ClassifyTask().divide(folder, given, dataset, Quiet())
    for member in given.members:
        models = MemberModels(folder, given, member, facts_of(folder, given), (1,), "cpu")
        part = dataset.take(np.flatnonzero(folds == 1))
        stored = np.load(folder.oof(member.name) / "fold1.npy")
        np.testing.assert_allclose(models.ask(part.pixels, part.images), stored, atol=1e-6)


def test_copies_and_groups_stay_together_and_external_images_only_train(tmp_path):
    root = write_squares(tmp_path / "survey", count=30)
    for i in range(3, 9):  # six copies of one image
        (root / "images" / f"p{i:02}.png").write_bytes((root / "images" / "p00.png").read_bytes())
    (root / "labels.csv").write_text(
        "image,label\n" + "".join(f"p{i:02}.png,{'ab'[i % 2]}\n" for i in range(30))
    )
    (root / "images.csv").write_text("image,split\np28.png,external\np29.png,external\n")
    made = transect.train(root, recipe=recipe(), out=tmp_path / "run", device="cpu")
    rows = table(made.path / "folds.csv")
    assert {row["image"] for row in rows}.isdisjoint({"p28.png", "p29.png"})
    copies = {row["fold"] for row in rows if row["image"] in {"p00.png", "p03.png", "p08.png"}}
    assert len(copies) == 1
    assert len(Rows.load(made.path / "oof" / "rows.npz")) == 28
    assert RunFolder(made.path).read_json("worst.json")["external"] == 2


REFUSED = {
    "ce of several": ("several", {"loss": "ce"}, "images have several"),
    "a number of labels": ("single", {"loss": "smooth_l1", "start": "random"}, "only grades"),
    "both in one network": (
        "grades",
        {"loss": "ce + smooth_l1", "start": "random"},
        "of their own",
    ),
    "a number from regression": ("grades", {"loss": "l1"}, "head_start=random"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_before_long_work(case, tmp_path):
    kind, changes, words = REFUSED[case]
    dataset = ClassifyTask().dataset(
        open_survey(write_squares(tmp_path, kind=kind)), tmp_path / "cache", Quiet()
    )
    with pytest.raises(TransectError, match=words):
        ClassifyTask().check(recipe(trained(**changes)), dataset)


def test_a_metric_of_another_kind_and_a_single_label_are_refused(tmp_path):
    task = ClassifyTask()
    dataset = task.dataset(open_survey(write_squares(tmp_path)), tmp_path / "cache", Quiet())
    with pytest.raises(TransectError, match=r"decide\.metric is f2"):
        task.check(recipe(decide=ClassifyDecide(metric="f2")), dataset)
    same = np.zeros_like(dataset.truth)
    same[:, 1] = 1
    with pytest.raises(TransectError, match="two labels or more; every image is 'green'"):
        task.check(recipe(), dataclasses.replace(dataset, truth=same))


def test_folds_that_are_not_trained_are_not_scored(tmp_path):
    root = write_squares(tmp_path / "survey")
    given = recipe(folds=Folds(count=3, use=1, stratify=("class",)))
    made = transect.train(root, recipe=given, out=tmp_path / "run", device="cpu", audit=False)
    assert len(Rows.load(made.path / "oof" / "rows.npz")) == 12


def test_images_of_other_depths_and_sizes_are_decoded_to_fit(tmp_path):
    from transect.classify.dataset import LONGEST, decoded
    from transect.data.folder import list_images

    deep = np.arange(700 * 900, dtype=np.uint32).reshape(700, 900, 1) % 65535
    write_png(tmp_path / "images" / "deep.png", deep.astype(np.uint16)[..., 0])
    (image,), _ = list_images(tmp_path / "images")
    pixels = decoded(image, 3)
    assert pixels.dtype == np.uint16
    assert pixels.shape == (round(700 * LONGEST / 900), LONGEST, 3)
