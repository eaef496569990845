import dataclasses

import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.models.decoders import DECODERS
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


@pytest.mark.parametrize(
    "name",
    [
        "legacy_xception",
        pytest.param("inception_resnet_v2", marks=pytest.mark.slow),
        pytest.param("inception_v4", marks=pytest.mark.slow),
        pytest.param("nasnetalarge", marks=pytest.mark.slow),
    ],
)
def test_encoders_that_cut_borders_off_are_padded_until_levels_are_exact(name):
    encoder = build_encoder(Network(encoder=name, weights=None), in_channels=1).eval()
    with torch.no_grad():
        levels = encoder(picture(1, 1, 64, 96))
    for level, stride in zip(levels, encoder.strides, strict=True):
        assert level.shape[-2:] == (64 // stride, 96 // stride)


@pytest.mark.parametrize("name", ["inception_v3", "dla34", "hrnet_w18_small"])
def test_levels_that_are_no_exact_halves_go_through_every_decoder(name, monkeypatch):
    from transect.models import dense

    network = Network(encoder=name, weights=None)
    encoder = build_encoder(network, in_channels=1).eval()
    monkeypatch.setattr(dense, "build_encoder", lambda *_, **__: encoder)
    for decoder in DECODERS:
        changed = dataclasses.replace(network, decoder=decoder)
        model = dense.DenseNetwork(changed, in_channels=1, outputs=2).eval()
        with torch.no_grad():
            assert model(picture(1, 1, 40, 101))["logits"].shape == (1, 2, 40, 101)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_a_dilated_encoder_keeps_its_deep_levels_fine_with_the_same_weights(name, stride):
    network = Network(encoder=name, weights=None, output_stride=stride)
    plain = build_encoder(dataclasses.replace(network, output_stride=None), in_channels=1)
    encoder = build_encoder(network, in_channels=1).eval()
    assert encoder.strides == tuple(min(s, stride) for s in plain.strides)
    with torch.no_grad():
        levels = encoder(picture(1, 1, 64, 64))
    assert tuple(64 // level.shape[-1] for level in levels) == encoder.strides
    shapes = {k: v.shape for k, v in encoder.state_dict().items()}
    assert shapes == {k: v.shape for k, v in plain.state_dict().items()}
    dilations = {m.dilation for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)}
    assert (2, 2) in dilations


@pytest.mark.parametrize(("name", "stride"), [("plain", 8), ("resnet18", 5), ("densenet121", 4)])
def test_an_encoder_that_cannot_be_dilated_says_so(name, stride):
    with pytest.raises(TransectError, match=f"{name} cannot be dilated.*output_stride={stride}"):
        build_encoder(Network(encoder=name, weights=None, output_stride=stride), in_channels=1)


def test_a_padded_convolution_is_told_from_one_that_is_right_as_it_is():
    # A patch stem (4x4, stride 4) and a pooling that rounds up have no border to lose.
    encoder = build_encoder(Network(encoder="convnext_atto", weights=None), in_channels=3)
    assert all(m.padding != (2, 2) for m in encoder.modules() if isinstance(m, torch.nn.Conv2d))
    assert encoder.least == 1
