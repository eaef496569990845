import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.recipe import Stage
from transect.train.batches import IndexBatches
from transect.train.samplers import Draws, Items, sampler_for


def make(draws, rngs, fraction):
    noise = [rng.random() for rng in rngs]
    return {"index": torch.from_numpy(draws.index), "noise": torch.tensor(noise)}


def batches(count=11, batch=4, **more):
    sampler = sampler_for(Stage(), Items(count), seed=0)
    return IndexBatches(sampler, make, batch=batch, seed=5, **more)


def flat(batches, epoch, name="noise"):
    return torch.cat([b[name] for b in batches.epoch(epoch)])


def test_same_epoch_same_batches_other_epoch_others():
    assert torch.equal(flat(batches(), 2), flat(batches(), 2))
    assert not torch.equal(flat(batches(), 2), flat(batches(), 3))


def test_random_stream_belongs_to_the_position_not_to_the_batch():
    small, large = batches(12, 2), batches(12, 6)
    assert torch.equal(flat(small, 1), flat(large, 1))
    expected = np.random.default_rng([5, 1, 7]).random()
    assert float(flat(small, 1)[7]) == pytest.approx(expected)


def test_incomplete_last_batch_is_dropped_unless_it_is_the_only_one():
    assert batches().steps == len(list(batches().epoch(0))) == 2
    assert batches(drop_last=False).steps == 3
    assert len(flat(batches(3), 0)) == 3


def test_processes_share_an_epoch_without_overlap():
    whole = batches(16)
    parts = [flat(whole.shard(rank, 2), 0, "index") for rank in (0, 1)]
    assert whole.shard(0, 2).steps == 2
    assert sorted(torch.cat(parts).tolist()) == list(range(16))


def test_empty_epoch_is_refused():
    empty = np.empty(0, np.int64)
    with pytest.raises(TransectError, match="no items"):
        IndexBatches(lambda epoch: Draws(empty, empty), make, batch=2, seed=0)
