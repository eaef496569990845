import numpy as np
import torch
from torch import nn

from transect.identify.embedding import embed_with, joined_views, unit
from transect.recipe import Augment, Geometry


class Halves(nn.Module):
    """Mean brightness of the left and the right half."""

    def forward(self, x):
        half = x.shape[3] // 2
        found = torch.stack([x[..., :half].mean((1, 2, 3)), x[..., half:].mean((1, 2, 3))], 1)
        return {"embedding": found, "features": found * 2}


GEOMETRY = Geometry(fit="whole", size_hw=(16, 32), normalise="unit")


def test_mirrored_views_swap_the_halves_and_scales_are_views(photos):
    found = embed_with(
        Halves(), photos, [0, 1, 2], GEOMETRY, device="cpu", scales=(0.9, 1.0), mirrored=True
    )
    assert found.shape == (3, 4, 1, 2)  # photos, views, copies, length
    np.testing.assert_allclose(found[:, 2:], found[:, :2, :, ::-1], rtol=1e-5)
    assert not np.allclose(found[:, 0], found[:, 1])


def test_random_copies_change_all_photos_alike_and_the_plain_one_comes_first(photos):
    spec = Augment(brightness=0.5)
    args = (Halves(), photos, np.arange(4), GEOMETRY)
    plain = embed_with(*args, device="cpu")
    found = embed_with(*args, device="cpu", jitter=2, augment=spec)
    again = embed_with(*args, device="cpu", jitter=2, augment=spec)
    np.testing.assert_array_equal(found[:, :, :1], plain)
    np.testing.assert_array_equal(found, again)
    assert not np.allclose(found[:, :, 1], found[:, :, 2])


def test_features_are_another_output_and_the_model_keeps_its_mode(photos):
    model = Halves().train()
    plain = embed_with(model, photos, [3], GEOMETRY, device="cpu")
    features = embed_with(model, photos, [3], GEOMETRY, device="cpu", output="features")
    np.testing.assert_allclose(features, 2 * plain)
    assert model.training
    assert embed_with(model, photos, [], GEOMETRY, device="cpu").shape == (0, 1, 1, 1)


def test_a_product_of_joined_views_is_the_mean_cosine():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 3, 4))
    joined = (joined_views(a) * joined_views(b)).sum(axis=1)
    np.testing.assert_allclose(joined, (unit(a) * unit(b)).sum(axis=2).mean(axis=1), rtol=1e-5)
