"""Messages of the command line, the functions behind it, recipes and files, one by one."""

import errno
import json
import tempfile

import pytest
from benchmarks import hot_paths

import transect
from tests.small import tiny_recipe, write_disc_survey
from transect import api, demo, recipes
from transect.audit import AuditReport, write_groups
from transect.cli import main
from transect.data.survey import fingerprint, open_survey
from transect.errors import TransectError
from transect.experiments.ingredients import _embedding
from transect.experiments.seeds import runs_in, score_seeds, train_seeds
from transect.files import safe_join, write_json, write_text
from transect.pipeline.resolve import refuse_unread
from transect.pipeline.tasks import task_of
from transect.recipe import CountDecide, Folds, Recipe, from_json, set_field, to_json
from transect.run import RunFolder
from transect.types import Quiet


def begun(path, recipe=None, **data):
    """A run folder that has no more than begun."""
    run = RunFolder(path)
    run.begin(recipe or Recipe(), data)
    return run


def said(words, capsys) -> str:
    """The sentence of a command that must fail."""
    assert main(words) == 2
    return capsys.readouterr().err


def test_functions_refuse_what_does_not_fit_the_run(tmp_path):
    run = begun(tmp_path / "run").path
    with pytest.raises(TransectError, match="is about folds"):
        api.score(run, tmp_path, leak_free=True)
    with pytest.raises(TransectError, match="predict for segment must be one of formats"):
        api.predict(run, run, tmp_path / "out", scale=2.0)
    with pytest.raises(TransectError, match="an option of predict for segment"):
        api.predict(run, run, tmp_path / "out", encounters=True)
    with pytest.raises(TransectError, match="does not exist"):
        api.predict(run, tmp_path / "none", tmp_path / "out")
    with pytest.raises(TransectError, match="nothing to calibrate"):
        api.calibrate(run, tmp_path)


def test_a_recipe_of_another_question(tmp_path):
    root = write_disc_survey(tmp_path / "s")
    with pytest.raises(TransectError, match="answers 'count'"):
        transect.train(root, recipe=Recipe(question="count"), out=tmp_path / "run", audit=False)


def test_a_learning_rate_is_found_for_masks_only(tmp_path):
    recipe = set_field(tiny_recipe(question="count"), "decide", json.dumps(to_json(CountDecide())))
    recipe = set_field(recipe, "members.main.stages.main.optimizer.find_lr", "true")
    with pytest.raises(TransectError, match=r"got 'find_lr'\. It is set to True"):
        refuse_unread(task_of("count"), recipe)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(TransectError, match="no CUDA device"):
        api._device("cuda")


def test_commands_refuse_words_that_do_not_fit(tmp_path, capsys):
    root = str(write_disc_survey(tmp_path / "s"))
    assert "--tune changes a recipe" in said(["train", root, "--tune", "seed=1..2"], capsys)
    one, two = (str(begun(tmp_path / n).path) for n in "ab")
    assert "name the new pictures too" in said(["audit", one, "--next", "2"], capsys)
    assert "is not the survey" in said(["audit", root, "--run", one], capsys)
    assert "several runs of one recipe" in said(["score", one, two, "--leak-free"], capsys)
    assert "is no run folder" in said(["score", one, root, root], capsys)


def test_seeds_that_cannot_be_compared(tmp_path):
    for name, recipe, data in (
        ("a", Recipe(seed=0), 1),
        ("b", Recipe(seed=1), 1),
        ("c", Recipe(seed=2, folds=Folds(count=3)), 1),
        ("d", Recipe(seed=3), 2),
    ):
        begun(tmp_path / name, recipe, fingerprint=data)
        value = 0.5 + recipe.seed
        write_json(tmp_path / name / "metrics.json",
                   {"dice": {"value": value, "interval": [0, 1], "folds": []}})  # fmt: skip
    paths = {name: tmp_path / name for name in "abcd"}
    found = score_seeds([paths["a"], paths["b"]])["dice"]
    assert found["value"] == 1.0
    assert found["seeds"] == [0.5, 1.5]
    assert found["deviation"] == pytest.approx(0.7071, abs=1e-4)
    with pytest.raises(TransectError, match="the seed 0 of another"):
        score_seeds([paths["a"], paths["a"]])
    with pytest.raises(TransectError, match="more than their seed"):
        score_seeds([paths["a"], paths["c"]])
    with pytest.raises(TransectError, match="different data"):
        score_seeds([paths["a"], paths["d"]])


@pytest.mark.slow
def test_one_recipe_is_trained_with_several_seeds(tmp_path, capsys):
    root = write_disc_survey(tmp_path / "s")
    runs = train_seeds(root, range(2), recipe=tiny_recipe(), out=tmp_path / "runs",
                       progress=Quiet(), threads=1)  # fmt: skip
    assert runs_in(tmp_path / "runs") == runs
    assert main(["score", str(tmp_path / "runs")]) == 0
    assert "sd" in capsys.readouterr().out


def test_an_audit_is_made_up_for_a_run_that_has_none(tmp_path, capsys, monkeypatch):
    root = write_disc_survey(tmp_path / "s")
    run = begun(tmp_path / "run", fingerprint=fingerprint(open_survey(root)))
    monkeypatch.setattr(api, "report", lambda path: path)
    assert main(["audit", str(root), "--run", str(run.path)]) == 0
    assert (run.path / "audit.json").is_file()
    assert "--leak-free" in capsys.readouterr().out


def test_a_demo_does_not_overwrite(tmp_path):
    (tmp_path / "segment").mkdir()
    with pytest.raises(TransectError, match="is no demo"):
        demo.demo("segment", tmp_path, progress=Quiet())


def test_an_unknown_benchmark():
    with pytest.raises(TransectError, match="a benchmark must be one of"):
        list(hot_paths.run_all(["nope"]))


def test_an_unknown_ingredient():
    with pytest.raises(TransectError, match="a field of the network"):
        _embedding(Recipe(), "nope")


def test_paths_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "away").symlink_to("/")
    with pytest.raises(TransectError, match="through a link"):
        safe_join(tmp_path, "away/etc")
    (tmp_path / "file").write_text("")
    with pytest.raises(TransectError, match="is not a folder"):
        write_text(tmp_path / "file" / "a.txt", "")

    def refused(**words):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refused)
    with pytest.raises(TransectError, match="cannot be written"):
        write_text(tmp_path / "a.txt", "")


def test_groups_need_a_survey(tmp_path):
    (tmp_path / "images.csv").write_text("image,group\na.png,b\n")
    with pytest.raises(TransectError, match="has no folder images/"):
        write_groups(AuditReport((), groups={"a.png": "g"}), tmp_path)


def test_a_run_whose_recipe_is_none(tmp_path):
    write_json(tmp_path / "recipe.json", to_json(Folds()))
    with pytest.raises(TransectError, match="holds no recipe"):
        RunFolder.open(tmp_path).recipe()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: from_json({"type": "Nope"}), "the type of"),
        (lambda: from_json({"type": "Recipe", "nope": 1}), "a field of"),
        (lambda: set_field(Recipe(), "name.x", "1"), "has no fields"),
        (lambda: set_field(tiny_recipe(), "members.nope.name", "x"), "an entry of"),
        (lambda: set_field(tiny_recipe(), "members.main.geometry.size_hw", "[1, 2, 3]"),
         "must have 2 entries"),
    ],
)  # fmt: skip
def test_recipes_as_text(call, words):
    with pytest.raises(TransectError, match=words):
        call()


def test_recipe_files(tmp_path):
    write_json(tmp_path / "a.json", to_json(Folds()))
    with pytest.raises(TransectError, match="not a recipe"):
        recipes.load(str(tmp_path / "a.json"))
    with pytest.raises(TransectError, match="there is no recipe file"):
        recipes.load(str(tmp_path / "a.py"))
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(TransectError, match="sets no recipe"):
        recipes.load(str(tmp_path / "a.py"))


def test_a_name_with_the_time_of_day_is_a_name(tmp_path):
    assert safe_join(tmp_path, "2020-01-01 12:30:05.png").name == "2020-01-01 12:30:05.png"
