import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.errors import TransectError
from transect.openset.aggregation import by_encounter, power_mean, prototypes, to_identity


def slow(scores, owners, count, how, level):
    out = np.full((len(scores), count), -np.inf)
    for q in range(len(scores)):
        for name in range(count):
            mine = scores[q, (owners == name) & np.isfinite(scores[q])]
            if not len(mine):
                continue
            if how == "max":
                out[q, name] = mine.max()
            elif how == "mean":
                out[q, name] = mine.mean()
            elif how == "top2":
                out[q, name] = np.sort(mine)[-2:].mean()
            else:
                above = mine[mine >= level]
                total = (above - level + 1e-9).sum()
                out[q, name] = total if len(above) else mine.max() - 1e6
    return out


@pytest.mark.parametrize("how", ["max", "mean", "sum", "top2"])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_identities_equal_the_slow_loop(how, seed):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=(4, 11)), 1)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    owners = rng.integers(-1, 5, 11)
    found = to_identity(scores, owners, 6, how=how, level=0.3)
    assert np.allclose(found, slow(scores, owners, 6, how, 0.3))


def test_an_empty_gallery_and_unknown_names():
    assert (to_identity(np.ones((2, 1)), np.array([-1]), 3) == -np.inf).all()
    with pytest.raises(TransectError, match="Did you mean 'mean'"):
        to_identity(np.ones((1, 1)), np.zeros(1, int), 1, how="mea")


def unit(rows):
    rows = np.asarray(rows, float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_prototype_leaves_out_the_stray_picture():
    vectors = unit([[1, 0.1, 0], [1, -0.1, 0], [1, 0, 0.1], [1, 0, -0.1], [-1, 1, 0]])
    found = prototypes(vectors, np.zeros(5, int), 2)
    assert np.allclose(found[0], [1, 0, 0], atol=1e-6)
    assert (found[1] == 0).all()


def test_a_prototype_of_one_picture_is_that_picture_and_nobody_has_none():
    vectors = unit([[1, 2, 3], [3, 2, 1]])
    assert np.allclose(prototypes(vectors, np.array([1, -1]), 2), [[0, 0, 0], vectors[0]])


def test_the_best_three_quarters_stay_when_all_disagree():
    vectors = np.eye(4)
    found = prototypes(vectors, np.zeros(4, int), 1, rounds=1)
    assert (found[0] > 0).sum() == 3


def test_power_mean_by_hand():
    a, b = np.array([0.25, 1.0]), np.array([0.81, 0.0])
    assert np.allclose(power_mean([a, b], power=1), [0.53, 0.5])
    assert np.allclose(power_mean([a, b], power=0.5), [0.7, 0.5])
    assert np.allclose(power_mean([a, b], weights=[3, 1], power=1), [0.39, 0.75])
    both = np.array([-np.inf, 0.5])
    assert np.isneginf(power_mean([both, both])[0])
    with pytest.raises(TransectError, match="weights"):
        power_mean([a, b], weights=[1])
    with pytest.raises(TransectError, match="at least one"):
        power_mean([])


@pytest.mark.parametrize("how", ["mean", "max", "sum"])
def test_photos_of_an_encounter_are_one_query_in_any_order(how):
    rng = np.random.default_rng(0)
    scores = rng.random((6, 4))
    scores[:, 3] = -np.inf
    names = np.array(["b", "a", "b", "c", "a", "b"])
    joined, found = by_encounter(scores, names, how=how)
    assert found.tolist() == ["a", "b", "c"]
    assert np.allclose(joined[1, :3], getattr(scores[[0, 2, 5], :3], how)(axis=0))
    assert np.isneginf(joined[:, 3]).all()
    order = rng.permutation(6)
    again, _ = by_encounter(scores[order], names[order], how=how)
    assert np.allclose(again, joined)


def test_an_unknown_way_of_joining_is_named():
    with pytest.raises(TransectError, match="encounter"):
        by_encounter(np.ones((1, 1)), np.array(["a"]), how="median")
