"""Spreading goes through its nodes, reproduces straight lines, and never folds."""

from __future__ import annotations

import numpy as np
import pytest

from transect.augment.fields import nodes, piecewise_affine, spread, unfolded


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


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 5), (31, 43)])
def test_a_mesh_of_triangles_agrees_with_one_affine_map_per_triangle(size_hw):
    moves = np.random.default_rng(2).normal(size=(2, 4, 5)).astype(np.float32)
    field = piecewise_affine(moves, size_hw)
    assert field.shape == (2, *size_hw)
    for y in range(size_hw[0]):
        for x in range(size_hw[1]):
            r, c = (3 * y / max(size_hw[0] - 1, 1), 4 * x / max(size_hw[1] - 1, 1))
            i, j = min(int(r), 2), min(int(c), 3)
            first = (r - i) + (c - j) <= 1
            corners = [(i, j + 1), (i + 1, j), (i, j) if first else (i + 1, j + 1)]
            # The affine map through three nodes, at this pixel.
            known = np.array([[a, b, 1] for a, b in corners])
            weights = np.linalg.solve(known.T, [r, c, 1])
            wanted = sum(w * moves[:, a, b] for w, (a, b) in zip(weights, corners, strict=True))
            np.testing.assert_allclose(field[:, y, x], wanted, atol=1e-4)


def test_piecewise_affine_is_drawn_by_its_own_field():
    from transect.augment import augment_sample
    from transect.recipe import Augment
    from transect.types import Sample

    ramp = np.tile(np.arange(64, dtype=np.float32)[:, None], (1, 64))[..., None]

    def moved(spec):
        sample = augment_sample(Sample(ramp), spec, np.random.default_rng(0), out_hw=(64, 64))
        return sample.image[..., 0]

    assert (moved(Augment(piecewise=0.03, piecewise_p=0.0)) == ramp[..., 0]).all()
    bent = moved(Augment(piecewise=0.03, piecewise_p=1.0))
    # Within a triangle the map is affine: second differences vanish but on the edges of triangles.
    second = np.abs(np.diff(bent[8:56, 8:56], n=2, axis=1))
    assert np.abs(bent - ramp[..., 0]).max() > 0.5
    assert (second < 1e-2).mean() > 0.8
