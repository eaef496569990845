"""What always answering new, and a frozen network's cosine, would get."""

import numpy as np

from transect.identify.trivial import nearest_values

KNOWN = np.array([False, False, True])


def values(parts=(0, 0, 0), weights=(1, 1, 1)):
    """Two known photos, ranked first and second; one unknown with low scores."""
    best = np.array([[0.9, 0.5, 0.4, 0, 0], [0.8, 0.7, 0.4, 0, 0], [0.3, 0.2, 0.1, 0, 0]])
    ranks, scores = np.array([0, 1, -1]), np.array([0.9, 0.7, np.nan])
    return nearest_values(ranks, scores, best, KNOWN, np.array(parts), np.array(weights, float))


def test_new_stands_behind_those_that_are_like_enough():
    assert values().tolist() == [1.0, 0.5, 1.0]


def test_its_constant_comes_from_other_parts():
    """Fitted on known photos alone, new stands behind all of them."""
    assert values(parts=(0, 0, 1))[2] < 0.5


def test_weights_move_the_constant():
    assert values(weights=(0, 0, 1))[2] == 1
