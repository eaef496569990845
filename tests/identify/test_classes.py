"""Scores by a network's own classes: right class, mirrored class, snapshots and views averaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.identify.classes import check_classes, class_scores
from transect.identify.embedding import joined_views, unit
from transect.identify.recogniser import Recogniser
from transect.identify.scorers import FoldModel, identity_scores, source_names
from transect.recipe import Embedding, Folds, Geometry, IdentifyDecide, Member, Recipe, Stage

CLASSES, PEOPLE = ("ada", "eve", "odd"), ("ada", "bob", "eve", "odd")


def network(head="cosface", *, flip=True, seed=0):
    torch.manual_seed(seed)
    spec = Embedding(backbone="siamese", head=head, flip_labels=flip, neutral_twin=flip)
    return Recogniser(spec, in_channels=1, counts=(3, 2, 1), pretrained=False).eval()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_probabilities_agree_with_a_slow_loop(flip, binary):
    models = [(network(flip=flip, seed=k), w) for k, w in enumerate((1.0, 3.0))]
    rng = np.random.default_rng(0)
    queries, views = 5, 4 if flip else 3
    raw = [unit(rng.normal(size=(queries, views, 512))) for _ in models]
    joined = [joined_views(v) * np.sqrt(w / 4) for v, (_, w) in zip(raw, models, strict=True)]
    table = class_scores(
        models,
        np.concatenate(joined, axis=1).astype(np.float32),
        CLASSES,
        PEOPLE,
        binary=binary,
        mirrored=flip,
    )
    assert (table[:, 1] == -np.inf).all()  # bob was not among those it was trained on
    for q in range(queries):
        wanted = np.zeros(3)
        for vectors, (model, weight) in zip(raw, models, strict=True):
            for v in range(views):
                weights = torch.nn.functional.normalize(model.head.weight).detach().numpy()
                logits = model.head.scale * weights @ vectors[q, v]
                p = 1 / (1 + np.exp(-logits))
                p = p if binary else np.exp(logits) / np.exp(logits).sum()
                half = p[3:] if flip and v >= 2 else p[:3]
                wanted += half * weight / (4 * views)
        np.testing.assert_allclose(table[q, [0, 2, 3]], wanted, rtol=1e-4)


def recipe(**decide):
    stage = Stage(name="one", loss="ce", epochs=1)
    spec = Embedding(backbone="siamese", head="cosface", flip_labels=True)
    member = Member("net", spec, Geometry(), stages=(stage,))
    chosen = IdentifyDecide(sources=("embedding",), to_identity="classes", **decide)
    return Recipe("r", "identify", (member,), folds=Folds(count=2), decide=chosen)


def test_identities_are_scored_by_classes_where_the_recipe_says_so(monkeypatch):
    plan, model = recipe(), network()
    fold = FoldModel(plan.members[0], (), (3, 2, 1), classes=CLASSES)
    monkeypatch.setattr(FoldModel, "models", lambda self, device: [(model, 1.0)])
    # The middle of eve's class and, mirrored, of her mirrored class.
    middle = torch.nn.functional.normalize(model.head.weight).detach().numpy()[[1, 4]]
    query = joined_views(middle[None]).astype(np.float32)
    scores, owners = np.zeros((1, 1), np.float32), np.array([0])
    by_class = identity_scores(fold, scores, query, list, owners, PEOPLE, plan.decide)
    assert by_class.argmax() == 2
    assert by_class[0, 2] > 0.9
    other = replace(plan.decide, to_identity="max")
    by_photo = identity_scores(fold, scores, query, list, owners, PEOPLE, other)
    assert np.isfinite(by_photo).tolist() == [[True, False, False, False]]


@pytest.mark.parametrize(
    "network_changes", [{"head": "softmax"}, {"head": "none"}, {"project": "lda"}]
)
def test_networks_without_classes_are_refused_before_training(network_changes):
    plan = recipe()
    assert source_names(plan) == ("net",)
    member = replace(plan.members[0], network=replace(plan.members[0].network, **network_changes))
    with pytest.raises(TransectError, match="member net cannot score by classes"):
        source_names(replace(plan, members=(member,)))
    with pytest.raises(TransectError, match=r"needs decide\.sides together"):
        check_classes(plan.members[0], recipe(sides="separate").decide)
