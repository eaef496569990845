import dataclasses

import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.identify.embedding import embed_with
from transect.identify.recogniser import Recogniser, identity_step, pair_step, uses_unknown
from transect.identify.training import _batches, fit_fold, steps_of, training_labels
from transect.recipe import Augment, Embedding, Geometry, Member, Optimizer, Stage

STAGE = Stage(epochs=1, steps=2, batch=4, loss="ce", sampler="identity", per_identity=2)
TINY = Embedding(backbone="siamese", weights=None, head="arcface", flip_labels=True)
MEMBER = Member("m", TINY, Geometry(fit="whole", size_hw=(32, 64)), Augment(), (STAGE,))


def model_of(embedding, *stages):
    torch.manual_seed(0)
    return Recogniser(embedding, in_channels=3, counts=(3, 2), stages=stages)


def test_labels_are_by_name_and_the_unknown_have_none():
    label, counts = training_labels(np.array(["b", "new", "a", "b"]), "new")
    assert label.tolist() == [1, -1, 0, 1]
    assert counts == [1, 2]


def test_mirrored_photos_are_other_individuals(photos):
    rows = np.flatnonzero(photos.named() != "new_whale")
    label, counts = training_labels(photos.named()[rows], "new_whale")
    stage = dataclasses.replace(STAGE, batch=16, steps=4)
    batches = _batches(photos, MEMBER, stage, rows, label, 0, "cpu")
    found = torch.cat([batch["label"] for batch in batches.epoch(0)])
    assert found.min() >= 0
    assert found.max() < 2 * len(counts)
    assert 0.2 < (found >= len(counts)).float().mean() < 0.8
    again = torch.cat([batch["label"] for batch in batches.epoch(0)])
    assert torch.equal(found, again)


@pytest.mark.parametrize("loss", ["ce", "triplet", "0.5 * ce + triplet"])
def test_every_part_of_a_loss_reaches_the_network(loss):
    stage = dataclasses.replace(STAGE, loss=loss)
    model = model_of(dataclasses.replace(TINY, flip_labels=False), stage)
    batch = {"image": torch.rand(4, 3, 32, 64), "label": torch.tensor([0, 0, 1, -1])}
    value, parts = identity_step(stage)(model, batch, 0.0)
    value.backward()
    assert set(parts) == {word for word in ("ce", "triplet") if word in loss}
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder_parameters())
    assert uses_unknown(stage) == ("triplet" in loss)


def test_a_loss_changes_over_on_its_way():
    stage = dataclasses.replace(STAGE, loss="ce", loss_end="triplet", loss_change="switch")
    model = model_of(dataclasses.replace(TINY, flip_labels=False), stage)
    batch = {"image": torch.rand(4, 3, 32, 64), "label": torch.tensor([0, 0, 1, 1])}
    step = identity_step(stage)
    assert step(model, batch, 0.0)[0].item() == pytest.approx(step(model, batch, 0.0)[1]["ce"])
    value, parts = step(model, batch, 1.0)
    assert value.item() == pytest.approx(parts["triplet"])


def test_a_pair_head_takes_only_its_own_loss():
    with pytest.raises(TransectError, match="whose loss is bce"):
        pair_step(dataclasses.replace(STAGE, loss="triplet"))
    with pytest.raises(TransectError, match="margin head"):
        identity_step(STAGE)(
            model_of(dataclasses.replace(TINY, head="none")),
            {"image": torch.rand(2, 3, 32, 64), "label": torch.tensor([0, 1])},
            0.0,
        )


@pytest.mark.slow
def test_a_fold_trains_the_same_twice(photos, tmp_path):
    stage = dataclasses.replace(STAGE, optimizer=Optimizer(name="adam", lr=1e-2))
    member = dataclasses.replace(MEMBER, stages=(stage,))
    rows = np.arange(40)
    files = []
    for name in ("a", "b"):
        found = fit_fold(photos, member, rows, folder=tmp_path / name, seed=3, device="cpu")
        files.append(found.snapshots[-1].path.read_bytes())
    assert files[0] == files[1]


def test_one_individual_is_too_few_for_a_fold(photos, tmp_path):
    rows = np.flatnonzero(photos.named() == "a0")
    with pytest.raises(TransectError, match="at least two individuals"):
        fit_fold(photos, MEMBER, rows, folder=tmp_path, seed=0, device="cpu")


def test_steps_of_an_epoch():
    assert steps_of(100, dataclasses.replace(STAGE, steps=None, batch=32)) == 3
    assert steps_of(3, dataclasses.replace(STAGE, steps=None, batch=32)) == 1
    assert steps_of(100, STAGE) == 2


def test_vectors_have_length_one(photos):
    model = model_of(TINY)
    found = embed_with(model, photos, [0, 1], MEMBER.geometry, device="cpu")
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-5)


def test_a_photo_of_weight_zero_is_never_drawn(photos):
    light = photos.take(np.arange(len(photos)))
    light.subjects = tuple(
        dataclasses.replace(s, image=dataclasses.replace(s.image, weight=float(i > 0)))
        for i, s in enumerate(photos.subjects)
    )
    label = np.arange(len(photos))
    stage = dataclasses.replace(STAGE, sampler="uniform", batch=16, steps=10)
    plain = dataclasses.replace(MEMBER, network=dataclasses.replace(TINY, flip_labels=False))
    for given, drawn in ((photos, True), (light, False)):
        batches = _batches(given, plain, stage, np.arange(len(photos)), label, 0, "cpu")
        found = torch.cat([batch["label"] for batch in batches.epoch(0)])
        assert (0 in found.tolist()) is drawn


def pairs(count=3):
    torch.manual_seed(1)
    sides = {side: torch.randn(count, 3, 32, 64) for side in ("left", "right")}
    return {**sides, "same": torch.tensor([1.0, 0.0, 1.0][:count])}


def test_pairs_are_shown_moved_against_the_network_too():
    stage = dataclasses.replace(STAGE, loss="bce")
    model = model_of(dataclasses.replace(TINY, head="siamese", flip_labels=False)).eval()
    batch = pairs()
    plain, parts = pair_step(stage)(model, batch, 0.0)
    assert set(parts) == {"right"}
    both, parts = pair_step(dataclasses.replace(stage, adversarial=0.05))(model, batch, 0.0)
    assert parts["moved"] > plain.item()  # the gradient leads uphill
    assert both.item() == pytest.approx((plain.item() + parts["moved"]) / 2, rel=1e-5)
    # By hand: the same pictures moved along the sign of their gradient.
    images = torch.cat([batch["left"], batch["right"]]).requires_grad_()
    features = model(images)["features"]
    logits = model.head(features[:3], features[3:])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["same"])
    (slope,) = torch.autograd.grad(loss, images)
    moved = images.detach() + 0.05 * slope.sign()
    again, _ = pair_step(stage)(
        model, {"left": moved[:3], "right": moved[3:], "same": batch["same"]}, 0.0
    )
    assert parts["moved"] == pytest.approx(again.item(), rel=1e-5)
    both.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder_parameters())
    with pytest.raises(TransectError, match="for the pairs of a Siamese head"):
        identity_step(dataclasses.replace(STAGE, adversarial=0.1))
