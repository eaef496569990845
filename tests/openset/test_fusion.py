import json

import numpy as np
import pytest

from transect.errors import TransectError
from transect.openset.evidence import NOBODY, UNKNOWN, place_of_truth
from transect.openset.fusion import (
    COMPARED,
    HOWS,
    Fusion,
    fit_fusion,
    fuse_out_of_fold,
    gather,
    joined,
    ordered,
)


def two_sources(seed=0, queries=200, names=12):
    """Two noisy views of the truth with different scales; the second says nothing of most."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, names, queries)
    truth[rng.random(queries) < 0.25] = UNKNOWN
    hit = np.arange(names)[None] == truth[:, None]
    cosine = rng.normal(0, 0.1, (queries, names)) + 0.25 * hit
    points = np.where(rng.random((queries, names)) < 0.5, rng.poisson(3, (queries, names)), 0)
    points = points + hit * rng.poisson(9, (queries, names))
    geometry = np.where(rng.random((queries, names)) < 0.7, points.astype(float), -np.inf)
    return {"embedding": cosine, "geometry": geometry}, truth


def right_first(candidates, scores, truth):
    names, _ = ordered(candidates.identities, scores)
    return (place_of_truth(names, truth)[truth >= 0] == 0).mean()


def test_candidates_are_the_union_of_the_best():
    found = gather(
        {"a": np.array([[0.9, 0.1, 0.2]]), "b": np.array([[-np.inf, 5.0, -np.inf]])}, keep=1
    )
    assert found.identities.tolist() == [[0, 1]]
    assert found.scores[0].tolist() == [[0.9, -np.inf], [0.1, 5.0]]
    wide = gather({"a": np.ones((1, 3)), "b": np.ones((1, 3))})
    both = joined([found, wide])
    assert both.identities.tolist() == [[0, 1, NOBODY], [0, 1, 2]]


@pytest.mark.parametrize("how", HOWS[1:])
def test_every_way_beats_its_parts(how):
    sources, truth = two_sources()
    candidates = gather(sources)
    folds = np.arange(len(truth)) % 4
    scores, _, _ = fuse_out_of_fold(candidates, truth, folds, how)
    parts = [
        right_first(candidates, fuse_out_of_fold(candidates, truth, folds, name)[0], truth)
        for name in sources
    ]
    assert right_first(candidates, scores, truth) > max(parts) + 0.02


@pytest.mark.parametrize("how", COMPARED)
def test_weak_sources_are_no_worse_together_than_alone(how):
    """Where the right one is seldom among the ten best, no curve may fall for that."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 50, 240)
    hit = np.arange(50)[None] == truth[:, None]
    candidates = gather({name: rng.normal(0, 1, hit.shape) + 0.6 * hit for name in "ab"})

    def among_five(how):
        scores = fuse_out_of_fold(candidates, truth, np.arange(240) % 4, how)[0]
        names = ordered(candidates.identities, scores)[0]
        return (names[:, :5] == truth[:, None]).any(axis=1).mean()

    alone = max(among_five(name) for name in "ab")
    assert 0.15 < alone < 0.4
    assert among_five(how) > alone - 0.04


def test_closed_compares_the_ranking_of_known_queries():
    """A source that ranks better wins, though another one tells the unknown apart."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 10, 300)
    truth[:200] = UNKNOWN
    hit = np.arange(10)[None] == truth[:, None]
    ranks = rng.normal(0, 1, hit.shape) + 4 * hit + 6 * (truth < 0)[:, None]
    parts = rng.normal(0, 1, hit.shape) + 1.5 * hit - 4 * (truth < 0)[:, None]
    candidates = gather({"ranks": ranks, "parts": parts})
    folds = np.arange(300) % 3
    opened = fuse_out_of_fold(candidates, truth, folds)[2]
    closed = fuse_out_of_fold(candidates, truth, folds, closed=True)[2]
    assert opened["parts"] > opened["ranks"]
    assert closed["ranks"] > closed["parts"] + 0.1


def test_best_is_never_worse_than_its_best_part_out_of_fold():
    sources, truth = two_sources()
    sources["noise"] = np.random.default_rng(1).normal(size=sources["embedding"].shape)
    candidates = gather(sources)
    _, fusion, compared = fuse_out_of_fold(candidates, truth, np.arange(len(truth)) % 4)
    assert set(compared) == {*sources, "mean", "power", "logistic", "lightgbm", "stack"}
    assert fusion.how not in sources  # these two complete each other, which is worth a fusion
    assert compared[fusion.how] >= max(compared[name] for name in sources)


def test_a_fusion_that_gains_nothing_leaves_the_best_source_alone():
    sources, truth = two_sources()
    rng = np.random.default_rng(1)
    sources = {"embedding": sources["embedding"]} | {
        f"noise{k}": rng.normal(size=sources["embedding"].shape) for k in range(2)
    }
    _, fusion, _ = fuse_out_of_fold(gather(sources), truth, np.arange(len(truth)) % 4)
    assert fusion.how == "embedding"


@pytest.mark.parametrize("how", ["geometry", *HOWS[1:]])
def test_json_round_trip(how):
    sources, truth = two_sources(queries=60)
    candidates = gather(sources)
    fusion = fit_fusion(candidates, truth, how)
    back = Fusion.from_json(json.loads(json.dumps(fusion.to_json(), allow_nan=False)))
    assert np.allclose(
        back.score(candidates), fusion.score(candidates), equal_nan=True, rtol=1e-5, atol=1e-5
    )


def test_calibration_keeps_the_ranking_of_a_single_source():
    sources, truth = two_sources()
    candidates = gather({"embedding": sources["embedding"]})
    plain = fit_fusion(candidates, truth, "embedding").score(candidates)
    for how in ("mean", "power"):
        fused = fit_fusion(candidates, truth, how).score(candidates)
        assert np.array_equal(
            ordered(candidates.identities, fused)[0], ordered(candidates.identities, plain)[0]
        )


def test_another_gallery_identity_changes_no_other_score_of_mean():
    sources, truth = two_sources(queries=50)
    fusion = fit_fusion(gather(sources), truth, "mean")
    few = gather({k: v[:, :-1] for k, v in sources.items()})
    more = gather(sources)
    assert np.array_equal(fusion.score(few), fusion.score(more)[:, :-1])


def test_sources_that_say_nothing_are_no_trouble():
    sources, truth = two_sources(queries=30)
    sources["geometry"] = np.full_like(sources["embedding"], -np.inf)
    candidates = gather(sources)
    scores, _, _ = fuse_out_of_fold(candidates, truth, np.arange(30) % 3)
    assert np.isfinite(scores[candidates.identities >= 0]).all()
    empty = gather({"a": np.full((2, 3), -np.inf)})
    assert (empty.identities == NOBODY).all()


@pytest.mark.parametrize("broken", [None, {}, {"how": "x"}])
def test_broken_json_is_refused(broken):
    with pytest.raises(TransectError, match="incomplete"):
        Fusion.from_json(broken)


def test_wrong_names_and_shapes_are_refused():
    sources, truth = two_sources(queries=10)
    with pytest.raises(TransectError, match="Did you mean 'logistic'"):
        fit_fusion(gather(sources), truth, "logistics")
    with pytest.raises(TransectError, match="one shape"):
        gather({"a": np.ones((1, 2)), "b": np.ones((2, 2))})
    fusion = fit_fusion(gather(sources), truth, "mean")
    with pytest.raises(TransectError, match="geometry are missing"):
        fusion.score(gather({"embedding": sources["embedding"]}))
    bad = {**fusion.to_json(), "how": "svm"}
    with pytest.raises(TransectError, match="no model"):
        Fusion.from_json(bad)
    with pytest.raises(TransectError, match="stored fusion"):
        Fusion.from_json({**bad, "how": "meen"})


def test_candidates_that_trees_score_alike_stand_in_the_order_of_their_sources():
    sources, truth = two_sources(queries=400)
    candidates = gather({"cosine": sources["embedding"], "again": sources["embedding"]})
    scores = fit_fusion(candidates, truth, "lightgbm").score(candidates)
    cosine = candidates.scores[..., 0]
    alike = np.abs(scores[:, :, None] - scores[:, None, :]) < 1e-5
    higher = cosine[:, :, None] > cosine[:, None, :] + 1e-3
    assert (alike & higher).sum() > 100
    assert ((scores[:, :, None] > scores[:, None, :]) | ~(alike & higher)).all()
