import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.errors import TransectError
from transect.identify.folds import fold_truth, identity_folds


def survey(seed, people=40, unknown=20):
    """A long tail: photos in bursts of one encounter."""
    rng = np.random.default_rng(seed)
    names, groups = [], []
    for person in range(people):
        for meeting in range(1 + rng.geometric(0.5) * (person % 2)):
            size = rng.integers(1, 4)
            names += [f"w{person}"] * size
            groups += [f"{person}-{meeting}"] * size
    return names + ["unknown"] * unknown, groups + [None] * unknown


@given(st.integers(0, 500), st.integers(2, 5), st.floats(0, 0.6))
@settings(max_examples=30, deadline=None)
def test_encounters_never_part_and_the_share_is_met(seed, count, share):
    names, groups = survey(seed)
    folds = identity_folds(names, groups, count=count, share_unknown=share, seed=seed)
    assert set(folds.tolist()) == set(range(count))
    for group in set(groups) - {None}:
        rows = [i for i, g in enumerate(groups) if g == group]
        assert len(set(folds[rows].tolist())) == 1
    unknown = asked = 0
    for fold in range(count):
        queries, gallery, truth = fold_truth(names, folds, fold)
        assert not set(queries) & set(gallery)
        unknown += (truth == "unknown").sum()
        asked += len(queries)
    assert asked == len(names)
    assert unknown / asked >= share - 0.05


def test_folds_are_even_and_individuals_are_spread():
    names, groups = survey(3, people=200)
    folds = identity_folds(names, groups, count=5, share_unknown=0.0)
    sizes = np.bincount(folds)
    assert sizes.max() < 1.15 * sizes.min()
    known = [
        n
        for n in set(names)
        if len({g for m, g in zip(names, groups, strict=True) if m == n}) > 1 and n != "unknown"
    ]
    spread = [len(set(folds[[i for i, m in enumerate(names) if m == n]].tolist())) for n in known]
    assert np.mean(np.array(spread) > 1) > 0.97


def test_nothing_is_held_out_when_singletons_are_enough():
    names = ["a"] * 6 + ["b"] * 6 + [f"once{i}" for i in range(8)]
    folds = identity_folds(names, count=3, share_unknown=0.3, seed=1)
    for name in "ab":
        rows = [i for i, n in enumerate(names) if n == name]
        assert np.bincount(folds[rows], minlength=3).tolist() == [2, 2, 2]


def test_individuals_are_held_out_whole_when_none_is_unknown():
    names = [f"w{i}" for i in range(20) for _ in range(6)]
    folds = identity_folds(names, count=4, share_unknown=0.25)
    whole = sum(len(set(folds[i * 6 : i * 6 + 6].tolist())) == 1 for i in range(20))
    assert whole == 5


def test_the_seed_decides():
    names, groups = survey(0)
    one, two = (identity_folds(names, groups, seed=5) for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, identity_folds(names, groups, seed=6))


def test_missing_encounters_are_photos_of_their_own():
    folds = identity_folds(["a"] * 4, [None, float("nan"), "", "e"], count=4, share_unknown=0)
    assert sorted(folds.tolist()) == [0, 1, 2, 3]


def test_too_few_encounters_are_refused():
    with pytest.raises(TransectError, match="at least 5 encounters; the survey has 1"):
        identity_folds(["a", "a"], ["e", "e"])
    with pytest.raises(TransectError, match="Give one per photo"):
        identity_folds(["a", "a"], ["e"], count=2)
