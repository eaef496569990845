import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from transect.catalogue.clustering import fit_grouping_level, group_unknowns
from transect.errors import TransectError


def cosines(seed, people=12, each=5, noise=0.35):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 24))
    rows = np.repeat(centres, each, axis=0) + noise * rng.normal(size=(people * each, 24))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T, np.repeat(np.arange(people), each)


@pytest.mark.parametrize("how", ["average", "graph"])
def test_new_individuals_are_found_at_the_level_of_known_ones(how):
    known, names = cosines(0)
    level, score = fit_grouping_level(known, names, how=how)
    assert score > 0.9
    fresh, truth = cosines(1)
    assert adjusted_rand_score(truth, group_unknowns(fresh, level, how=how)) > 0.8


def test_groups_are_numbered_by_first_appearance():
    table = np.array([[1, 0, 0.9], [0, 1, 0], [0.9, 0, 1.0]])
    assert group_unknowns(table, 0.5).tolist() == [0, 1, 0]
    assert group_unknowns(table, 0.95).tolist() == [0, 1, 2]


def test_a_burst_needs_less_to_stay_together():
    table = np.array([[1, 0.3], [0.3, 1]])
    assert group_unknowns(table, 0.5).tolist() == [0, 1]
    assert group_unknowns(table, 0.29, encounters=["e", "e"]).tolist() == [0, 0]
    three = np.array([[1, 0.45, 0.55], [0.45, 1, 0.55], [0.55, 0.55, 1]])
    assert group_unknowns(three, 0.51).tolist() == [0, 1, 0]
    assert group_unknowns(three, 0.51, encounters=["e", "e", None]).tolist() == [0, 0, 0]


def test_few_photos_and_unknown_methods():
    assert group_unknowns(np.ones((1, 1)), 0.5).tolist() == [0]
    assert group_unknowns(np.ones((0, 0)), 0.5).tolist() == []
    with pytest.raises(TransectError, match="average, graph"):
        group_unknowns(np.ones((2, 2)), 0.5, how="kmeans")
