"""The search over hyper-parameters, with a study and a training that are imagined."""

import sys
from types import SimpleNamespace

import pytest

from transect.errors import TransectError
from transect.experiments import tuning as module
from transect.experiments.tuning import parse_space, tune
from transect.recipe import Recipe


def test_a_space_is_read():
    space = parse_space(["folds.count=2,3", "members.*.weight=0.5..2"])
    assert space == {
        "folds.count": ("choice", 2, 3),
        "members.*.weight": ("float", 0.5, 2.0, False),
    }


@pytest.mark.parametrize("pair", ["lr", "lr=", "lr=a..b"])
def test_a_space_that_is_none_is_refused(pair):
    with pytest.raises(TransectError):
        parse_space([pair])


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TransectError, match=r"transect\[tune\]"):
        tune("data", {}, recipe=Recipe(), out="out")


class Study:
    def __init__(self):
        self.told, self.asked = [], 0

    def ask(self):
        self.asked += 1
        number = self.asked
        return SimpleNamespace(
            suggest_float=lambda path, low, high, log: low + (high - low) * number / 4,
            suggest_categorical=lambda path, values: values[number % len(values)],
        )

    def tell(self, trial, value=None, state=None):
        self.told.append(value)


@pytest.fixture
def study(monkeypatch):
    made = Study()
    optuna = SimpleNamespace(
        logging=SimpleNamespace(set_verbosity=lambda level: None, WARNING=0),
        create_study=lambda direction, sampler: made,
        samplers=SimpleNamespace(TPESampler=lambda seed: None),
        trial=SimpleNamespace(TrialState=SimpleNamespace(FAIL="fail")),
    )
    monkeypatch.setitem(sys.modules, "optuna", optuna)
    return made


def test_the_best_trial_wins_and_failures_are_passed_over(study, monkeypatch, tmp_path):
    def train(data, *, recipe, out, seed, progress, **options):
        weight = recipe.members[0].weight
        if weight > 1.6:
            raise TransectError("too heavy. Lighten it.")
        return SimpleNamespace(score=lambda: {"dice": {"value": weight}})

    monkeypatch.setattr(module.api, "train", train)
    space = {"members.*.weight": ("float", 0.0, 2.0, False)}
    best = tune("data", space, recipe=Recipe(), out=tmp_path, trials=4)
    assert best.members[0].weight == 1.5
    assert study.told == [0.5, 1.0, 1.5, None]


def test_the_least_error_wins(study, monkeypatch, tmp_path):
    """Issue 12: the search over a counting recipe kept the trial with the highest error."""

    def train(data, *, recipe, out, seed, progress, **options):
        return SimpleNamespace(score=lambda: {"mae": {"value": recipe.members[0].weight}})

    monkeypatch.setattr(module.api, "train", train)
    space = {"members.*.weight": ("float", 0.0, 2.0, False)}
    best = tune("data", space, recipe=Recipe(), out=tmp_path, trials=4)
    assert best.members[0].weight == 0.5
    assert study.told == [-0.5, -1.0, -1.5, -2.0]


def test_a_killed_search_goes_on_and_ends_as_if_undisturbed(monkeypatch, tmp_path):
    """With the real optuna: its later proposals rest on what the earlier trials gave."""
    pytest.importorskip("optuna")
    space = {"members.*.weight": ("float", 0.0, 2.0, False)}
    words = {"recipe": Recipe(), "trials": 14, "seed": 3}
    trained, stop = [], {"after": None}

    def train(data, *, recipe, out, seed, resume, progress, **options):
        if len(trained) == stop["after"]:
            (out / "recipe.json").parent.mkdir(parents=True)
            (out / "recipe.json").write_text("begun")
            raise KeyboardInterrupt
        assert resume == (out / "recipe.json").is_file()
        trained.append(recipe.members[0].weight)
        if 0.9 < trained[-1] < 1.0:
            raise TransectError("unlucky.")
        return SimpleNamespace(score=lambda: {"mae": {"value": abs(trained[-1] - 0.3)}})

    monkeypatch.setattr(module.api, "train", train)
    calm = tune("data", space, out=tmp_path / "calm", **words)
    undisturbed, stop["after"] = list(trained), 12
    trained.clear()
    with pytest.raises(KeyboardInterrupt):
        tune("data", space, out=tmp_path / "out", **words)
    with pytest.raises(TransectError, match=r"already holds a search\. Add --resume"):
        tune("data", space, out=tmp_path / "out", **words)
    with pytest.raises(TransectError, match="over other values, of another recipe or seed"):
        tune("data", space, out=tmp_path / "out", resume=True, **{**words, "seed": 4})
    stop["after"] = None
    best = tune("data", space, out=tmp_path / "out", resume=True, **words)
    assert trained == undisturbed
    assert best == calm
    assert (tmp_path / "out/tune.json").read_text() == (tmp_path / "calm/tune.json").read_text()


def test_a_search_whose_record_was_changed_is_refused(study, monkeypatch, tmp_path):
    def train(data, *, recipe, out, seed, progress, **options):
        return SimpleNamespace(score=lambda: {"mae": {"value": 1.0}})

    monkeypatch.setattr(module.api, "train", train)
    space = {"members.*.weight": ("float", 0.0, 2.0, False)}
    tune("data", space, recipe=Recipe(), out=tmp_path, trials=2)
    noted = (tmp_path / "tune.json").read_text()
    (tmp_path / "tune.json").write_text(noted.replace("0.5", "0.25"))
    study.__init__()
    with pytest.raises(TransectError, match=r"trial 0 of .* had other values"):
        tune("data", space, recipe=Recipe(), out=tmp_path, trials=2, resume=True)


def test_a_wrong_field_fails_before_training(study, tmp_path):
    with pytest.raises(TransectError, match="weight"):
        tune("d", {"members.*.weigth": ("choice", 1.0)}, recipe=Recipe(), out=tmp_path)


def test_a_search_in_which_every_trial_fails_says_why(tmp_path, monkeypatch):
    def refuse(*words, **options):
        raise TransectError("the pictures are gone.")

    fake = SimpleNamespace(
        logging=SimpleNamespace(set_verbosity=lambda level: None, WARNING=0),
        create_study=lambda **options: SimpleNamespace(
            ask=lambda: SimpleNamespace(), tell=lambda *words, **options: None
        ),
        samplers=SimpleNamespace(TPESampler=lambda **options: None),
        trial=SimpleNamespace(TrialState=SimpleNamespace(FAIL=0)),
    )
    monkeypatch.setitem(sys.modules, "optuna", fake)
    monkeypatch.setattr(module.api, "train", refuse)
    with pytest.raises(TransectError, match=r"all 2 trials failed; the last one: the pictures"):
        tune("data", {}, recipe=Recipe(), out=tmp_path, trials=2)
