import numpy as np
import pytest
import segmentation_models_pytorch  # noqa: F401 (slow to import: not on a test's clock)
import torch

from transect.errors import TransectError
from transect.models import DECODERS, build, decoders
from transect.models.blocks import ChannelSpatialGate
from transect.models.centres import CENTRES
from transect.models.decoders import ATTENTIONS
from transect.recipe import Network

SMALL = Network(encoder="plain", width=8, levels=4, weights=None)


def picture(*shape):
    values = np.random.default_rng(0).normal(size=shape)
    return torch.from_numpy(values.astype(np.float32))


def small(**fields):
    torch.manual_seed(0)
    import dataclasses

    wide = (32,) if fields.get("decoder") in {"refinenet", "fpn", "pan"} else ()
    if fields.get("decoder") == "fpn":
        wide = (32, 32)
    fields = {"decoder_channels": wide, **fields}
    return build(dataclasses.replace(SMALL, **fields), in_channels=2, outputs=3)


@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("size_hw", [(101, 101), (64, 96)])
def test_every_decoder_gives_finite_maps_of_the_input_size(decoder, size_hw):
    model = small(decoder=decoder)
    logits = model(picture(1, 2, *size_hw))["logits"]
    assert logits.shape == (1, 3, *size_hw)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_gradients_reach_every_parameter(decoder):
    model = small(decoder=decoder)
    model(picture(2, 2, 48, 40))["logits"].square().mean().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None]
    assert not missing


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_batch_of_one_pixel_trains(decoder):
    model = small(decoder=decoder).train()
    assert torch.isfinite(model(picture(1, 2, 1, 3))["logits"]).all()


@pytest.mark.parametrize("decoder", ["unet", "fpn", "phalanx"])
def test_evaluation_is_deterministic_and_free_of_the_batch(decoder):
    model = small(decoder=decoder, dropout=(0.5, 0.5), norm="group").eval()
    x = picture(2, 2, 33, 50)
    with torch.no_grad():
        both, again, alone = model(x)["logits"], model(x)["logits"], model(x[:1])["logits"]
    assert torch.equal(both, again)
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("decoder", ["unet", "linknet", "linknet_concat"])
@pytest.mark.parametrize("upsample", ["nearest", "bilinear", "transpose", "shuffle"])
def test_every_upsampling_fits_odd_sizes(decoder, upsample):
    model = small(decoder=decoder, upsample=upsample, decoder_attention="scse", leaky=True)
    assert model(picture(1, 2, 45, 51))["logits"].shape[-2:] == (45, 51)


@pytest.mark.parametrize("attention", sorted(ATTENTIONS))
@pytest.mark.parametrize("decoder", ["unet", "linknet", "gau", "phalanx", "refinenet"])
def test_every_attention_fits(attention, decoder):
    model = small(decoder=decoder, decoder_attention=attention)
    model(picture(1, 2, 48, 37))["logits"].mean().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_shuffled_pixels_are_those_of_the_channels():
    up = decoders._Up(4, 2, 2, "shuffle")
    x = picture(1, 4, 3, 3)
    made = up.convolution[0](x)  # (1, 8, 3, 3)
    y = up(x, (6, 6))
    assert y.shape == (1, 2, 6, 6)
    assert torch.equal(y[0, 1, 0::2, 1::2], made[0, 5])  # channel 1, row 0, column 1 of each cell


def test_pyramid_pooling_tells_every_pixel_the_mean_of_the_picture():
    torch.manual_seed(0)
    centre = CENTRES["psp"](16).eval()
    x = picture(1, 16, 12, 12)
    far = x.clone()
    far[..., -1, -1] += 100
    with torch.no_grad():
        assert not torch.allclose(centre(x)[..., 0, 0], centre(far)[..., 0, 0])


def test_dual_attention_begins_without_attending_and_both_kinds_then_reach_far():
    torch.manual_seed(0)
    centre = CENTRES["dual_attention"](32).eval()
    x = picture(1, 32, 12, 12)
    far = x.clone()
    far[..., -1, -1] += 5
    with torch.no_grad():
        assert torch.equal(centre(x)[..., 0, 0], centre(far)[..., 0, 0])
        for share in (centre.share_pixel, centre.share_channel):
            share.fill_(1.0)
            assert not torch.allclose(centre(x)[..., 0, 0], centre(far)[..., 0, 0])
            share.zero_()
    assert centre.channels == 8


def _gates(model):
    return [m for m in model.modules() if isinstance(m, ChannelSpatialGate)]


def test_the_gates_of_all_three_authors_are_reached_by_name():
    # Salt 1st place: phalanx has 4 in the encoder, 16 in the decoder; bes 2, and one spatial gate
    # per channel. Salt 28th place: 16, and two layers to the spatial gate.
    paper = _gates(small(encoder_attention="scse", decoder_attention="scse", width=64))
    assert paper[0].squeeze.in_channels == 4 * paper[0].squeeze.out_channels
    assert paper[-1].space.out_channels == 1
    wide = {"decoder_channels": (128, 64), "width": 64}
    phalanx = _gates(small(decoder_attention="scse", **wide))
    assert [g.squeeze.out_channels for g in phalanx] == [8, 4, 4]
    bes = _gates(small(decoder_attention="scse_dense", **wide))
    assert [(g.squeeze.out_channels, g.space.out_channels) for g in bes][:2] == [
        (64, 128),
        (32, 64),
    ]
    deep = _gates(small(encoder_attention="scse_deep", decoder_attention="scse_deep", **wide))
    assert [type(g.space).__name__ for g in deep] == ["Sequential"] * len(deep)
    assert deep[0].squeeze.out_channels == 4
    assert deep[-1].space[0].out_channels == 16


def test_phalanx_has_the_320_channels_of_the_original():
    network = Network(
        encoder="resnet34", weights=None, stem_pool=False, centre="fpa", decoder="phalanx",
        decoder_attention="scse", encoder_attention="scse", hypercolumn=True,
    )  # fmt: skip
    model = build(network, in_channels=3, outputs=1)
    assert model.decoder.channels == (64,) * 5
    assert model.centre.channels == 256


@pytest.mark.parametrize("centre", sorted(CENTRES))
@pytest.mark.parametrize("decoder", ["unet", "phalanx"])
def test_every_centre_fits(centre, decoder):
    model = small(centre=centre, decoder=decoder).train()
    logits = model(picture(1, 2, 33, 47))["logits"]
    logits.mean().backward()
    assert logits.shape[-2:] == (33, 47)


def test_unknown_names_are_answered_with_a_suggestion():
    for field, name, meant in [
        ("decoder", "unett", "unet"),
        ("centre", "fpaa", "fpa"),
        ("upsample", "bilinar", "bilinear"),
        ("norm", "bath", "batch"),
        ("encoder", "plane", "plain"),
    ]:
        with pytest.raises(TransectError, match=f"Did you mean '{meant}'"):
            small(**{field: name})
