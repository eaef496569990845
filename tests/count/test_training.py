"""What ranks the epochs of a counting network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.count.conftest import TINY
from transect.count.training import Task, _validation, slope_error
from transect.train.dense import DenseSource
from transect.types import Sample

DOTS = np.array([[8, 8, 0], [30, 8, 0], [8, 30, 0], [50, 50, 0]], np.float32)


class Shown(nn.Module):
    """Draws what the image shows, and no more than ``share`` of it."""

    def __init__(self, share: float, noise: float = 0.0) -> None:
        super().__init__()
        self.share, self.noise = share, noise

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        seed = torch.Generator().manual_seed(0)
        noise = self.noise * torch.rand(len(image), 1, 1, 1, generator=seed)
        return {"logits": torch.logit((self.share * image + noise).clamp(1e-6, 1 - 1e-6))}


def source() -> DenseSource:
    """Photos with 1 to 4 dots, each a bright square of nine pixels."""

    def sample(i: int) -> Sample:
        pixels = np.zeros((64, 64, 1), np.uint8)
        for x, y, _ in DOTS[: i + 1].astype(int):
            pixels[y - 1 : y + 2, x - 1 : x + 2] = 1
        return Sample(pixels, points=DOTS[: i + 1])

    return DenseSource(
        shapes=[(64, 64)] * 4,
        sample=sample,
        prepare=lambda pixels, i, window: pixels.astype(np.float32),
        target=Task.of(TINY, 1).planes,
        centres=lambda i: DOTS[: i + 1, :2],
        coverage=np.arange(1.0, 5.0),
    )


def test_epochs_are_ranked_by_the_error_of_their_counts_not_by_their_loss():
    look = _validation(source(), TINY.members[0], Task.of(TINY, 1), range(4), "cpu")
    faint, wrong = look(Shown(0.05)), look(Shown(0.9, noise=0.1))
    # Faint maps have the larger loss, and their sums are right up to a factor.
    assert faint["minus_mae"] == pytest.approx(0, abs=0.05)
    assert wrong["minus_mae"] < -0.3


def test_the_error_is_that_of_all_maps_together_by_hand():
    sums = np.array([[1.0, 0.0], [2.0, 1.0]])
    dots = np.array([[2.0, 1.0], [4.0, 2.0]])
    # Slopes are 2 for the first map, 2 for the second: errors are 1 and 0.
    assert slope_error(sums, dots) == pytest.approx(0.5)
    assert slope_error(np.zeros((2, 1)), np.array([[3.0], [1.0]])) == 2.0
