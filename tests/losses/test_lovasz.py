import math

import pytest
import torch
import torch.nn.functional as F

from transect.losses.lovasz import (
    _Extension,
    _in_batch,
    lovasz,
    lovasz_elu,
    lovasz_elu_raw,
    lovasz_skip_empty,
    lovasz_softmax,
    lovasz_symmetric,
)

PHI = {"relu": F.relu, "elu": lambda e: F.elu(e) + 1, "elu_raw": F.elu}


def slow(logits, labels, activation):
    """The published formula in plain Python, for one flat image."""
    scores = [1 - x * (2 * y - 1) for x, y in zip(logits.tolist(), labels.tolist(), strict=True)]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    total, seen, wrong, before, value = sum(labels.tolist()), 0, 0, 0.0, 0.0
    for i in order:
        seen, wrong = seen + labels[i].item(), wrong + 1 - labels[i].item()
        jaccard = 1 - (total - seen) / (total + wrong)
        phi = float(PHI[activation](torch.tensor(scores[i])))
        value += phi * (jaccard - before)
        before = jaccard
    return value


def example(batch=4, size=9, seed=0):
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, 1, size, size, generator=rng)
    target = (torch.rand(batch, 1, size, size, generator=rng) > 0.6).float()
    target[0] = 0
    target[1] = 1
    return logits, target


@pytest.mark.parametrize("activation", PHI)
def test_it_equals_the_slow_loop(activation):
    logits, target = example()
    expected = sum(
        slow(x.flatten(), y.flatten(), activation) for x, y in zip(logits, target, strict=True)
    )
    assert float(lovasz(logits, target, activation=activation)) == pytest.approx(expected / 4)
    named = {"relu": lovasz, "elu": lovasz_elu, "elu_raw": lovasz_elu_raw}[activation]
    assert float(named(logits, target)) == pytest.approx(expected / 4)
    batch = slow(logits.flatten(), target.flatten(), activation)
    assert float(lovasz(logits, target, activation=activation, per_image=False)) == pytest.approx(
        batch
    )


def test_values_by_hand_on_two_pixels():
    # scores 2 (wrong positive) and .5 (right negative): J = 1, then 1; g = 1, 0
    logits, target = torch.tensor([[[[-1.0, -0.5]]]]), torch.tensor([[[[1.0, 0.0]]]])
    assert float(lovasz(logits, target)) == pytest.approx(2.0)
    # the wrong one is the negative, e = 1.5: J = 1 - 1/2, then 1; scores 1.5, .5
    logits = torch.tensor([[[[0.5, 0.5]]]])
    assert float(lovasz(logits, target)) == pytest.approx(0.5 * 1.5 + 0.5 * 0.5)
    assert float(lovasz_elu(logits, target)) == pytest.approx(0.5 * 2.5 + 0.5 * 1.5)


@pytest.mark.slow  # the import alone takes seconds
def test_smp_agrees_in_value_and_gradient():
    from segmentation_models_pytorch.losses import LovaszLoss

    logits, target = example(seed=5)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    a = lovasz(ours, target)
    b = LovaszLoss("binary", per_image=True, from_logits=True)(theirs, target)
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b.reshape(()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_smp_agrees_on_the_softmax_form():
    from segmentation_models_pytorch.losses import LovaszLoss

    logits = torch.randn(3, 4, 7, 7, generator=torch.Generator().manual_seed(2))
    labels = torch.randint(0, 3, (3, 7, 7), generator=torch.Generator().manual_seed(3))
    hot = F.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    theirs = LovaszLoss("multiclass", per_image=False, from_logits=True)(logits, labels)
    ours = lovasz_softmax(logits, hot, per_image=False, classes="present")
    torch.testing.assert_close(ours, theirs.reshape(()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", PHI)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_row_form_and_the_batch_form_agree(activation, symmetric, masked):
    logits, target = example(seed=7)
    labels, flat = target.flatten(1) > 0.5, logits.flatten(1)
    scores = flat.clone().requires_grad_()
    inside = None
    if masked:
        inside = torch.rand(flat.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    values = _Extension.apply(scores, labels, inside, activation, symmetric)
    values.sum().backward()
    expected, slopes = _in_batch(scores.detach(), labels, inside, activation, symmetric)
    torch.testing.assert_close(values.detach(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.grad, slopes, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_the_formula():
    logits, target = example(batch=3, size=4)
    for activation in PHI:
        x = logits[2:].double().requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x, a=activation: lovasz(x, target[2:], activation=a), x, eps=1e-7, atol=1e-5
        )


def test_the_symmetric_form_is_the_mean_of_both_sides():
    logits, target = example(seed=4)
    expected = (lovasz_elu(logits, target) + lovasz_elu(-logits, 1 - target)) / 2
    torch.testing.assert_close(lovasz_symmetric(logits, target), expected)


def test_an_empty_image_moves_one_pixel_only_unless_symmetric():
    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for loss, moved in ((lovasz, 1), (lovasz_elu, 1), (lovasz_symmetric, 64)):
        x = logits.clone().requires_grad_()
        loss(x, torch.zeros_like(x)).backward()
        assert int((x.grad != 0).sum()) == moved


def test_skipping_empty_images():
    logits, target = example()
    full = lovasz(logits[1:], target[1:])
    torch.testing.assert_close(lovasz_skip_empty(logits, target), full)
    torch.testing.assert_close(lovasz_skip_empty(logits, target, divide="batch"), full * 3 / 4)
    assert float(lovasz_skip_empty(logits[:1], target[:1])) == 0


def test_a_masked_image_equals_its_crop():
    logits, target = example()
    valid = torch.zeros(4, 1, 9, 9)
    valid[..., :6, :5] = 1
    for loss in (lovasz, lovasz_elu, lovasz_elu_raw, lovasz_symmetric, lovasz_softmax):
        torch.testing.assert_close(
            loss(logits, target, valid=valid), loss(logits[..., :6, :5], target[..., :6, :5])
        )


def test_soft_targets_are_thresholded_and_ties_keep_the_value():
    logits = torch.zeros(1, 1, 3, 3)
    target = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lovasz(logits, target), lovasz(logits, (target > 0.5).float()))
    assert float(lovasz(logits, target)) == pytest.approx(1.0)


def test_a_logit_that_is_no_number_is_not_sorted_away():
    logits, target = example()
    logits[2, 0, 0, 0] = math.nan
    assert math.isnan(float(lovasz(logits, target)))


def test_a_transposed_view_is_read_rightly():
    logits, target = example()
    turned = logits.transpose(2, 3), target.transpose(2, 3)
    torch.testing.assert_close(lovasz(*turned), lovasz(logits, target))
