import dataclasses

import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.recipe import Augment, Geometry, Stage
from transect.train.dense import DenseBatches, DenseSource
from transect.train.mixed import MixedBatches
from transect.types import Sample


def source(shapes=((60, 80), (40, 50)), points=None):
    """Pictures whose grey value is their number and whose target is the pixel's own column."""
    images = [np.full((*shape, 1), 10 * (i + 1), np.uint8) for i, shape in enumerate(shapes)]
    labels = [np.tile(np.arange(shape[1], dtype=np.int32), (shape[0], 1)) for shape in shapes]
    points = points or [np.zeros((0, 2), np.float32)] * len(shapes)
    return DenseSource(
        shapes=shapes,
        sample=lambda i: Sample(images[i], labels=labels[i]),
        prepare=lambda pixels, i, window: pixels.astype(np.float32),
        target=lambda s: (
            s.labels[None].astype(np.float32),
            np.ones((1, *s.labels.shape), np.float32),
        ),
        centres=lambda i: points[i],
        coverage=np.array([0.0, 0.5, 0.1][: len(shapes)]),
    )


def batches(src=None, *, geometry=None, pictures=(0, 1), **stage):
    geometry = geometry or Geometry(fit="tile", size_hw=(32, 32))
    stage = Stage(**{"batch": 4, "epochs": 4, **stage})
    return DenseBatches(
        src or source(), pictures, stage=stage, geometry=geometry, augment=Augment(), seed=1
    )


def test_an_epoch_is_the_same_at_every_call_and_another_at_the_next():
    found = batches(steps=2)
    first, again, other = list(found.epoch(0)), list(found.epoch(0)), list(found.epoch(1))
    for a, b in zip(first, again, strict=True):
        assert all((a[name] == b[name]).all() for name in a)
    assert any((a["target"] != b["target"]).any() for a, b in zip(first, other, strict=True))


def test_shapes_and_one_pass_over_the_area():
    found = batches()
    batch = next(iter(found.epoch(0)))
    assert batch["image"].shape == (4, 1, 32, 32)
    assert batch["target"].shape == batch["valid"].shape == (4, 1, 32, 32)
    assert found.steps == int(np.ceil((60 * 80 / 32**2 + 40 * 50 / 32**2) / 4))


def test_windows_lie_inside_the_picture():
    for batch in batches(steps=8).epoch(0):
        columns = batch["target"][:, 0, 0]
        assert (columns[:, 1:] - columns[:, :-1] == 1).all()


def test_a_foreground_draw_holds_its_object():
    points = [np.array([[70.0, 50.0]], np.float32), np.zeros((0, 2), np.float32)]
    found = batches(source(points=points), steps=5, sampler="foreground", sampler_share=1.0)
    for batch in found.epoch(0):
        assert (batch["image"] == 10).all()  # the picture with the object
        assert ((batch["target"] == 70).flatten(1).any(1)).all()


def test_object_draws_follow_the_number_of_objects():
    many = np.random.default_rng(0).uniform(5, 35, (99, 2)).astype(np.float32)
    points = [many, many[:1]]
    found = batches(source(points=points), steps=50, sampler="object", sampler_share=1.0)
    seen = np.concatenate([batch["image"][:, 0, 0, 0].numpy() for batch in found.epoch(0)])
    assert np.mean(seen == 10) > 0.95


def test_whole_pictures_are_padded_and_the_border_does_not_count():
    geometry = Geometry(fit="whole", size_hw=(64, 96), border="zero")
    found = batches(geometry=geometry, pictures=(0,), steps=1, batch=1)
    batch = next(iter(found.epoch(0)))
    assert batch["image"].shape == (1, 1, 64, 96)
    assert batch["valid"].sum() == 60 * 80
    padded = batches(geometry=geometry, pictures=(0,), steps=1, batch=1, loss_on="padded")
    assert next(iter(padded.epoch(0)))["valid"].sum() >= 60 * 80


def test_a_stage_may_change_the_size():
    assert next(iter(batches(size_hw=(16, 24)).epoch(0)))["image"].shape[-2:] == (16, 24)


def test_a_curriculum_begins_with_the_easy_pictures():
    src = source(shapes=((40, 40),) * 3)
    src = dataclasses.replace(src, coverage=np.array([0.9, 0.5, 0.0]))
    found = batches(src, pictures=(0, 1, 2), steps=20, epochs=10, curriculum="large_first")
    early = {float(v) for b in found.epoch(0) for v in b["image"][:, 0, 0, 0]}
    late = {float(v) for b in found.epoch(9) for v in b["image"][:, 0, 0, 0]}
    assert early == {10.0}
    assert late == {10.0, 20.0, 30.0}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_balanced_draws_even_out_coverage(share):
    shapes = ((40, 40),) * 20
    src = dataclasses.replace(source(shapes=shapes), coverage=np.array([0.0] * 19 + [0.9]))
    found = batches(src, pictures=range(20), steps=100, sampler="coverage", sampler_share=share)
    seen = np.concatenate([batch["image"][:, 0, 0, 0].numpy() for batch in found.epoch(0)])
    rare = np.mean(seen == 200)
    assert rare == pytest.approx(0.5 if share else 0.05, abs=0.08)


@pytest.mark.parametrize("fit", ["tile", "whole"])
def test_planes_reach_the_input_moved_as_the_pixels_were_and_keep_their_values(fit):
    ramp = np.tile(np.arange(48, dtype=np.uint8), (48, 1))[..., None]
    src = dataclasses.replace(
        source(shapes=((48, 48),)),
        sample=lambda i: Sample(ramp, planes=ramp, labels=ramp[..., 0].astype(np.int32)),
        prepare=lambda pixels, i, window, planes: np.dstack([pixels, planes]).astype(np.float32),
    )
    found = DenseBatches(
        src,
        (0,),
        stage=Stage(batch=4, steps=4),
        geometry=Geometry(fit=fit, size_hw=(32, 32)),
        augment=Augment(hflip=0.5, invert=1.0, colour_p=1.0),
        seed=1,
    )
    falling = 0
    for batch in found.epoch(0):
        pixels, planes = batch["image"][:, 0], batch["image"][:, 1]
        assert (pixels == 255 - planes).all()  # inverted; the plane is not
        falling += int((planes[:, 0, 0] > planes[:, 0, -1]).sum())
    assert 0 < falling < 16


class Blind(torch.nn.Module):
    """Sure of background everywhere: wrong where there is foreground."""

    def __init__(self):
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(-4.0))

    def forward(self, x):
        return {"logits": self.level + 0 * x[:, :1]}


def test_a_second_round_draws_the_pictures_that_the_model_gets_wrong():
    blank, full = np.zeros((40, 40), np.int32), np.ones((40, 40), np.int32)
    src = dataclasses.replace(
        source(shapes=((40, 40),) * 4),
        sample=lambda i: Sample(
            np.full((40, 40, 1), 10 * i, np.uint8), labels=full if i == 2 else blank
        ),
        coverage=np.array([0.0, 0.0, 1.0, 0.0]),
    )

    def share_of_hard(found):
        drawn = torch.cat([batch["image"] for batch in found.epoch(0)])[:, 0, 0, 0]
        return float((drawn == 20).float().mean())

    found = batches(src, pictures=range(4), sampler="hard", steps=50)
    assert 0.15 < share_of_hard(found) < 0.35
    found.prepare(Blind().eval(), 0)
    hard = share_of_hard(found)
    assert hard > 0.9
    mixed = MixedBatches(batches(src, pictures=range(4), sampler="hard", steps=50), found)
    mixed.prepare(Blind().eval(), 0)
    assert next(iter(mixed.epoch(0)))["image"].shape[0] == 8
    half = batches(src, pictures=range(4), sampler="hard", sampler_share=0.5, steps=50)
    half.prepare(Blind().eval(), 0)
    assert 0.3 < share_of_hard(half) < hard
    even = batches(src, pictures=range(4), steps=50)
    even.prepare(Blind().eval(), 0)
    assert share_of_hard(even) < 0.35


def values(found, epoch=0):
    """The picture of every draw, as grey value."""
    return np.concatenate([batch["image"][:, 0, 5, 5].numpy() for batch in found.epoch(epoch)])


def test_a_class_in_one_picture_of_fifty_is_drawn_as_its_share_says():
    rare = np.array([[20.0, 20.0]], np.float32)
    src = dataclasses.replace(
        source(shapes=((40, 40),) * 20, points=[rare] * 20),
        coverage=np.ones(20),
        classes=lambda i: np.array([int(i == 7)]),
    )
    found = batches(src, pictures=range(20), steps=100, sampler="class_aware", sampler_share=1.0)
    assert np.mean(values(found) == 80) == pytest.approx(0.5, abs=0.08)
    half = batches(src, pictures=range(20), steps=100, sampler="class_aware", sampler_share=0.5)
    assert np.mean(values(half) == 80) == pytest.approx(0.25 + 0.5 / 20, abs=0.08)


def test_a_class_aware_window_holds_an_object_of_its_class():
    points = [np.array([[10.0, 10.0], [70.0, 50.0]], np.float32)] * 2
    src = dataclasses.replace(
        source(shapes=((60, 80),) * 2, points=points), classes=lambda i: np.array([0, 1])
    )
    found = batches(src, steps=20, sampler="class_aware", size_hw=(16, 16))
    seen = [float(row.max()) for batch in found.epoch(0) for row in batch["target"]]
    right = np.array(seen) >= 70
    assert np.mean(right) == pytest.approx(0.5, abs=0.15)


def test_one_pass_is_every_whole_picture_once():
    src = dataclasses.replace(source(shapes=((40, 40),) * 12), coverage=np.zeros(12))
    found = batches(src, geometry=Geometry(fit="whole", size_hw=(64, 64)), pictures=range(12))
    assert found.steps == 3
    for epoch in (0, 1):
        assert sorted(values(found, epoch)) == [10.0 * (i + 1) for i in range(12)]


def test_one_pass_is_every_tile_of_larger_pictures():
    src = dataclasses.replace(source(shapes=((64, 96), (32, 32))), coverage=np.zeros(2))
    found = batches(src, batch=7)
    assert found.steps == 1
    assert sorted(values(found)) == [10.0] * 6 + [20.0]


def test_weighted_draws_follow_the_weights():
    src = dataclasses.replace(
        source(shapes=((40, 40),) * 2), coverage=np.zeros(2), weights=np.array([3.0, 1.0])
    )
    found = batches(src, steps=200, sampler="weighted")
    assert np.mean(values(found) == 10) == pytest.approx(0.75, abs=0.06)
    even = batches(src, steps=200)
    assert np.mean(values(even) == 10) == 0.5


def test_the_surveys_weights_go_before_every_draw():
    src = dataclasses.replace(
        source(shapes=((40, 40),) * 2), coverage=np.zeros(2), image_weights=np.array([3.0, 1.0])
    )
    found = batches(src, steps=200)
    assert np.mean(values(found) == 10) == pytest.approx(0.75, abs=0.06)


def test_an_oversampled_epoch_is_as_long_as_its_rarest_class_makes_it():
    rare = np.array([[20.0, 20.0]], np.float32)
    src = dataclasses.replace(
        source(shapes=((40, 40),) * 20, points=[rare] * 20),
        coverage=np.ones(20),
        classes=lambda i: np.array([int(i == 7)]),
    )
    found = batches(
        src, pictures=range(20), sampler="oversample", per_identity=9,
        geometry=Geometry(fit="tile", size_hw=(40, 40)),
    )  # fmt: skip
    assert found.steps == 7
    assert np.bincount((values(found) / 10).astype(int), minlength=21)[1:].tolist() == [
        9 if i == 7 else 1 for i in range(20)
    ]


def test_what_a_sampler_lacks_is_said_before_training():
    with pytest.raises(TransectError, match="needs the labels"):
        batches(sampler="identity", per_identity=2)
    with pytest.raises(TransectError, match="Did you mean 'foreground'"):
        batches(sampler="forground")
