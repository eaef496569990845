import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.test_engine import contents
from transect.errors import TransectError
from transect.recipe import Stage
from transect.train.engine import fit
from transect.train.mining import (
    PairBatches,
    PairSchedule,
    derangements,
    mine_negatives,
    noise_at,
    random_negatives,
)
from transect.train.plan import StagePlan


def similar(count, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 8))
    return (vectors @ vectors.T).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(4, 30), st.integers(1, 4), st.sampled_from([0.0, 1.0, 1e3])
)
def test_mined_pairs_keep_their_promises(seed, count, blocks, noise):
    rng = np.random.default_rng(seed)
    identities = rng.integers(0, max(2, count // 2), count)
    partners = mine_negatives(
        similar(count, seed), identities, noise=noise, epochs=3, rng=rng, blocks=blocks
    )
    seen = set()
    for row in partners:
        left = np.flatnonzero(row >= 0)
        right = row[left]
        assert len(set(right)) == len(right)  # once on each side
        assert (identities[left] != identities[right]).all()  # never one identity, so no self-pair
        pairs = {frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}
        assert not pairs & seen  # never again within the block of epochs
        seen |= pairs


def test_every_item_has_a_partner_when_there_are_enough():
    partners = mine_negatives(
        similar(40), np.arange(40) // 2, noise=0, epochs=5, rng=np.random.default_rng(0)
    )
    assert (partners >= 0).all()


def test_without_noise_the_first_pairs_are_the_best_assignment():
    scores = np.array([[9, 1, 5, 0], [1, 9, 0, 5], [5, 0, 9, 1], [0, 5, 1, 9]], np.float32)
    partners = mine_negatives(
        scores, np.array([0, 1, 2, 3]), noise=0, epochs=2, rng=np.random.default_rng(0)
    )
    assert partners.tolist() == [[2, 3, 0, 1], [1, 0, 3, 2]]


def test_noise_makes_pairs_easier_and_blocks_lose_little():
    scores, identities = similar(160), np.arange(160) // 2

    def mean(noise, blocks=1):
        rng = np.random.default_rng(0)
        row = mine_negatives(scores, identities, noise=noise, epochs=1, rng=rng, blocks=blocks)[0]
        left = np.flatnonzero(row >= 0)
        return scores[left, row[left]].mean()

    hardest, easier, chance = mean(0), mean(10), mean(1000)
    assert hardest > easier > chance
    assert 0.75 * hardest < mean(0, blocks=4) < hardest


def test_derangements_pair_every_item_with_another_of_its_identity():
    identities = np.array([0, 1, 1, 2, 2, 2, 2, 3])
    for seed in range(20):
        pairs = derangements(identities, np.random.default_rng(seed))
        assert (pairs.left != pairs.right).all()
        assert (identities[pairs.left] == identities[pairs.right]).all()
        assert sorted(pairs.left) == sorted(pairs.right) == [1, 2, 3, 4, 5, 6]
    assert len(derangements(np.arange(3), np.random.default_rng(0))) == 0


def test_random_partners_are_of_other_identities():
    identities = np.array([0] * 6 + [1] * 6 + [2] * 2)
    partners = random_negatives(identities, epochs=10, rng=np.random.default_rng(0))
    known = partners >= 0
    assert known.mean() > 0.9
    assert (identities[partners] != identities)[known].all()


def test_noise_falls_by_a_constant_factor_or_to_zero():
    assert noise_at((1000.0, 10.0), 0.5) == pytest.approx(100)
    assert noise_at((10.0, 0.0), 0.5) == 5


def test_scores_are_asked_for_once_per_reuse():
    asked = []

    def scores():
        asked.append(1)
        return similar(12)

    stage = Stage(mining="lap", mining_reuse=3, epochs=7)
    schedule = PairSchedule(np.arange(12) // 2, stage, seed=0)
    for epoch in range(7):
        schedule.prepare(epoch, scores)
        pairs = schedule.pairs(epoch)
        assert pairs.same.tolist()[:4] == [0, 1, 0, 1]
        assert len(pairs) == schedule.length == 24
    assert len(asked) == 3


def test_a_run_of_mined_pairs_resumes_in_the_middle_of_a_block(tmp_path):
    data = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    stage = Stage(epochs=6, mining="lap", mining_reuse=4, mining_noise=(1.0, 0.1))

    def train(folder, stop=None):
        def make(pairs, rngs):
            return {
                "a": data[pairs.left], "b": data[pairs.right], "y": torch.from_numpy(pairs.same)
            }  # fmt: skip

        def scores(model):
            out = model(data)
            return (out @ out.T).numpy()

        def step(model, batch, progress):
            if stop is not None and progress > stop:
                raise KeyboardInterrupt
            logit = (model(batch["a"]) * model(batch["b"])).sum(1)
            return torch.nn.functional.binary_cross_entropy_with_logits(logit, batch["y"]), {}

        schedule = PairSchedule(np.arange(16) // 2, stage, seed=0)
        batches = PairBatches(schedule, make, scores, batch=8, seed=0)
        return fit(
            lambda: torch.nn.Linear(3, 4), [StagePlan(stage, batches, step)], folder=folder, seed=0
        )

    train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", stop=0.4)
    train(tmp_path / "broken")
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")


def test_mistakes_are_named():
    with pytest.raises(TransectError, match="Did you mean 'lap"):
        PairSchedule(np.arange(4), Stage(mining="lapp"), seed=0)
    with pytest.raises(TransectError, match="two identities"):
        PairSchedule(np.zeros(4, int), Stage(mining="lap"), seed=0)
    with pytest.raises(TransectError, match=r"scores must be \(4, 4\)"):
        mine_negatives(similar(3), np.arange(4), noise=0, epochs=1, rng=np.random.default_rng(0))
