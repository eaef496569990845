"""Batches of two sources side by side."""

import torch

from transect.train.mixed import MixedBatches, UnlabelledBatches, shares_of


class Constant:
    def __init__(self, value, steps, size):
        self.value, self.steps, self.size = value, steps, size

    def epoch(self, epoch):
        for step in range(self.steps):
            yield {"image": torch.full((self.size, 1), self.value + 10.0 * epoch + step)}


def test_shares_leave_one_of_each():
    assert shares_of(16, 0.5) == (8, 8)
    assert shares_of(4, 0.0) == (3, 1)
    assert shares_of(4, 1.0) == (1, 3)


def test_mixed_batches_hold_both_and_last_as_long_as_the_first():
    mixed = MixedBatches(Constant(0, 3, 2), Constant(100, 2, 1))
    batches = list(mixed.epoch(0))
    assert mixed.steps == len(batches) == 3
    assert [batch["image"][:, 0].tolist()[:2] for batch in batches] == [[0, 0], [1, 1], [2, 2]]
    assert all(len(batch["image"]) == 3 for batch in batches)
    assert torch.equal(batches[2]["image"], list(mixed.epoch(0))[2]["image"])


def test_unlabelled_pictures_come_beside():
    batch = next(iter(UnlabelledBatches(Constant(0, 1, 2), Constant(5, 1, 3)).epoch(0)))
    assert batch["unlabelled"].shape == (3, 1)
    assert batch["image"].shape == (2, 1)
