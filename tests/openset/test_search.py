import sys

import numpy as np
import pytest

from transect.errors import TransectError
from transect.openset.search import IndexedGallery, search, search_indexed


def unit(rng, count, dim=48):
    rows = rng.normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("count", [3, 60, 700])
def test_search_is_exact_in_any_precision(monkeypatch, half, count):
    for name, value in (("ROWS", 128), ("QUERIES", 7), ("FIRST", 32)):
        monkeypatch.setattr(f"transect.openset.search.{name}", value)
    rng = np.random.default_rng(count)
    queries, gallery = unit(rng, 20), unit(rng, count)
    gallery[-1] = gallery[0]  # a tie
    queries[0] = gallery[0]
    rows, cosine = search(queries, gallery, half=half)
    scores = np.einsum("qd,gd->qg", queries, gallery)
    expected = np.lexsort((np.tile(np.arange(count), (20, 1)), -scores), axis=1)[:, :5]
    real = expected.shape[1]
    assert np.array_equal(rows[:, :real], expected)
    assert np.allclose(cosine[:, :real], np.take_along_axis(scores, expected, 1), atol=1e-6)
    assert (rows[:, real:] == -1).all()


def test_a_memory_map_and_an_empty_gallery_are_searched(tmp_path):
    gallery = unit(np.random.default_rng(0), 50)
    np.save(tmp_path / "g.npy", gallery)
    rows, _ = search(gallery[:4], np.load(tmp_path / "g.npy", mmap_mode="r"))
    assert rows[:, 0].tolist() == [0, 1, 2, 3]
    rows, cosine = search(gallery[:4], gallery[:0])
    assert (rows == -1).all()
    assert np.isneginf(cosine).all()


def test_vectors_of_different_networks_are_refused():
    with pytest.raises(TransectError, match="different networks"):
        search(np.ones((1, 3)), np.ones((1, 4)))


def test_an_index_finds_nearly_all():
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    centres = unit(rng, 60)
    gallery = centres[np.arange(1200) % 60] + 0.05 * rng.normal(size=(1200, 48))
    gallery = (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).astype(np.float32)
    rows, cosine = search(gallery[:50], gallery)
    indexed = IndexedGallery.build(gallery, lists=20, probes=6)
    found, near = search_indexed(gallery[:50], indexed)
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(rows, found, strict=True)]) > 0.95
    assert np.allclose(near[:, 0], cosine[:, 0], atol=1e-5)


def test_a_missing_faiss_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(TransectError, match=r"transect\[search\]"):
        IndexedGallery.build(np.eye(4, dtype=np.float32))
