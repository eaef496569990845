"""Galleries too large for one table: blocks and short lists give the answers of the whole."""

import dataclasses

import numpy as np
import pytest

from tests.identify.conftest import TINY, with_decide
from transect.identify import blocks as room
from transect.identify.blocks import JoinedVectors, blocks
from transect.identify.predictor import Features, Scorers, score_queries
from transect.identify.scorers import FoldModel
from transect.openset.evidence import UNKNOWN, largest_columns
from transect.types import Quiet


def world(rng, people=60, each=4, queries=24, dim=16):
    """Whole numbers, so that products are exact however they are summed."""
    centres = rng.integers(-8, 9, (people, dim))
    owners = np.sort(np.arange(people * each) % people)
    known = centres[owners] + rng.integers(-1, 2, (len(owners), dim))
    asked = centres[:queries] + rng.integers(-1, 2, (queries, dim))

    def features(vectors, own):
        rows = np.arange(len(vectors))
        sides = np.array([("left", "", "right")[i % 3] for i in rows], np.str_)
        held = {("frozen", fold): (vectors + fold).astype(np.float32) for fold in (0, 1)}
        return Features(rows, own, sides, held, lambda i: None)

    return features(asked, np.full(queries, UNKNOWN)), features(known, owners)


def scores_of(queries, gallery, **decide):
    member = TINY.members[0]
    models = {member.name: {fold: FoldModel(member, (), ()) for fold in (0, 1)}}
    recipe = with_decide(TINY, sources=("embedding",), **decide)
    scorers = Scorers(
        (member.name,), models, tuple(f"{k:02d}" for k in range(60)), recipe.decide, "cpu"
    )
    return score_queries(scorers, queries, gallery, Quiet()).arrays()


@pytest.mark.parametrize("how", ["max", "mean", "top2", "prototype"])
@pytest.mark.parametrize("sides", ["together", "separate"])
def test_blocks_give_the_answers_of_the_whole_table_bit_for_bit(monkeypatch, how, sides):
    queries, gallery = world(np.random.default_rng(0))
    whole = scores_of(queries, gallery, to_identity=how, sides=sides)
    monkeypatch.setattr(room, "CELLS", 3 * len(gallery))
    steps = [len(mine) for mine, _ in blocks(queries.sides, gallery.sides, sides, [])]
    assert len(steps) > 3
    cut = scores_of(queries, gallery, to_identity=how, sides=sides)
    assert whole.keys() == cut.keys()
    for name, values in whole.items():
        assert values.tobytes() == cut[name].tobytes(), name


def test_prototypes_are_made_once(monkeypatch):
    from transect.identify import predictor

    queries, gallery = world(np.random.default_rng(0))
    made = []
    real = predictor.prototypes
    monkeypatch.setattr(predictor, "prototypes", lambda *a: made.append(1) or real(*a))
    monkeypatch.setattr(room, "CELLS", 1)
    scores_of(queries, gallery, to_identity="prototype", sides="together")
    assert len(made) == 2  # one per fold, not per query


def test_beyond_the_exact_limit_an_index_lists_who_is_compared(monkeypatch):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(1)
    queries, gallery = world(rng, queries=48)
    unit = {
        place: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
        for place, v in gallery.vectors.items()
    }
    asked = {
        place: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
        for place, v in queries.vectors.items()
    }
    gallery, queries = (
        dataclasses.replace(gallery, vectors=unit),
        dataclasses.replace(queries, vectors=asked),
    )
    whole = scores_of(queries, gallery, sides="together")
    monkeypatch.setattr(room, "MOST_EXACT", 100)
    monkeypatch.setattr(room, "LISTED", 40)
    pairs = [(queries.vectors[place], gallery.vectors[place]) for place in sorted(queries.vectors)]
    sizes = [len(theirs) for _, theirs in blocks(queries.sides, gallery.sides, "together", pairs)]
    assert max(sizes) < len(gallery)
    listed = scores_of(queries, gallery, sides="together")
    assert (listed["image_rows"][:, 0] == whole["image_rows"][:, 0]).mean() > 0.95
    first = {
        name: found["scores"][..., 0].max(axis=1) for name, found in (("l", listed), ("w", whole))
    }
    assert np.isclose(first["l"], first["w"], atol=1e-6).mean() > 0.95


def test_a_gallery_that_is_taken_whole_is_not_copied():
    _, gallery = world(np.random.default_rng(0))
    assert gallery.take(np.arange(len(gallery))) is gallery
    assert gallery.take(np.arange(len(gallery))[::-1]) is not gallery


def test_joined_vectors_multiply_to_the_mean_cosine():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(5, 3)).astype(np.float32) for _ in range(2)]
    joined = JoinedVectors(parts)
    assert joined.shape == (5, 6)
    mean = sum(part @ part.T for part in parts) / 2
    assert np.allclose(joined[:5] @ joined[np.arange(5)].T, mean, atol=1e-6)


@pytest.mark.parametrize("keep", [1, 5, 40, 100])
def test_the_largest_columns_are_those_of_a_sort(keep):
    rng = np.random.default_rng(0)
    table = rng.integers(0, 9, (50, 40)).astype(np.float32)  # many equal ones
    table[3] = -np.inf
    table[4, :37] = -np.inf
    expected = np.argsort(-table, axis=1, kind="stable")[:, :keep]
    assert np.array_equal(largest_columns(table, keep), expected)
    table[7, 3] = np.nan
    expected = np.argsort(-table, axis=1, kind="stable")[:, :keep]
    assert np.array_equal(largest_columns(table, keep), expected)


@pytest.mark.parametrize("people", [12, 200])
def test_photos_of_an_encounter_are_joined_as_in_a_table_of_all_individuals(people):
    from types import SimpleNamespace

    from transect.identify.identifier import KEPT, Identifier
    from transect.openset.aggregation import by_encounter
    from transect.openset.evidence import FAR, NOBODY, Evidence, evidence_from_scores
    from transect.openset.fusion import Candidates

    rng = np.random.default_rng(0)
    names = np.array(["b", "a", "b", "c", "a", "b"])
    identities = np.stack([np.sort(rng.permutation(people)[:7]) for _ in names])
    fused = rng.integers(0, 99, identities.shape).astype(np.float64)
    identities[3, 4:], fused[3, 4:] = NOBODY, -np.inf
    candidates = Candidates(identities, fused[..., None], ("one",))
    photos = SimpleNamespace(subjects=[SimpleNamespace(group=n, key="") for n in names])
    before = Evidence(identities, fused)
    known = SimpleNamespace(people=np.arange(people))
    found = Identifier._together(known, photos, candidates, fused, before)
    dense = np.repeat(np.where(identities >= 0, fused, np.inf).min(axis=1)[:, None], people, axis=1)
    rows, columns = np.nonzero(identities >= 0)
    dense[rows, identities[rows, columns]] = fused[rows, columns]
    joined, order = by_encounter(dense, names)
    whole = evidence_from_scores(joined[np.searchsorted(order, names)])
    assert found.scores.shape == whole.scores.shape == (6, min(KEPT, people))
    assert np.array_equal(found.scores, whole.scores)
    real = min(people, 7)  # beyond the candidates all stand at one floor
    assert np.array_equal(found.identities[:, :real], whole.identities[:, :real])
    assert (found.scores > -FAR).all()
