"""The batched form: exact flips, planes that move with the images, decent colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from transect.augment.batched import augment_batch, left_out
from transect.recipe import Augment

EVERYTHING = Augment(
    hflip=0.5,
    vflip=0.5,
    rot90=0.5,
    rotate=30,
    shift=0.1,
    scale=(0.8, 1.3),
    aspect=0.1,
    shear=0.1,
    elastic=4.0,
    elastic_p=0.5,
    perspective=0.1,
    perspective_p=0.5,
    grid=0.1,
    grid_p=0.5,
    barrel=0.1,
    barrel_p=0.5,
    crop=0.1,
    crop_p=0.5,
    brightness=0.2,
    contrast=0.2,
    gamma=0.3,
    hue=0.1,
    saturation=0.5,
    channel_shift=0.1,
    invert=0.2,
    grey=0.2,
    channel_shuffle=0.2,
    noise=0.05,
    noise_p=0.5,
    blur=1.5,
    blur_p=0.5,
    cutout=0.3,
    cutout_p=0.5,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=4, c=3, h=24, w=24):
    return torch.rand(n, c, h, w, generator=generator(9))


def test_nothing_on_changes_nothing():
    images, planes = batch(), batch(c=1)
    out, moved = augment_batch(images, planes, Augment(), generator())
    assert torch.equal(out, images)
    assert torch.equal(moved, planes)


def test_flips_and_quarter_turns_are_copies():
    images = batch(n=64, c=1, h=8, w=8)
    spec = Augment(hflip=0.5, vflip=0.5, rot90=0.75)
    out, moved = augment_batch(images, images, spec, generator())
    assert torch.equal(out, moved)
    seen = set()
    for new, old in zip(out, images, strict=True):
        views = [torch.rot90(v, k, (1, 2)) for v in (old, old.flip(2)) for k in range(4)]
        equal = [i for i, view in enumerate(views) if torch.equal(new, view)]
        assert len(equal) == 1
        seen.update(equal)
    assert len(seen) == 8


def test_sampling_a_flip_is_the_flip():
    """The grid path and the copying path mean the same."""
    images = batch(h=17, w=20)
    spec = Augment(hflip=1.0, vflip=1.0, shift=1e-9)
    out, _ = augment_batch(images, None, spec, generator())
    assert torch.allclose(out, images.flip((2, 3)), atol=1e-5)


@pytest.mark.parametrize("c", [1, 3, 5])
def test_everything_at_once_is_finite_and_in_range(c):
    images = batch(n=6, c=c, h=30, w=22)
    out, planes = augment_batch(images, batch(n=6, c=2, h=30, w=22), EVERYTHING, generator())
    assert out.shape == images.shape
    assert planes.shape == (6, 2, 30, 22)
    assert torch.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1
    assert not torch.equal(out[0], out[1])


def test_planes_follow_the_images():
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    disc = (((x - 20) ** 2 + (y - 26) ** 2) < 100).float().expand(8, 1, 48, 48)
    spec = Augment(
        rotate=40,
        scale=(0.7, 1.4),
        elastic=3,
        elastic_p=1,
        grid=0.2,
        grid_p=1,
        perspective=0.2,
        perspective_p=1.0,
        hflip=0.5,
    )
    out, planes = augment_batch(disc, disc, spec, generator())
    assert torch.equal(out, planes)
    assert out.flatten(1).sum(1).min() > 60
    assert not torch.allclose(out[0], disc[0])


def test_a_turn_goes_by_the_angle_and_about_the_middle():
    """A bar through the middle turns in place: against the second moments of the result."""
    image = torch.zeros(16, 1, 65, 65)
    image[:, :, 31:34, 12:53] = 1
    out, _ = augment_batch(image, None, Augment(rotate=45, border="zero"), generator(1))
    y, x = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing="ij")
    total = out.sum((1, 2, 3))
    assert ((out * x).sum((1, 2, 3)) / total).abs().max() < 0.05
    xx, yy, xy = ((out * m).sum((1, 2, 3)) for m in (x * x, y * y, x * y))
    angle = torch.rad2deg(0.5 * torch.atan2(2 * xy, xx - yy))
    assert angle.abs().max() < 46
    assert angle.std() > 10


def test_bytes_become_shares():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    out, _ = augment_batch(images, None, Augment(invert=1.0), generator())
    assert torch.allclose(out, 1 - images.float() / 255)


def test_grey_gives_the_luma():
    images = batch()
    out, _ = augment_batch(images, None, Augment(grey=1.0), generator())
    luma = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    assert torch.allclose(out, luma.expand_as(out), atol=1e-4)


def test_blur_keeps_the_mean():
    images = batch(h=64, w=64)
    out, _ = augment_batch(images, None, Augment(blur=3.0, blur_p=1.0), generator())
    assert torch.allclose(out.mean((2, 3)), images.mean((2, 3)), atol=0.01)
    assert (out.std((2, 3)) < images.std((2, 3))).all()


def test_an_erasure_spares_the_foreground():
    images, planes = batch(n=40, h=50, w=50), torch.zeros(40, 1, 50, 50)
    planes[:, :, 20:30, 20:30] = 1
    spec = Augment(cutout=0.5, cutout_p=1.0, cutout_keep=0.5)
    out, _ = augment_batch(images, planes, spec, generator())
    changed = (out != images).any(1)
    assert (changed[:, 20:30, 20:30].flatten(1).sum(1) <= 50).all()
    counts = set(changed.flatten(1).sum(1).tolist())
    assert 0 in counts
    assert max(counts) == 625


def test_before_the_end_of_the_warm_up_only_flips_are_applied():
    images = batch()
    spec = Augment(hflip=1.0, rotate=30.0, brightness=0.5, warmup=0.5)
    early, _ = augment_batch(images, None, spec, generator(), 0.2)
    late, _ = augment_batch(images, None, spec, generator(), 0.8)
    assert torch.equal(early, images.flip(3))
    assert not torch.allclose(late, early)


def test_what_is_not_valid_is_not_applied():
    images = batch()
    spec = Augment(vflip=1.0, rotate=40.0, valid=("hflip",))
    out, _ = augment_batch(images, None, spec, generator())
    assert torch.equal(out, images)


def test_the_same_seed_gives_the_same_batch():
    one, two = (augment_batch(batch(), None, EVERYTHING, generator(3))[0] for _ in range(2))
    assert torch.equal(one, two)


def test_what_is_left_out_is_named():
    assert left_out(EVERYTHING) == ()
    spec = Augment(motion_blur=5, motion_blur_p=0.1, policy="randaugment")
    assert left_out(spec) == ("motion_blur", "policy")


def test_the_tone_expression_is_that_of_the_table():
    """One picture, gamma only: the batched curve is some power, the same at every pixel."""
    images = torch.linspace(0.01, 1, 100).view(1, 1, 10, 10)
    out, _ = augment_batch(images, None, Augment(gamma=1.0, colour_p=1.0), generator(5))
    power = (out.log() / images.log()).flatten()[:-1]
    assert np.ptp(power.numpy()) < 1e-3
    assert 0.5 <= power[0] <= 2
