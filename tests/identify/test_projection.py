import numpy as np
import pytest

from transect.errors import TransectError
from transect.identify.embedding import unit
from transect.identify.projection import fit_projection, load_projection, save_projection


def photos_of_people(people=60, each=4, seed=0):
    """Vectors that differ between people in 5 directions, and far more within in 5 others."""
    rng = np.random.default_rng(seed)
    own = np.repeat(rng.normal(size=(people, 5)), each, axis=0)
    nuisance = 4 * rng.normal(size=(people * each, 5))
    noise = 0.1 * rng.normal(size=(people * each, 10))
    vectors = np.concatenate([own, nuisance], axis=1) + noise
    return unit(vectors)[:, None], np.repeat(np.arange(people), each)


def nearest_is_right(vectors, label):
    table = vectors @ vectors.T
    np.fill_diagonal(table, -np.inf)
    return (label[table.argmax(axis=1)] == label).mean()


def test_what_differs_within_individuals_is_shrunk():
    copies, label = photos_of_people()
    projection = fit_projection(copies[:160], label[:160])
    fresh, own = copies[160:], label[160:]
    before = nearest_is_right(fresh[:, 0], own)
    after = nearest_is_right(projection(fresh[:, 0]), own)
    assert after > before + 0.2
    np.testing.assert_allclose(np.linalg.norm(projection(fresh[:, 0]), axis=1), 1, rtol=1e-5)


def test_the_same_photos_give_the_same_map_and_files_keep_it(tmp_path):
    copies, label = photos_of_people(people=6)
    label[:4] = -1  # nobody named these
    first, second = fit_projection(copies, label), fit_projection(copies, label)
    np.testing.assert_array_equal(first.matrix, second.matrix)
    save_projection(tmp_path / "p.npz", first)
    back = load_projection(tmp_path / "p.npz")
    np.testing.assert_array_equal(back.matrix, first.matrix)
    np.testing.assert_array_equal(back.centre, first.centre)


def test_broken_files_are_refused(tmp_path):
    (tmp_path / "p.npz").write_bytes(b"nothing")
    with pytest.raises(TransectError, match="holds no projection"):
        load_projection(tmp_path / "p.npz")
    np.savez(tmp_path / "q.npz", centre=np.zeros(3), matrix=np.zeros((2, 2)))
    with pytest.raises(TransectError, match="wrong shape"):
        load_projection(tmp_path / "q.npz")
