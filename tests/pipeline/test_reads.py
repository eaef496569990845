"""Every field of a recipe is read by each question that accepts it; all others are refused."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from transect import recipe as room
from transect import recipes
from transect.errors import TransectError
from transect.pipeline.resolve import check_settings, refuse_unread, unread_fields
from transect.pipeline.tasks import TASKS, task_of
from transect.recipe import Folds, Geometry, Member, PseudoRound, Recipe, Stage, set_field

SOURCE = Path(__file__).parents[2] / "src" / "transect"
RECORDS = [getattr(room, n) for n in room.__all__ if n[0].isupper() and n != "Phase"]
FIELDS = [f"{r.__name__}.{f.name}" for r in RECORDS for f in dataclasses.fields(r)]
# Rooms whose code acts on a recipe, whatever the question.
SHARED = ("train", "predict", "augment", "models", "losses", "data", "pipeline", "folds", "task")
MORE = {
    "segment": ("segment", "postprocess"),
    "count": ("count", "tabular"),
    "identify": ("identify", "openset", "matching"),
    "classify": ("classify", "ensemble"),
}


def attributes(rooms: tuple[str, ...]) -> set[str]:
    """Names that some code of some rooms takes from an object, or asks for by ``getattr``."""
    found = set()
    for name in rooms:
        path = SOURCE / name
        for file in [path.with_suffix(".py")] if not path.is_dir() else path.rglob("*.py"):
            if file.name == "task.py" and file.parent != SOURCE:
                continue  # where ``reads`` itself stands
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Attribute):
                    found.add(node.attr)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


@pytest.mark.parametrize("question", TASKS)
def test_a_field_that_is_accepted_is_looked_at(question):
    looked_at = attributes((*SHARED, *MORE[question]))
    unread = sorted(f for f in task_of(question).reads if f.partition(".")[2] not in looked_at)
    assert not unread, f"{question} accepts {', '.join(unread)} and no code looks at it"


@pytest.mark.parametrize("question", TASKS)
def test_reads_names_fields_that_there_are(question):
    task = task_of(question)
    assert set(task.reads) <= set(FIELDS)
    assert set(task.choices) <= set(task.reads)


def test_every_field_is_read_by_some_question():
    read = frozenset().union(*(task_of(q).reads for q in TASKS))
    always = {
        "Recipe.name",
        "Recipe.question",
        "Recipe.notes",
        "Recipe.why",
        "Recipe.seed",
        "Recipe.plan",
    }
    assert set(FIELDS) - read - always == set()


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
def test_bundled_recipes_set_nothing_that_is_not_read(name, quick):
    recipe = recipes.load(name, quick=quick)
    refuse_unread(task_of(recipe.question), recipe)


@pytest.mark.parametrize(
    ("question", "path", "value", "hint"),
    [
        ("count", "blend", "vote", "view"),
        ("count", "members.*.stages.*.data", "pseudo", "sampler"),
        ("count", "members.*.stages.*.mining", "lap", ""),
        ("count", "members.*.stages.*.sampler", "banana", "class_aware"),
        ("segment", "members.*.geometry.margin", "0.1", ""),
        ("segment", "members.*.stages.*.keep", "bset", "Did you mean 'best'"),
        ("segment", "members.*.stages.*.start", "bst", "Did you mean 'best'"),
        ("segment", "members.*.augment.policy", "autoaugmnt", "Did you mean 'autoaugment'"),
        ("identify", "members.*.network.neck", "fcbn", "Did you mean 'fc_bn'"),
        ("identify", "members.*.stages.*.mining", "lapp", "Did you mean 'lap'"),
        ("identify", "folds.stratify", '["identity"]', "count"),
        ("identify", "drop_views", "false", "views"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(question, path, value, hint):
    with pytest.raises(TransectError, match="must be one of") as caught:
        check_settings(task_of(question), {path: value})
    assert path.rpartition(".")[2] in str(caught.value)
    assert hint in str(caught.value) or not hint


def test_a_round_of_pseudo_labels_is_refused_where_nobody_makes_any():
    recipe = dataclasses.replace(task_of("count").template(), pseudo=(PseudoRound(confidence=0.5),))
    with pytest.raises(TransectError, match="confidence"):
        refuse_unread(task_of("count"), recipe)


def test_fields_at_their_default_are_no_offence():
    assert unread_fields(task_of("count").template(), task_of("count").reads) == []


def test_the_place_of_an_unread_field_is_named():
    member = Member("wide", geometry=Geometry(margin=0.2), stages=(Stage("first"),))
    recipe = Recipe(members=(member,), folds=Folds(count=3))
    reads = task_of("segment").reads
    assert unread_fields(recipe, reads) == [
        ("recipe.members.wide.geometry", "Geometry.margin", 0.2)
    ]
    assert unread_fields(set_field(recipe, "members.wide.geometry.margin", "0"), reads) == []
