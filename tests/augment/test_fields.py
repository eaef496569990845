"""Spreading goes through its nodes, reproduces straight lines, and never folds."""

from __future__ import annotations

import numpy as np
import pytest

from transect.augment.fields import nodes, spread, unfolded


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("length", "step"), [(1, 2), (20, 7), (128, 24), (50, 100)])
def test_lines_are_reproduced_and_nodes_kept(length, step, smooth):
    weights = spread(length, step, smooth)
    assert weights.shape == (length, nodes(length, step))
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)
    at = (np.arange(nodes(length, step)) - 1.0) * step
    assert np.allclose(weights @ at, np.arange(length), atol=1e-3)
    assert np.allclose(weights[::step], np.eye(nodes(length, step))[1 : 1 + len(weights[::step])])


def test_a_steep_field_is_weakened_until_it_does_not_fold():
    rng = np.random.default_rng(0)
    weights = spread(64, 8, True)
    noise = rng.uniform(-30, 30, (2, nodes(64, 8), nodes(64, 8))).astype(np.float32)
    field = unfolded(weights @ noise @ weights.T)
    dx, dy = np.diff(field[0], axis=1)[:-1], np.diff(field[1], axis=0)[:, :-1]
    cross = np.diff(field[0], axis=0)[:, :-1] * np.diff(field[1], axis=1)[:-1]
    assert ((1 + dx) * (1 + dy) - cross).min() > 0
    gentle = field / 2
    assert unfolded(gentle) is gentle
