import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from transect.data.inputs import Inputs
from transect.models import build
from transect.predict import dense, forward
from transect.predict.dense import DenseMember, batch_of
from transect.predict.tiling import tile_starts
from transect.recipe import Geometry, Member, Network, Recipe
from transect.types import Image

NETWORK = Network(encoder="plain", width=4, levels=2, weights=None, image_head=True)


@pytest.fixture(autouse=True)
def small_and_exact(monkeypatch):
    """No trial of bf16, which would ask the network beforehand."""
    monkeypatch.setattr(forward, "cpu_has_bf16", lambda: False)
    monkeypatch.setitem(dense._BATCH_PX, "cpu", 16 * 32 * 32)  # small enough for tests


def pictures(sizes):
    rng = np.random.default_rng(0)
    images = [Image(f"{i}.png", Path(f"{i}.png"), size, 3) for i, size in enumerate(sizes)]
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes], images


def loaded(tmp_path, geometry, images, views=("identity", "hflip")):
    """A member and the sizes of the batches that its network is asked."""
    torch.manual_seed(0)
    asked = []

    def make():
        model = build(NETWORK, in_channels=3, outputs=1)
        model.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
        return model

    save_file(make().state_dict(), tmp_path / "w.safetensors")
    member = DenseMember(
        Recipe(name="r", question="segment", views=views),
        Member(network=NETWORK, geometry=geometry),
        [(tmp_path / "w.safetensors", 1.0)],
        build=make,
        inputs=Inputs.of(images, geometry),
        outputs=1,
        activation="sigmoid",
        device="cpu",
    )
    return member, asked


@pytest.mark.parametrize("views", [("identity", "hflip"), ("hflip", "identity", "vflip")])
def test_maps_and_image_level_answers_come_in_one_pass_of_full_batches(tmp_path, views):
    pixels, images = pictures([(21, 30)] * 20)
    member, asked = loaded(tmp_path, Geometry(fit="whole", size_hw=(32, 32)), images, views)
    maps, filled = member.answers_of(pixels, images)
    assert asked == [16] * len(views) + [4] * len(views)
    assert 0 < min(filled) < max(filled) < 1
    assert filled == pytest.approx(member.filled_of(pixels, images), abs=1e-5)
    for i in (0, 19):
        np.testing.assert_allclose(maps[i], member.maps(pixels[i], images[i]), atol=1e-4)


def test_tiles_of_several_pictures_share_batches(tmp_path):
    sizes = [(40, 70), (64, 64), (20, 20), (130, 40)]
    pixels, images = pictures(sizes)
    geometry = Geometry(fit="tile", size_hw=(32, 32), overlap=0.5)
    member, asked = loaded(tmp_path, geometry, images, ("identity",))
    maps = member.maps_of(pixels, images)
    tiles = sum(math.prod(len(tile_starts(side, 32, 0.5)) for side in size) for size in sizes)
    assert len(asked) == math.ceil(tiles / batch_of((32, 32), "cpu"))
    assert sum(asked) == tiles
    for one, some, image in zip(maps, pixels, images, strict=True):
        np.testing.assert_allclose(one, member.maps(some, image), atol=1e-4)


def test_a_tile_that_holds_a_scaled_picture_is_asked_picture_by_picture(tmp_path):
    pixels, images = pictures([(40, 70), (64, 64)])
    geometry = Geometry(fit="tile", size_hw=(32, 32), overlap=0.5, scale=0.5)
    member, _ = loaded(tmp_path, geometry, images, ("identity",))
    for one, some, image in zip(member.maps_of(pixels, images), pixels, images, strict=True):
        assert one.shape == (1, *image.size_hw)
        np.testing.assert_allclose(one, member.maps(some, image), atol=1e-4)
