import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.models import build
from transect.models.embedding import NECKS
from transect.models.pooling import POOLINGS, GeM, build_pooling
from transect.recipe import Embedding


def picture(*shape):
    values = np.random.default_rng(0).normal(size=shape)
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize("name", sorted(POOLINGS))
def test_every_pooling_accepts_any_size_and_keeps_its_word(name):
    pooling = build_pooling(name, (4, 6, 8))
    for height, width in [(1, 1), (2, 3), (9, 5)]:
        levels = [picture(2, c, height, width).requires_grad_() for c in (4, 6, 8)]
        out = pooling(levels)
        assert out.shape == (2, pooling.features)
        out.sum().backward()
        assert torch.isfinite(levels[-1].grad).all()


def test_gem_lies_between_mean_and_maximum():
    x = picture(2, 3, 5, 5).abs()
    one, much = GeM(1.0)(x), GeM(60.0)(x)
    torch.testing.assert_close(one, x.mean((2, 3)))
    torch.testing.assert_close(much, x.amax((2, 3)), rtol=0.1, atol=0.0)
    middle = GeM(3.0)(x)
    assert ((middle > one) & (middle < x.amax((2, 3)))).all()


def test_layout_knows_what_and_where_on_equal_terms():
    pooling = build_pooling("layout", (4, 6, 8))
    levels = [picture(2, c, 6, 9).abs() for c in (4, 6, 8)]
    out = pooling(levels)
    assert out.shape == (2, 4 + 6 + 8 + 6 * 2 * 3)
    parts = out.split([4, 6, 8, 36], dim=1)
    for part in parts:  # each of length 1, so that no level drowns another
        torch.testing.assert_close(part.norm(dim=1), torch.ones(2))
    mirrored = pooling([level.flip(3) for level in levels]).split([4, 6, 8, 36], dim=1)
    for part, other in zip(parts[:3], mirrored[:3], strict=True):
        torch.testing.assert_close(part, other)  # what is there stays
    grid = parts[3].view(2, 6, 2, 3)
    torch.testing.assert_close(mirrored[3].view(2, 6, 2, 3), grid.flip(3))  # where it is turns


def test_stripes_keep_left_and_right_apart():
    pooling = build_pooling("striped", (1,))
    x = torch.zeros(1, 1, 2, 8)
    x[..., 6:] = 1
    parts = pooling([x])[0]
    assert parts[3].item() == pytest.approx(1)
    assert parts[:3].max().item() < 1e-4


@pytest.mark.parametrize("neck", sorted(NECKS))
def test_every_neck_gives_unit_vectors_from_a_batch_of_one(neck):
    torch.manual_seed(0)
    spec = Embedding(backbone="resnet18", weights=None, neck=neck, dim=32)
    model = build(spec, in_channels=1, outputs=1).train()
    out = model(picture(1, 1, 33, 20))
    assert out["embedding"].shape == out["features"].shape == (1, model.dim)
    assert out["embedding"].norm().item() == pytest.approx(1, abs=1e-5)
    out["embedding"].sum().backward()


def test_the_siamese_backbone_is_the_branch():
    model = build(Embedding(backbone="siamese", coordconv=True), in_channels=1, outputs=1)
    assert model(picture(2, 1, 40, 40))["features"].shape == (2, 512)
    assert len(list(model.head_parameters())) == 0
    assert len(list(model.encoder_parameters())) == len(list(model.parameters()))


def test_unknown_pooling_and_neck():
    with pytest.raises(TransectError, match="Did you mean 'gem'"):
        build(Embedding(pooling="gemm", weights=None), in_channels=1, outputs=1)
    with pytest.raises(TransectError, match="neck must be one of"):
        build(Embedding(neck="fcbnn", weights=None), in_channels=1, outputs=1)
