"""Every bundled recipe at full settings: networks, sizes, losses; weights and time are spared."""

import dataclasses

import pytest
import torch

from transect import recipes
from transect.classify import training as labelling
from transect.classify.network import label_step
from transect.count import reclassify
from transect.count import training as counting
from transect.count.boxes import LOSS
from transect.data.inputs import Inputs
from transect.errors import TransectError
from transect.identify import training as recognising
from transect.identify.recogniser import identity_step, pair_step
from transect.losses import parse_loss
from transect.models import weights
from transect.models.encoders import ENCODERS_SCRATCH
from transect.recipe import Embedding, Member, Recipe, Stage
from transect.segment import training as segmenting
from transect.train.optim import build_optimizer, freeze

LARGE = {
    "salt-1st bes": "a ResNeXt-50 at 224 pixels",
    "salt-1st phalanx-1": "a ResNet-34 without pooling at 256 pixels",
    "salt-1st phalanx-2": "the same",
    "salt-1st phalanx-3": "the same features",
    "salt-9th padded": "a SENet-154 at 256 pixels, with attention",
    "salt-9th resized": "the same",
    "salt-11th main": "an SE-ResNeXt-50 without pooling",
    "salt-28th main": "an SE-ResNeXt-50 without stride",
    "sealion-density tiles": "an Inception-ResNet at 299 pixels",
    "whale-3rd arcface": "a DenseNet-121 at 320 pixels",
    "whale-4th densenet": "pairs at 384 pixels",
    "whale-4th resnet": "pairs at 384 pixels",
    "whale-4th inception": "pairs at 384 pixels",
    "whale-10th margin": "a ResNet-50 at 512 pixels",
    "whale-10th siamese": "pairs at three sizes up to 512 pixels",
    "whale-1st senet": "a SENet-154 at 512 x 256 pixels",
    "whale-5th densenet": "pairs at three sizes up to 512 pixels",
    "whale-5th seresnext": "pairs up to 384 pixels",
    "whale-5th kernel": "pairs up to 1,024 pixels",
    "whale-15th sphereface": "an SE-ResNeXt-50 at 384 pixels",
    "whale-15th softmax": "the same",
    "whale-7th classifier": "an SE-ResNeXt-50 at four sizes up to 360 x 720",
    "whale-7th-metric metric": "the same",
    "whale-9th resnet": "a ResNet-34 at 1,024 pixels",
    "whale-9th inception": "an Inception v3 at 512 x 152 pixels",
    "whale-9th densenet": "a DenseNet-121 at 640 pixels",
    "whale-yu4u wide": "a ResNeXt-101 at 768 x 256 pixels",
    "whale-yu4u-blend square": "a ResNeXt-101 at 512 pixels",
    "labels-last-layer resnet": "a ResNet-152 at 224 pixels",
    "labels-last-layer efficientnet": "an EfficientNet-B4 at 224 pixels",
    "grades-kappa classes": "the same at 256 pixels",
    "grades-kappa number": "the same",
}
"""Members whose updates take seconds: real ones run with the slow tests, shapes with all others."""


def _cases() -> dict[str, tuple[Recipe, Member]]:
    """All members of all recipes; one that a recipe takes over from another comes once."""
    found: dict[str, tuple[Recipe, Member]] = {}
    for name in recipes.names():
        recipe = recipes.load(name)
        for member in recipe.members:
            if recipe.question == "classify" and not member.stages:
                continue  # nothing is trained
            if all(member != other for _, other in found.values()):
                found[f"{name} {member.name}"] = (recipe, member)
    return found


CASES = _cases()
MARKED = [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in CASES]


def built(recipe, member):
    """A member's network as training makes it, without pretrained weights; its channels."""
    inputs = Inputs(member.geometry, channels=3, depths=(0.0, 1.0))
    if recipe.question == "segment":
        model = segmenting.build_member(member, inputs, 1, pretrained=False)
    elif recipe.question == "identify":
        model = recognising.build_recogniser(member, inputs, [2] * 5, pretrained=False)
    elif recipe.question == "classify":
        channels = inputs.network_channels
        outputs = labelling.outputs_of(member, 5)
        model = labelling.build_classifier(member, channels, outputs, pretrained=False)
    elif isinstance(member.network, Embedding):
        model = reclassify._build(member, inputs, 5, pretrained=False)
    else:
        task = counting.Task(recipe.decide, classes=5)
        model = counting.build_member(member, inputs, task, pretrained=False)
    return model, inputs.network_channels


def step_of(recipe, member, stage):
    """The loss of a stage, as training takes it."""
    if recipe.question == "segment":
        return segmenting.dense_step(stage)
    if recipe.question == "identify":
        siamese = member.network.head == "siamese"
        return pair_step(stage) if siamese else identity_step(stage)
    if recipe.question == "classify":
        return label_step(stage)
    if isinstance(member.network, Embedding):
        loss = parse_loss(stage.loss)
        return lambda model, batch, _: (loss(model(batch["image"]), batch["target"]), {})
    return counting.count_step(stage, counting.Task(recipe.decide, classes=5))


def batch_of(recipe, member, stage, channels):
    """Two pictures at the stage's size: for masks, one is empty."""
    height, width = stage.size_hw or member.geometry.size_hw
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, channels, height, width, generator=generator)
    if recipe.question == "identify":
        other = torch.randn(2, channels, height, width, generator=generator)
        same = torch.tensor([1.0, 0.0])
        if any(
            word in stage.loss for word in ("triplet", "margin(")
        ):  # it needs two of one and another
            image, label = torch.cat([image, other]), torch.tensor([0, 0, 1, 1])
            return {"image": image, "label": label}
        return {"image": image, "label": torch.tensor([0, 1]), "left": image, "right": other,
                "same": same}  # fmt: skip
    if recipe.question == "classify":
        outputs = labelling.outputs_of(member, 5)
        return {"image": image, "target": torch.eye(5)[:2, :outputs]}
    if isinstance(member.network, Embedding):
        return {"image": image, "target": torch.eye(6)[:2]}
    if stage.loss == LOSS:
        boxes = torch.full((2, 4, 5), -1.0)  # on levels of every size, so that all heads learn
        for level, side in enumerate((16.0, 40.0, 90.0, 180.0)):
            boxes[1, level] = torch.tensor([level, 8, 8, 8 + side, 8 + side])
        return {"image": image, "target": boxes}
    planes = 1
    if recipe.question == "count":
        planes = counting.Task(recipe.decide, classes=5).outputs
    target = torch.zeros(2, planes, height, width)
    target[1, 0, height // 4 : height // 2] = 1
    if planes > 1:
        target[:, -1] = 1 - target[:, 0]  # background
    valid = torch.ones(2, 1, height, width)
    if stage.loss_on == "crop":
        valid[..., :8] = 0
    return {"image": image, "target": target, "valid": valid}


def ingredients(stage: Stage):
    """What makes one update differ from another."""
    rate = dataclasses.replace(stage.optimizer, lr=0.0)
    return stage.loss, stage.loss_end, stage.aux, stage.loss_on, stage.size_hw, stage.freeze, rate


def test_the_list_of_large_members_is_of_members():
    assert set(LARGE) <= set(CASES)


@pytest.mark.parametrize("case", LARGE)
def test_large_networks_fit_together_at_their_own_size(case):
    """Forwards without numbers: sizes meet, and every head that a loss needs is there."""
    recipe, member = CASES[case]
    with torch.device("meta"):
        model, channels = built(recipe, member)
        for stage in {stage.size_hw: stage for stage in member.stages}.values():
            height, width = stage.size_hw or member.geometry.size_hw
            found = model(torch.zeros(2, channels, height, width))
    if recipe.question == "classify":
        assert found["logits"].shape == (2, labelling.outputs_of(member, 5))
    elif "logits" in found:
        planes = counting.Task(recipe.decide, 5).outputs if recipe.question == "count" else 1
        assert found["logits"].shape == (2, planes, height, width)
    else:
        assert found["embedding"].shape[0] == 2
    assert {head for stage in member.stages for head, _ in stage.aux} <= set(found)


@pytest.mark.parametrize("case", MARKED)
def test_one_update_of_every_stage_at_its_own_size(case):
    recipe, member = CASES[case]
    torch.manual_seed(0)
    model, channels = built(recipe, member)
    model.train()
    for stage in {ingredients(stage): stage for stage in member.stages}.values():
        freeze(model, stage.freeze)
        optimizer = build_optimizer(model, stage.optimizer)
        before = [p.detach().clone() for p in model.parameters()]
        batch = batch_of(recipe, member, stage, channels)
        loss, _ = step_of(recipe, member, stage)(model, batch, 0.5)
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
        still = [
            name
            for (name, parameter), old in zip(model.named_parameters(), before, strict=True)
            if parameter.requires_grad and parameter.grad is None
        ]
        if recipe.question == "identify" and "ce" not in stage.loss:
            # A stage of triplets trains no classifier, and not what its later losses learn.
            still = [name for name in still if not name.startswith(("head.", "losses."))]
        if not stage.loss.startswith("0 *"):  # a network that only says empty draws nothing
            assert not still, f"no gradient reaches {still[:3]}"
        assert any(
            not torch.equal(parameter, old)
            for parameter, old in zip(model.parameters(), before, strict=True)
        )
        optimizer.zero_grad()


def _encoders():
    """Names of timm networks in any recipe."""
    networks = [member.network for _, member in CASES.values()]
    named = {n.backbone if isinstance(n, Embedding) else n.encoder for n in networks}
    return sorted(named - {*ENCODERS_SCRATCH, "siamese", weights.LITE0})


@pytest.mark.parametrize("name", _encoders())
def test_weights_of_every_encoder_have_a_place_and_their_absence_is_said(name, monkeypatch):
    import huggingface_hub
    import timm

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    assert timm.get_pretrained_cfg(name).hf_hub_id
    with pytest.raises(TransectError, match=rf"weights of {name} are not on this machine"):
        weights.hub_pin(name)
