"""The state is the replay of the journal; undo and redo walk along it."""

from __future__ import annotations

import random

import pytest

from transect.errors import TransectError
from transect.review.marks import Mark
from transect.review.sheets import Change, Edit, Sheets

START = [Mark("p0", "pup", dot=(1.0, 2.0)), Mark("p1", "adult", dot=(3.0, 4.0))]


def edit(*changes, what="x"):
    return Edit(what, changes)


def test_marks_are_the_start_with_what_changed():
    moved, new = Mark("p0", "pup", dot=(9.0, 9.0)), Mark("n0.0", "pup", dot=(5.0, 5.0))
    sheets = Sheets([edit(Change("a", (moved, new), ("p1",)))])
    assert sheets.marks("a", START) == [moved, new]
    assert sheets.marks("b", START) == START
    assert sheets.corrected == {"a"}


def test_accepting_is_no_correction():
    sheets = Sheets([edit(Change("a", accepted=True))])
    assert sheets.looked_at == {"a"}
    assert not sheets.corrected


def test_a_new_action_ends_what_could_be_redone():
    sheets = Sheets([edit(Change("a", accepted=True)), Edit("undo")])
    assert sheets.redoable
    sheets.apply(edit(Change("b", accepted=True)))
    assert not sheets.redoable
    with pytest.raises(TransectError, match="nothing to redo"):
        sheets.apply(Edit("redo"))


def test_nothing_can_be_undone_at_the_beginning():
    with pytest.raises(TransectError, match="nothing to undo"):
        Sheets([Edit("undo")])


@pytest.mark.parametrize("seed", range(20))
def test_random_histories_agree_with_a_list_of_states(seed):
    """The slow, obvious way: keep every state, and go back and forth in the list."""
    rng = random.Random(seed)
    sheets = Sheets()
    states, at = [({}, frozenset())], 0
    log = []
    for number in range(60):
        word = rng.choice(["edit", "edit", "undo", "redo"])
        if word == "undo" and at > 0:
            at -= 1
            log.append(Edit("undo"))
        elif word == "redo" and at < len(states) - 1:
            at += 1
            log.append(Edit("redo"))
        else:
            marks, accepted = dict(states[at][0]), set(states[at][1])
            changes = []
            for image in rng.sample("abc", rng.randint(1, 2)):
                own = {m.id: m for m in marks.get(image, START)}
                put = [Mark(f"n{number}", "pup", dot=(number, 0.0))] if rng.random() < 0.7 else []
                drop = rng.sample(sorted(own), min(len(own), rng.randint(0, 1)))
                yes = rng.choice([None, True, False])
                own |= {m.id: m for m in put}
                own = {id: m for id, m in own.items() if id not in drop}
                marks[image] = list(own.values())
                if yes is not None:
                    (accepted.add if yes else accepted.discard)(image)
                changes.append(Change(image, tuple(put), tuple(drop), yes))
            states = [*states[: at + 1], (marks, frozenset(accepted))]
            at += 1
            log.append(edit(*changes))
        sheets.apply(log[-1])
        again = Sheets(Edit.from_json(e.to_json()) for e in log)
        for one in (sheets, again):
            for image in "abc":
                assert one.marks(image, START) == states[at][0].get(image, START)
            assert one.looked_at == states[at][1]


def test_a_mark_that_comes_and_goes_in_one_action_is_undone_in_the_right_order():
    moved = Mark("p0", "pup", dot=(9.0, 9.0))
    sheets = Sheets([edit(Change("a", (moved,), ("p0",))), Edit("undo")])
    assert sheets.marks("a", START) == START
    assert not sheets.corrected


def test_undoing_everything_leaves_nothing_corrected():
    sheets = Sheets(
        [edit(Change("a", (START[0], Mark("n", "pup")), ("p1",)), Change("b", drop=("p0",)))]
    )
    sheets.apply(Edit("undo"))
    assert not sheets.corrected
