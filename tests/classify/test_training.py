"""Batches and networks: mixing, rarity, weights, a last layer that begins where regression ends."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.classify.worlds import FROZEN, GEOMETRY, trained, write_squares
from transect.classify.attention import attention_map
from transect.classify.network import Classifier, label_step, probabilities, regresses
from transect.classify.task import ClassifyTask
from transect.classify.training import (
    _batches,
    build_classifier,
    fit_logistic,
    outputs_of,
    vectors_of,
)
from transect.data.survey import open_survey
from transect.recipe import Embedding, Stage
from transect.types import Quiet


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    path = tmp_path_factory.mktemp("squares")
    survey = open_survey(write_squares(path / "single"))
    return ClassifyTask().dataset(survey, path / "cache", Quiet())


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    path = tmp_path_factory.mktemp("grades")
    survey = open_survey(write_squares(path / "grades", kind="grades"))
    return ClassifyTask().dataset(survey, path / "cache", Quiet())


def batch_of(dataset, member, rows=None):
    chosen = np.arange(len(dataset)) if rows is None else rows
    return next(iter(_batches(dataset, member, member.stages[0], chosen, 3).epoch(0)))


def test_mixed_images_have_mixed_labels(squares):
    plain, mixed = (batch_of(squares, trained(mixup=m)) for m in (0.0, 0.5))
    assert set(plain["target"].unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(mixed["target"].sum(1), torch.ones(8))
    share = mixed["target"].max(1).values
    both = (plain["target"] != plain["target"].roll(1, 0)).any(1)
    assert both.any()
    assert (share[both] < 1).all()
    assert (share >= 0.5).all()
    lam = float(share[both][0])
    expected = lam * plain["image"] + (1 - lam) * plain["image"].roll(1, 0)
    torch.testing.assert_close(mixed["image"], expected)


def test_only_rare_labels_are_augmented_where_rarity_decides(squares):
    rare = np.concatenate([np.arange(0, 36, 3), [1]])  # twelve red images, one green
    member = trained(augment_rare=50.0, batch=13, steps=1)
    member = dataclasses.replace(
        member, augment=dataclasses.replace(member.augment, hflip=0.0, brightness=0.4, colour_p=1.0)
    )
    found = batch_of(squares, member, rare)
    still = batch_of(squares, dataclasses.replace(member, augment=type(member.augment)()), rare)
    moved = (found["image"] - still["image"]).abs().amax((1, 2, 3)) > 1e-4
    green = found["target"][:, 1] > 0
    assert moved[green].all()
    assert not moved[~green].any()


def test_samplers_follow_the_rarest_label(squares):
    rows = np.concatenate([np.arange(0, 36, 3), [1, 2]])
    shares = {}
    for name in ("uniform", "frequency", "class_aware"):
        member = trained(sampler=name, batch=200, steps=1)
        shares[name] = float(batch_of(squares, member, rows)["target"][:, 1].mean())
    assert shares["uniform"] < 0.12 < shares["frequency"] < 0.25 < shares["class_aware"] < 0.42


def test_weights_of_images_are_followed(squares):
    heavy = dataclasses.replace(squares, images=tuple(
        dataclasses.replace(image, weight=9.0 if i % 3 == 2 else 0.5)
        for i, image in enumerate(squares.images)
    ))  # fmt: skip
    blue = heavy.classes.index("blue")
    assert batch_of(heavy, trained(batch=100, steps=1))["target"][:, blue].mean() > 0.8


def test_a_last_layer_begins_where_logistic_regression_ends(squares):
    member = trained()
    vectors = vectors_of(squares, member, device="cpu")
    assert vectors.shape[:2] == (36, 1)
    start = fit_logistic(squares, vectors[:, 0], np.arange(36), np.arange(36) % 3)
    model = build_classifier(member, 3, 3, start=start).eval()
    x = torch.from_numpy(vectors[:, 0])
    np.testing.assert_allclose(
        model.head(x).detach().numpy(), start.logits(vectors[:, 0]), atol=1e-4
    )


def test_the_last_layer_alone_is_what_all_but_head_leaves_to_train():
    model = Classifier(Embedding(head="linear", neck="none"), in_channels=3, outputs=4,
                       pretrained=False)  # fmt: skip
    head = {id(p) for p in model.head_parameters()}
    assert {id(p) for p in model.head.parameters()} <= head
    assert not head & {id(p) for p in model.encoder_parameters()}


def test_grades_are_regressed_as_a_number_that_becomes_a_bell(graded):
    member = trained(loss="smooth_l1", start="random")
    assert outputs_of(member, 4) == 1
    assert batch_of(graded, member)["target"].shape == (8, 1)
    p = probabilities(torch.tensor([[2.2]]), 4, several=False)
    assert p.argmax() == 2
    assert p[0, 3] > p[0, 1]
    assert regresses([Stage(loss="mse", loss_end="l1")])


@pytest.mark.parametrize(
    "loss", ["ce", "focal", "bce", "multilabel_margin", "lsep", "focal + kappa"]
)
def test_every_loss_teaches_the_truth(loss):
    model = torch.nn.Linear(2, 3)
    wrapped = type("M", (torch.nn.Module,), {"forward": lambda s, x: {"logits": model(x)}})()
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    batch = {"image": x, "target": torch.eye(3)}
    step = label_step(Stage(loss=loss))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        value, _ = step(wrapped, batch, 0.0)
        value.backward()
        optimizer.step()
    assert model(x).argmax(1).tolist() == [0, 1, 2]


def test_attention_lies_where_the_label_is(squares):
    model = build_classifier(FROZEN, 3, 3).eval()
    x = np.zeros((96, 96, 3), np.float32)
    with torch.no_grad():
        model.head.weight.fill_(1.0)  # every channel speaks for it
    x[:48, :48] = np.random.default_rng(0).normal(0, 2, (48, 48, 3))
    found = attention_map(model, x, 1, device="cpu")
    assert found.shape == (3, 3)
    assert found.min() >= 0
    assert GEOMETRY.size_hw == (32, 32)
