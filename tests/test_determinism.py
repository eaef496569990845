"""Same data, recipe, seed, device, thread count: same bytes, for all four questions.

The whole story is told twice, and once more with a stop in the middle of what is predicted.
"""

import hashlib
import shutil

import pytest
from benchmarks.torture.surveys import QUESTIONS

import transect
from transect import api, recipes

BY_NAME = {question.name: question for question in QUESTIONS}
ANSWERS = ("metrics.json", "decide.json", "folds.csv", "oof", "regressors")


def digests(folder, names=("",)):
    """File to digest, of some files and folders in a folder."""
    found = {}
    for name in names:
        path = folder / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            found[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def told(question, folder):
    """A survey, and a run on it."""
    (folder / "recipe.py").write_text(BY_NAME[question].recipe)
    if not (folder / "survey").exists():
        BY_NAME[question].write_survey(folder / "survey")
    recipe = recipes.load(str(folder / "recipe.py"))
    return recipe, folder / "survey"


@pytest.mark.slow
@pytest.mark.parametrize("question", sorted(BY_NAME))
def test_the_same_command_twice_gives_the_same_bytes_and_answers(question, tmp_path):
    recipe, survey = told(question, tmp_path)
    out = []
    for name in ("a", "b"):
        # Pages name the folder of the run: it is called the same both times.
        run = transect.train(survey, recipe=recipe, out=tmp_path / name / "run", threads=1)
        api.predict(run.path, survey / "images", tmp_path / name / "out", threads=1)
        weights = digests(run.path / "members")
        out.append((
            digests(run.path, ANSWERS),
            {file: digest for file, digest in weights.items() if file.endswith(".safetensors")},
            digests(tmp_path / name / "out"),
        ))  # fmt: skip
    assert all(len(part) for part in out[0])
    assert out[0] == out[1]


@pytest.mark.slow
@pytest.mark.parametrize("question", sorted(BY_NAME))
def test_what_was_predicted_before_a_stop_does_not_matter(question, tmp_path):
    recipe, survey = told(question, tmp_path)
    run = transect.train(survey, recipe=recipe, out=tmp_path / "a", threads=1).path
    want = digests(run, ANSWERS)
    # As after a kill between two out-of-fold predictions: the later ones and all that follows.
    for name in ("metrics.json", "decide.json", "report.html", "steps/decide.done"):
        (run / name).unlink()
    predicted = sorted(p for p in (run / "oof").rglob("*") if p.suffix in {".npy", ".npz"})
    for path in predicted[len(predicted) // 2 :]:
        path.unlink()
    for path in (run / "oof").rglob("filled*.json"):
        path.unlink()
    transect.train(survey, recipe=recipe, out=run, threads=1, resume=True)
    assert digests(run, ANSWERS) == want


def test_the_seed_of_a_recipe_is_what_differs(tmp_path):
    """Fast: the same seed deals the same folds, another one others, whatever was done before."""
    from transect.data.survey import fold_table, open_survey
    from transect.folds import make_folds
    from transect.recipe import Folds

    recipe, survey = told("segment", tmp_path)
    table = fold_table(open_survey(survey))
    first = make_folds(table, recipe.folds)
    assert (first == make_folds(table, recipe.folds)).all()
    assert (first != make_folds(table, Folds(count=2, seed=recipe.folds.seed + 1))).any()
    shutil.rmtree(survey)
    again = fold_table(open_survey(told("segment", tmp_path)[1]))
    assert (first == make_folds(again, recipe.folds)).all()
