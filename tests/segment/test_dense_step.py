"""The loss of a stage over all heads: what counts as something there, who sees empty pictures."""

import pytest
import torch

from transect.errors import TransectError
from transect.losses import lovasz
from transect.recipe import Stage
from transect.segment.training import dense_step


class Fixed(torch.nn.Module):
    """A network that answers what it was given."""

    def __init__(self, **outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, x):
        return self.outputs


def batch_of(target):
    return {"image": target, "target": target, "valid": torch.ones_like(target[:, :1])}


def class_target():
    """Two pictures of three planes, background and two classes; class 1 is in the first only."""
    target = torch.zeros(2, 3, 4, 4)
    target[:, 0] = 1
    target[0, 0, 0, 0], target[0, 1, 0, 0] = 0, 1
    return target


def parts_of(stage, kind, target, **outputs):
    step = dense_step(stage, kind)
    model = Fixed(logits=torch.zeros_like(target), **outputs)
    return step(model, batch_of(target), 0.0)[1]


def test_the_empty_head_learns_whether_any_class_is_there():
    stage = Stage(loss="0 * bce", aux=(("empty", "bce"),))
    sure = torch.tensor([[20.0], [-20.0]])  # something, nothing
    assert parts_of(stage, "classes", class_target(), empty=sure)["empty"] < 1e-6
    assert parts_of(stage, "classes", class_target(), empty=-sure)["empty"] > 10


def test_of_instances_the_foreground_decides_and_not_the_soft_centres():
    target = torch.zeros(1, 2, 4, 4)
    target[0, 0, 1, 1], target[0, 1, 1, 1] = 1.0, 0.2
    stage = Stage(loss="0 * bce", aux=(("empty", "bce"),))
    assert parts_of(stage, "instances", target, empty=torch.tensor([[20.0]]))["empty"] < 1e-6


def test_the_pixel_head_learns_on_pictures_of_any_class():
    stage = Stage(loss="0 * bce", aux=(("pixel", "bce"),))
    target = class_target()
    pixel = torch.where(target > 0.5, 20.0, -20.0)
    pixel[1] = -pixel[1]  # wrong where nothing is there: not looked at
    assert parts_of(stage, "classes", target, pixel=pixel)["pixel"] < 1e-6
    assert parts_of(stage, "classes", target, pixel=-pixel)["pixel"] > 10


def test_a_loss_that_skips_empty_pictures_by_itself_divides_as_it_says():
    # Salt 1st place: the mean is over the whole batch, so one salt picture of four weighs a fourth.
    target = torch.zeros(4, 1, 4, 4)
    target[0, 0, :2] = 1
    logits = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    alone = float(lovasz(logits[:1], target[:1]))
    batch = Stage(loss="0 * bce", aux=(("pixel", "lovasz_skip_empty(divide='batch')"),))
    kept = Stage(loss="0 * bce", aux=(("pixel", "lovasz_skip_empty"),))
    plain = Stage(loss="0 * bce", aux=(("pixel", "lovasz"),))
    found = [
        parts_of(stage, "binary", target, pixel=logits)["pixel"] for stage in (batch, kept, plain)
    ]
    assert found == pytest.approx([alone / 4, alone, alone])


def test_a_loss_on_a_head_that_is_not_there_is_refused():
    stage = Stage(name="main", aux=(("empty", "bce"),))
    with pytest.raises(
        TransectError, match=r"stage main has a loss on the head 'empty'.*image_head"
    ):
        parts_of(stage, "binary", torch.zeros(1, 1, 4, 4))
