import numpy as np

from transect.matching.features import Keypoints
from transect.matching.lnbnn import lnbnn_scores


def holding(vectors):
    vectors = np.asarray(vectors, np.float32)
    line = np.ones(len(vectors), np.float32)
    return Keypoints(np.ones((len(vectors), 2), np.float32), vectors, line, line, line, (9, 9))


def made(rng, count):
    vectors = rng.random((count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow_lnbnn(query, gallery, identities, k, norm):
    """Votes by the definition, one descriptor after another."""
    table = np.concatenate([g.descriptors for g in gallery])
    names = np.repeat(identities, [len(g) for g in gallery])
    scores = np.zeros(max(identities) + 1)
    for vector in query.descriptors:
        distance = np.linalg.norm(table - vector, axis=1)
        order = np.argsort(distance)
        limit = distance[order[k + norm - 1]]
        voted = set()
        for row in order[:k]:
            if names[row] not in voted:
                scores[names[row]] += limit - distance[row]
                voted.add(names[row])
    return scores


def test_scores_equal_the_definition():
    rng = np.random.default_rng(0)
    gallery = [holding(made(rng, n)) for n in (7, 9, 5, 8)]
    queries = [holding(made(rng, 6)), holding(made(rng, 0))]
    identities = np.array([0, 1, 1, 2])
    found = lnbnn_scores(queries, gallery, identities)
    assert np.allclose(found[0], slow_lnbnn(queries[0], gallery, [0, 1, 1, 2], 4, 1), atol=1e-4)
    assert (found[1] == 0).all()


def test_small_blocks_give_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    gallery = [holding(made(rng, 9)) for _ in range(5)]
    queries = [holding(made(rng, 6))]
    whole = lnbnn_scores(queries, gallery, np.arange(5))
    monkeypatch.setattr("transect.matching.lnbnn.ROWS_PER_BLOCK", 4)
    assert np.allclose(lnbnn_scores(queries, gallery, np.arange(5)), whole, atol=1e-6)


def test_the_own_encounter_takes_no_part():
    rng = np.random.default_rng(2)
    gallery = [holding(made(rng, 8)) for _ in range(4)]
    query = [gallery[0]]
    groups = np.arange(4)
    everything = lnbnn_scores(query, gallery, groups)
    apart = lnbnn_scores(query, gallery, groups, query_groups=np.array([0]), gallery_groups=groups)
    assert everything[0].argmax() == 0
    assert apart[0, 0] == 0


def test_the_same_individual_scores_highest(keypoints):
    scores = lnbnn_scores(keypoints[4:], keypoints[:4], np.arange(4))
    assert scores.argmax(axis=1).tolist() == [0, 1]


def test_an_empty_gallery_scores_nothing(keypoints):
    assert lnbnn_scores(keypoints[:1], [], np.zeros(0, int)).shape == (1, 0)
    few = lnbnn_scores(keypoints[:1], [holding(np.ones((1, 128)) / 128**0.5)], np.array([0]))
    assert (few == 0).all()
