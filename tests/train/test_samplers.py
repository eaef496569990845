from dataclasses import replace

import numpy as np
import pytest

from transect.errors import TransectError
from transect.recipe import Stage
from transect.train.samplers import SAMPLERS, Items, curriculum, mixed, sampler_for

CLASSES = [np.array(c, np.int64) for c in ([], [0], [0, 0, 0, 1], [], [2, 0])]
ITEMS = Items(
    5,
    classes=CLASSES,
    coverage=np.array([0.0, 0.05, 0.2, 0.0, 0.9]),
    labels=np.array([0, 0, 0, 1, 2]),
    weights=np.array([0.0, 1.0, 1.0, 0.0, 2.0]),
    difficulty=np.array([1.0, 5.0, 4.0, 2.0, 3.0]),
)


def drawn(sampler, *, draws=6000, epoch=0, items=ITEMS, **more):
    stage = replace(Stage(epochs=10, batch=8, sampler=sampler), **more)
    return sampler_for(stage, items, seed=0, draws=draws)(epoch)


def shares(index, count=5):
    return np.bincount(index, minlength=count) / len(index)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_repeatable_differs_by_epoch_and_stays_in_range(name):
    first, again, other = (drawn(name, draws=40, epoch=e) for e in (3, 3, 4))
    assert np.array_equal(first.index, again.index)
    assert np.array_equal(first.focus, again.focus)
    assert not np.array_equal(first.index, other.index)
    assert first.index.min() >= 0
    assert first.index.max() < 5
    for item, focus in zip(first.index, first.focus, strict=True):
        assert -1 <= focus < max(1, len(CLASSES[item]))


def test_uniform_draws_every_item_once_per_pass():
    assert sorted(drawn("uniform", draws=10).index) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len(drawn("uniform", draws=None)) == 5
    assert len(drawn("uniform", draws=None, steps=7)) == 56


def test_shares_by_hand():
    assert shares(drawn("weighted").index) == pytest.approx([0, 0.25, 0.25, 0, 0.5], abs=0.02)
    assert shares(drawn("foreground").index) == pytest.approx([0, 1 / 3, 1 / 3, 0, 1 / 3], abs=0.02)
    assert shares(drawn("object").index) == pytest.approx([0, 1 / 7, 4 / 7, 0, 2 / 7], abs=0.02)
    # bins: empty {0, 3}, to .1 {1}, to .25 {2}, above .75 {4}
    assert shares(drawn("coverage").index) == pytest.approx(
        [1 / 8, 0.25, 0.25, 1 / 8, 0.25], abs=0.02
    )


def test_class_aware_gives_every_class_its_share_of_objects():
    draws = drawn("class_aware")
    named = [CLASSES[i][f] for i, f in zip(draws.index, draws.focus, strict=True)]
    assert shares(np.array(named), 3) == pytest.approx([1 / 3] * 3, abs=0.02)
    labels = drawn("class_aware", items=replace(ITEMS, classes=None)).index
    assert shares(ITEMS.labels[labels], 3) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_share_of_the_sampler_leaves_the_rest_uniform():
    index = drawn("weighted", sampler_share=0.5).index
    assert shares(index) == pytest.approx([0.1, 0.225, 0.225, 0.1, 0.35], abs=0.02)


def test_identity_batches_hold_p_identities_with_k_items():
    labels = np.repeat(np.arange(10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    items = Items(len(labels), labels=labels)
    draws = drawn("identity", items=items, batch=12, per_identity=3, draws=120)
    seen = []
    for start in range(0, 120, 12):
        batch = draws.index[start : start + 12]
        names, counts = np.unique(labels[batch], return_counts=True)
        assert len(names) == 4
        assert set(counts) == {3}
        for name in names:
            own = batch[labels[batch] == name]
            assert len(set(own)) == min(3, (labels == name).sum())
        seen += names.tolist()
    assert set(np.bincount(seen)) == {4}


def test_identity_needs_a_batch_that_fits():
    with pytest.raises(TransectError, match="batch=8"):
        drawn("identity", batch=10, per_identity=4)
    with pytest.raises(TransectError, match="sampler_share=1"):
        drawn("identity", sampler_share=0.5)


def test_rare_labels_come_up_to_the_least_number():
    counts = np.bincount(ITEMS.labels[drawn("oversample", draws=None, per_identity=2).index])
    assert counts.tolist() == [3, 2, 2]


def test_without_objects_foreground_is_uniform():
    empty = replace(ITEMS, classes=[np.empty(0, np.int64)] * 5)
    for name in ("foreground", "object", "class_aware"):
        assert sorted(drawn(name, items=empty, draws=5).index) == [0, 1, 2, 3, 4]


def test_curriculum_lets_in_the_easy_first_and_all_from_half():
    assert curriculum(ITEMS.difficulty, 0.0).tolist() == [0, 3]
    assert curriculum(ITEMS.difficulty, 0.5).tolist() == [0, 1, 2, 3, 4]
    early = drawn("uniform", curriculum="easy_first", epoch=0, draws=20).index
    late = drawn("uniform", curriculum="easy_first", epoch=5, draws=20).index
    assert set(early) == {0, 3}
    assert set(late) == {0, 1, 2, 3, 4}


def test_mixed_batches_hold_a_fixed_share_of_pseudo_labels():
    stage = Stage()
    ours = sampler_for(stage, Items(9), seed=0)
    theirs = sampler_for(stage, Items(4), seed=1)
    draws = mixed(ours, theirs, offset=9, share=0.25, batch=4)(2)
    assert len(draws) == 12
    for start in range(0, 12, 4):
        assert (draws.index[start : start + 4] >= 9).sum() == 1
    assert sorted(i for i in draws.index if i < 9) == list(range(9))


@pytest.mark.parametrize(
    ("stage", "items", "words"),
    [
        (Stage(sampler="forground"), ITEMS, "Did you mean 'foreground'"),
        (Stage(curriculum="easy"), ITEMS, "curriculum"),
        (Stage(), Items(0), "nothing to draw"),
        (Stage(sampler="object"), Items(3), "needs the objects"),
        (Stage(sampler="identity"), Items(3), "needs the labels"),
        (Stage(curriculum="easy_first"), Items(3), "needs the difficulty"),
        (Stage(sampler="weighted"), Items(2, weights=np.zeros(2)), "not all zero"),
    ],
)
def test_what_is_missing_is_said_at_once(stage, items, words):
    with pytest.raises(TransectError, match=words):
        sampler_for(stage, items, seed=0)


def test_every_class_of_objects_comes_up_to_the_least_number_of_draws():
    items = replace(ITEMS, labels=None)  # classes: 0 in three items, 1 in one, 2 in one
    draws = drawn("oversample", items=items, draws=None, per_identity=4).index
    assert np.bincount(draws, minlength=5).tolist() == [1, 1, 4, 1, 4]
    assert len(drawn("oversample", items=items, steps=4, draws=None)) == 32


def test_the_surveys_weights_are_followed_wherever_items_are_drawn_by_chance():
    items = replace(ITEMS, weights=None, image_weights=np.array([1.0, 1.0, 0.0, 1.0, 3.0]))
    assert shares(drawn("uniform", items=items).index) == pytest.approx(
        [1 / 6, 1 / 6, 0, 1 / 6, 1 / 2], abs=0.02
    )
    for name in ("weighted", "foreground", "object", "coverage"):
        assert 2 not in drawn(name, items=items).index
    known = replace(items, classes=None, labels=np.array([0, 0, 0, 1, 1]))
    assert shares(drawn("class_aware", items=known).index) == pytest.approx(
        [1 / 4, 1 / 4, 0, 1 / 8, 3 / 8], abs=0.02
    )
    known = replace(items, classes=[np.zeros(1, np.int64)] * 5)
    assert shares(drawn("class_aware", items=known).index) == pytest.approx(
        [1 / 6, 1 / 6, 0, 1 / 6, 1 / 2], abs=0.02
    )
    for name in ("identity", "oversample"):
        with pytest.raises(TransectError, match=r"cannot follow the column weight of images\.csv"):
            drawn(name, items=items)
