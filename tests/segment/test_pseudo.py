"""Pseudo-labels: the gate by hand, rounds in order, teachers that never saw their fold."""

import dataclasses

import numpy as np
import pytest

from transect.errors import TransectError
from transect.recipe import Member, PseudoRound, Recipe, Stage
from transect.segment.pseudo import (
    Labelled,
    _note,
    as_filled_as,
    check_rounds,
    choose,
    confident_share,
    stages_of_round,
)

RNG = np.random.default_rng(0)


def labelled(name, confidence=1.0, foreground=50, flat=False):
    return Labelled(name, confidence, foreground, 100, flat)


def test_confidence_counts_pixels_outside_the_doubt():
    maps = np.array([[[0.1, 0.5, 0.9, 0.8]]])
    assert confident_share(maps, 0.2, 0.8) == 0.5  # 0.8 itself is not above 0.8


def test_confidence_of_classes_is_of_the_likeliest():
    maps = np.array([[[0.9, 0.4]], [[0.05, 0.3]], [[0.05, 0.3]]])
    assert confident_share(maps, 0.2, 0.8) == 0.5


def test_the_gate_lets_in_what_is_sure_and_sized():
    found = [
        labelled("sure"),
        labelled("unsure", confidence=0.89),
        labelled("flat", flat=True, foreground=0),
        labelled("tiny", foreground=3),
        labelled("full", foreground=95),
        labelled("empty", foreground=0),
    ]
    spec = PseudoRound(confidence=0.9, least_px=5, most_coverage=0.9)
    assert choose(found, spec, RNG) == ("sure", "empty")
    assert "flat" in choose(found, dataclasses.replace(spec, drop_flat=False), RNG)


def test_empties_are_thinned():
    found = [labelled(f"e{i}", foreground=0) for i in range(10)] + [labelled("salt")]
    chosen = choose(found, PseudoRound(empty_share=0.5), np.random.default_rng(1))
    assert len(chosen) == 6
    assert chosen[-1] == "salt"
    assert chosen == choose(found, PseudoRound(empty_share=0.5), np.random.default_rng(1))


def test_a_round_of_nearly_empty_labels_teaches_nothing():
    found = [labelled(f"e{i}", foreground=0) for i in range(96)] + [labelled(n) for n in "abc"]
    sure = [one.name for one in found]
    assert as_filled_as(found, sure, 0.39, RNG) == ()
    note = _note(found, sure, (), 0.39)
    assert "3 of them with an object" in note
    assert "61% hold one" in note
    assert as_filled_as(found, sure, 1.0, RNG) == tuple(sure)  # masks hold nothing either


def test_empty_labels_become_as_rare_as_empty_masks():
    found = [labelled(f"e{i}", foreground=0) for i in range(60)]
    found += [labelled(f"s{i}") for i in range(20)]
    sure = [one.name for one in found]
    chosen = as_filled_as(found, sure, 0.4, RNG)
    assert sum(name.startswith("e") for name in chosen) == 20  # half, a tenth above the masks'
    assert sum(name.startswith("s") for name in chosen) == 20
    assert as_filled_as(found, sure, 0.75, RNG) == tuple(sure)
    assert "40 empty ones are left out" in _note(found, sure, chosen, 0.4)


def test_stages_fall_into_their_rounds():
    member = Member(
        stages=(
            Stage(name="a"),
            Stage(name="b", data="pseudo", round=2),
            Stage(name="c", round=2),
            Stage(name="d", data="mixed"),
        )
    )
    names = [[s.name for s in stages_of_round(member, n)] for n in range(3)]
    assert names == [["a"], ["d"], ["b", "c", "d"]]


@pytest.mark.parametrize(
    ("recipe", "word"),
    [
        (Recipe(members=(Member(stages=(Stage(data="mixed"),)),)), "round 1"),
        (Recipe(members=(Member(stages=(Stage(round=3),)),), pseudo=(PseudoRound(),)), "round 3"),
        (Recipe(pseudo=(PseudoRound(teachers=("nobody",)),)), "nobody"),
        (
            Recipe(
                members=(Member("late", stages=(Stage(round=1),)), Member("main")),
                pseudo=(PseudoRound(teachers=("late",)),),
            ),
            "late",
        ),
    ],
)
def test_rounds_that_contradict_themselves_are_refused(recipe, word):
    with pytest.raises(TransectError, match=word):
        check_rounds(recipe)
