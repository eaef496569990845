import copy
import dataclasses
import logging

import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.models import build
from transect.recipe import Network

FULL = Network(
    encoder="plain", width=8, levels=3, weights=None, hypercolumn=True, deep_supervision=True,
    image_head=True, pixel_head=True, encoder_attention="scse", decoder_attention="scse",
)  # fmt: skip


def picture(*shape):
    values = np.random.default_rng(0).normal(size=shape)
    return torch.from_numpy(values.astype(np.float32))


def test_all_heads_have_their_shapes():
    out = build(FULL, in_channels=1, outputs=2)(picture(2, 1, 37, 29))
    assert out["logits"].shape == out["pixel"].shape == (2, 2, 37, 29)
    assert out["empty"].shape == (2, 1)
    assert [d.shape for d in out["deep"]] == [(2, 2, 37, 29)] * 2


def test_only_what_is_asked_for_comes_out():
    plain = dataclasses.replace(FULL, deep_supervision=False, image_head=False, pixel_head=False)
    assert set(build(plain, in_channels=1, outputs=1)(picture(1, 1, 16, 16))) == {"logits"}


def test_image_features_reach_the_fused_head():
    model = build(FULL, in_channels=1, outputs=1)
    model(picture(2, 1, 16, 16))["logits"].mean().backward()
    assert model.heads.image[1].weight.grad.abs().sum() > 0
    assert model.heads.empty.weight.grad is None


def test_parameters_part_into_encoder_and_head():
    model = build(FULL, in_channels=1, outputs=1)
    encoder, head = list(model.encoder_parameters()), list(model.head_parameters())
    assert len(encoder) + len(head) == len(list(model.parameters()))
    assert not {id(p) for p in encoder} & {id(p) for p in head}


def test_input_upsampling_makes_finer_features_and_keeps_the_output_size():
    model = build(dataclasses.replace(FULL, input_upsample=2), in_channels=1, outputs=1)
    assert model(picture(1, 1, 21, 16))["logits"].shape == (1, 1, 21, 16)


def test_coordinates_start_without_effect_and_then_learn():
    torch.manual_seed(0)
    network = dataclasses.replace(FULL, coordconv=True)
    model = build(network, in_channels=1, outputs=1).eval()
    x = torch.ones(1, 1, 64, 64)
    middle = model.encoder(x)[0][0, :, 20:44, 20:44]
    assert middle.std((1, 2)).max() < 1e-5  # a flat picture stays flat away from its border
    model(x)["logits"].sum().backward()
    conv = model.encoder.body.stages[0].stage[0][0]
    assert conv.weight.shape[1] == 3
    assert conv.weight.grad[:, 1:].abs().sum() > 0


def test_channels_last_gives_the_same():
    torch.manual_seed(0)
    model = build(FULL, in_channels=1, outputs=1).eval()
    x = picture(1, 1, 32, 32)
    with torch.no_grad():
        plain = model(x)["logits"]
        model = model.to(memory_format=torch.channels_last)
        other = model(x.contiguous(memory_format=torch.channels_last))["logits"]
    torch.testing.assert_close(plain, other, atol=1e-4, rtol=1e-4)


def test_copies_are_independent_and_states_can_be_exchanged():
    model = build(FULL, in_channels=1, outputs=1).eval()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert any(p.abs().sum() > 0 for p in model.parameters())
    twin.load_state_dict(model.state_dict())
    x = picture(1, 1, 20, 20)
    assert torch.equal(model(x)["logits"], twin(x)["logits"])


def test_dropout_below_batch_norm_is_named(caplog):
    network = dataclasses.replace(FULL, dropout=(0.3, 0.1))
    with caplog.at_level(logging.WARNING):
        build(network, in_channels=1, outputs=1)
        build(network, in_channels=1, outputs=1)
    assert caplog.text.count("falsifies") == 1  # not again for every fold and snapshot
    caplog.clear()
    build(dataclasses.replace(network, norm="group"), in_channels=1, outputs=1)
    assert not caplog.text


@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_every_norm_trains_on_a_batch_of_one(norm):
    model = build(dataclasses.replace(FULL, norm=norm), in_channels=1, outputs=1).train()
    out = model(picture(1, 1, 2, 2))
    assert torch.isfinite(out["logits"]).all()


@pytest.mark.parametrize("heads", [{}, {"image_head": True}, {"hypercolumn": True}])
def test_the_last_convolution_has_the_asked_side_and_keeps_the_size(heads):
    network = Network(encoder="plain", width=4, levels=2, weights=None, final_kernel=3, **heads)
    model = build(network, in_channels=1, outputs=2)
    last = [part for part in model.heads.final.modules() if isinstance(part, torch.nn.Conv2d)][-1]
    assert last.kernel_size == (3, 3)
    assert model(picture(1, 1, 13, 9))["logits"].shape == (1, 2, 13, 9)


@pytest.mark.parametrize("side", [0, 2])
def test_an_even_last_convolution_is_refused(side):
    network = Network(encoder="plain", width=4, levels=2, weights=None, final_kernel=side)
    with pytest.raises(TransectError, match="final_kernel"):
        build(network, in_channels=1, outputs=1)


@pytest.mark.parametrize("heads", [{}, {"hypercolumn": True}, {"pixel_head": True}])
def test_a_shift_lets_the_image_raise_or_lower_the_whole_picture(heads):
    torch.manual_seed(0)
    network = Network(
        encoder="plain", width=4, levels=3, weights=None, image_head=True, fusion="shift",
        final_kernel=3, **heads,
    )  # fmt: skip
    model = build(network, in_channels=1, outputs=1).eval()
    x = picture(1, 1, 16, 16)
    before = model(x)
    with torch.no_grad():
        model.heads.image[1].bias += 3
    change = (model(x)["logits"] - before["logits"])[0, 0, 1:-1, 1:-1]
    assert change.abs().min() > 1e-3
    assert change.std() < 1e-5  # the same at every pixel that is not at the border
    assert before["empty"].shape == (1, 1)


def test_an_unknown_fusion_is_refused():
    network = Network(encoder="plain", width=4, levels=2, weights=None, fusion="deap")
    with pytest.raises(TransectError, match="Did you mean 'deep'"):
        build(network, in_channels=1, outputs=1)


def _dropouts(module):
    return [m.p for m in module.modules() if isinstance(m, (torch.nn.Dropout, torch.nn.Dropout2d))]


def test_dropout_of_levels_and_of_heads_are_two_fields_and_neither_acts_twice():
    levels = build(
        dataclasses.replace(FULL, norm="group", dropout=(0.0, 0.5)), in_channels=1, outputs=1
    )
    assert 0.5 in _dropouts(levels.decoder)
    assert not any(_dropouts(levels.heads))
    heads = build(dataclasses.replace(FULL, head_dropout=0.5), in_channels=1, outputs=1)
    assert not any(_dropouts(heads.decoder))
    assert set(_dropouts(heads.heads)) == {0.5}


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ({}, "logits"),
        ({"hypercolumn": True}, "logits"),
        ({"image_head": True}, "empty"),
        ({"pixel_head": True}, "pixel"),
        ({"image_head": True, "fusion": "shift"}, "logits"),
        ({"deep_supervision": True}, "deep"),
    ],
)
def test_dropout_of_heads_reaches_every_head(kind, output):
    base = Network(encoder="plain", width=8, levels=3, weights=None, norm="group", **kind)
    # With nearly all dropped, answers are those of the biases: the picture has no say.
    model = build(dataclasses.replace(base, head_dropout=1.0), in_channels=1, outputs=1).train()
    one, other = (model(x)[output] for x in (picture(1, 1, 16, 16), picture(1, 1, 16, 16) ** 2))
    one, other = (x[-1] if isinstance(x, list) else x for x in (one, other))
    torch.testing.assert_close(one, other)


def test_deep_heads_answer_at_the_size_of_the_picture():
    model = build(FULL, in_channels=1, outputs=1)
    assert {d.shape[-2:] for d in model(picture(1, 1, 37, 29))["deep"]} == {(37, 29)}


def test_object_context_works_on_512_channels():
    network = Network(encoder="resnet50", weights=None, centre="object_context")
    model = build(network, in_channels=1, outputs=1)
    assert model.encoder.channels[-1] == 2048
    assert model.centre.channels == model.centre.body[1].key[0].in_channels == 512
