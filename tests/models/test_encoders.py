import dataclasses

import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.models.encoders import ENCODERS_SCRATCH, build_encoder
from transect.recipe import Network


def picture(*shape):
    values = np.random.default_rng(0).normal(size=shape)
    return torch.from_numpy(values.astype(np.float32))


def resnet(**fields):
    torch.manual_seed(0)
    return build_encoder(Network(encoder="resnet18", weights=None, **fields), in_channels=1)


@pytest.mark.parametrize("name", sorted(ENCODERS_SCRATCH))
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_scratch_encoders_keep_their_word(name, norm):
    network = Network(encoder=name, width=8, levels=4, norm=norm, weights=None)
    encoder = build_encoder(network, in_channels=2)
    levels = encoder(picture(1, 2, 101, 64))
    assert tuple(level.shape[1] for level in levels) == encoder.channels
    for level, stride in zip(levels, encoder.strides, strict=True):
        assert level.shape[-2:] == (-(-101 // stride), -(-64 // stride))


def test_lion_has_the_original_widths_and_its_pooling_by_four():
    encoder = build_encoder(Network(encoder="lion", width=32, weights=None), in_channels=3)
    assert encoder.channels == (32, 64, 128, 256, 512)
    assert encoder.strides == (1, 2, 4, 8, 32)


@pytest.mark.parametrize(
    ("fields", "strides"),
    [
        ({}, (2, 4, 8, 16, 32)),
        ({"stem_stride": 1}, (1, 2, 4, 8, 16)),
        ({"stem_pool": False}, (2, 2, 4, 8, 16)),
        ({"stem_kernel": 3}, (2, 4, 8, 16, 32)),
        ({"stem_kernel": 3, "stem_stride": 1, "stem_pool": False}, (1, 1, 2, 4, 8)),
    ],
)
def test_stem_surgery(fields, strides):
    encoder = resnet(**fields)
    assert encoder.strides == strides
    levels = encoder.eval()(picture(1, 1, 64, 64))
    assert tuple(64 // level.shape[-1] for level in levels) == strides


def test_a_new_stem_keeps_the_norm_and_a_restrided_one_its_weights():
    torch.manual_seed(0)
    old = resnet()
    new = resnet(stem_kernel=3)
    assert new.body.conv1.kernel_size == (3, 3)
    assert new.body.bn1.num_features == old.body.bn1.num_features
    assert torch.equal(resnet(stem_stride=1).body.conv1.weight, old.body.conv1.weight)


def test_pool_that_is_not_there_cannot_be_removed():
    network = Network(encoder="efficientnet_lite0", weights=None, stem_pool=False)
    with pytest.raises(TransectError, match="no max-pooling"):
        build_encoder(network, in_channels=3)


def test_attention_gates_what_the_next_stage_sees():
    torch.manual_seed(0)
    encoder = resnet(encoder_attention="scse").eval()
    gated = [m for m in encoder.modules() if type(m).__name__ == "_Gated"]
    assert len(gated) == 4  # the stem's activation is no stage
    x = picture(1, 1, 64, 64)
    with torch.no_grad():
        before = encoder(x)
        gated[0].gate.excite.bias += 3
        after = encoder(x)
    assert not torch.allclose(before[1], after[1])
    assert not torch.allclose(before[4], after[4])


def test_coordinates_enter_a_timm_network_with_zero_weights():
    encoder = resnet(coordconv=True)
    assert encoder.body.conv1.weight.shape[1] == 3
    assert encoder.body.conv1.weight[:, 1:].abs().sum() == 0
    assert encoder(picture(1, 1, 40, 40))[0].shape[-1] == 20


def test_a_misspelt_encoder_gets_a_suggestion():
    with pytest.raises(TransectError, match="Did you mean 'resnet34'"):
        build_encoder(Network(encoder="resnet43", weights=None), in_channels=3)


def test_weights_for_our_own_encoders_are_refused():
    network = dataclasses.replace(Network(encoder="plain"), weights="imagenet")
    with pytest.raises(TransectError, match="no pretrained weights"):
        build_encoder(network, in_channels=3)
