import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from transect.errors import TransectError
from transect.losses import COMBINATIONS, LOSSES, parse_loss, scheduled

DENSITY = {"l1", "mse", "smooth_l1", "density_sum", "optimal_transport"}
SEVERAL = {"ce", "ce_balanced"}


def make(channels=1, batch=2, size=16, seed=0):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, channels, size, size, generator=rng)
    target = torch.zeros(batch, channels, size, size)
    target[..., 4:11, 3:12] = 1
    if channels > 1:
        target[:, 0] = 1 - target[:, 1]
        target[:, 2:] = 0
    return logits, target


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_every_loss_is_finite_and_has_gradients(name, batch, masked):
    logits, target = make(3 if name in SEVERAL else 1, batch)
    logits.requires_grad_()
    valid = None
    if masked:
        valid = torch.ones(batch, 1, 16, 16)
        valid[..., 12:] = 0
    value = LOSSES[name](logits, target, valid=valid)
    assert value.shape == ()
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0
    if masked:
        assert logits.grad[..., 12:].abs().max() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_outside_the_valid_mask_do_not_matter(name):
    logits, target = make(3 if name in SEVERAL else 2)
    valid = torch.ones(2, 1, 16, 16)
    valid[..., 12:] = 0
    first = LOSSES[name](logits, target, valid=valid)
    logits[..., 12:], target[..., 12:] = 7.0, 1.0
    torch.testing.assert_close(LOSSES[name](logits, target, valid=valid), first)


@pytest.mark.parametrize("name", LOSSES)
def test_an_empty_mask_and_nothing_valid_are_finite(name):
    logits, target = make(3 if name in SEVERAL else 1)
    target = torch.zeros_like(target)
    if name in SEVERAL:
        target[:, 0] = 1
    for valid in (None, torch.zeros(2, 1, 16, 16)):
        x = logits.clone().requires_grad_()
        value = LOSSES[name](x, target, valid=valid)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_answer_costs_less_than_chance_and_than_the_opposite(name):
    _, target = make(3 if name in SEVERAL else 1)
    perfect = target if name in DENSITY else 40 * target - 20
    opposite = 1 - target if name in DENSITY else -perfect
    chance = torch.zeros_like(target)
    best = float(LOSSES[name](perfect, target))
    bound = {"lovasz_elu_raw": -0.99, "active_contour": 0.2}.get(name, 0.01)
    assert best <= bound
    assert best < float(LOSSES[name](opposite, target))
    assert best <= float(LOSSES[name](chance, target))


MAPS_ONLY = {"boundary", "active_contour", "optimal_transport"}


@pytest.mark.parametrize("name", sorted(set(LOSSES) - MAPS_ONLY))
def test_image_level_outputs_work(name):
    channels = 3 if name in SEVERAL else 1
    logits = torch.randn(4, channels, generator=torch.Generator().manual_seed(0))
    target = F.one_hot(torch.tensor([0, 1, 1, 0]), 3).float()[:, :channels]
    assert torch.isfinite(LOSSES[name](logits.requires_grad_(), target))


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_outputs_are_summed_in_full(name):
    logits, target = make(3 if name in SEVERAL else 1)
    value = LOSSES[name](logits.bfloat16(), target)
    assert value.dtype == torch.float32


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(TransectError, match="one shape"):
        LOSSES["bce"](torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))
    with pytest.raises(TransectError, match="valid mask"):
        LOSSES["dice"](torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), valid=torch.ones(2, 4, 4))
    with pytest.raises(TransectError, match="Use bce"):
        LOSSES["ce"](torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4))


def test_values_by_hand():
    x = torch.tensor([[[[0.0, math.log(3)]]]])  # p = 1/2, 3/4
    y = torch.tensor([[[[1.0, 0.0]]]])
    ln2, ln4 = math.log(2), math.log(4)
    assert float(LOSSES["bce"](x, y)) == pytest.approx((ln2 + ln4) / 2)
    assert float(LOSSES["balanced_bce"](x, y)) == pytest.approx((ln2 + ln4) / 2)
    assert float(LOSSES["focal"](x, y)) == pytest.approx((0.25 * ln2 + 0.5625 * ln4) / 2)
    assert float(LOSSES["dice"](x, y)) == pytest.approx(1 - (2 * 0.5 + 1) / (1.25 + 1 + 1))
    assert float(LOSSES["log_dice"](x, y)) == pytest.approx(-math.log(2 / 3.25))
    assert float(LOSSES["jaccard"](x, y)) == pytest.approx(1 - 1.5 / (1.75 + 1))
    assert float(LOSSES["tversky"](x, y)) == pytest.approx(
        1 - 1.5 / (0.5 + 0.3 * 0.75 + 0.7 * 0.5 + 1)
    )
    assert float(LOSSES["density_sum"](x, y)) == pytest.approx(math.log(3) - 1)
    assert float(LOSSES["lsep"](x, y)) == pytest.approx(math.log(1 + 3))


def test_torch_agrees_where_it_has_the_same_loss():
    rng = torch.Generator().manual_seed(1)
    x, y = torch.randn(5, 4, generator=rng), torch.rand(5, 4, generator=rng).round()
    torch.testing.assert_close(
        LOSSES["multilabel_soft_margin"](x, y), F.multilabel_soft_margin_loss(x, y)
    )
    hot = F.one_hot(torch.tensor([0, 3, 1, 1, 2]), 4).float()
    torch.testing.assert_close(LOSSES["ce"](x, hot), F.cross_entropy(x, hot))
    torch.testing.assert_close(LOSSES["smooth_l1"](x, y), F.smooth_l1_loss(x, y))


def test_balanced_bce_weighs_both_kinds_alike():
    y = torch.zeros(1, 1, 10, 10)
    y[..., 0, 0] = 1
    x = torch.zeros_like(y).requires_grad_()
    LOSSES["balanced_bce"](x, y).backward()
    assert float(x.grad[y == 1].sum()) == pytest.approx(-float(x.grad[y == 0].sum()))


def test_dice_positive_ignores_empty_images():
    x, y = make()
    y[1] = 0
    one = LOSSES["dice_positive"](x[:1], y[:1])
    torch.testing.assert_close(LOSSES["dice_positive"](x, y), one)
    torch.testing.assert_close(one, LOSSES["dice"](x[:1], y[:1], per_image=True))


def test_boundary_equals_the_signed_distance_form():
    from scipy import ndimage

    x, y = make(batch=1)
    inside, p = y[0, 0].numpy() > 0, x[0, 0].sigmoid().numpy()
    outer, inner = ndimage.distance_transform_edt(~inside), ndimage.distance_transform_edt(inside)
    signed = outer - inner
    kervadec = (signed * p).mean() - (signed * inside).mean()
    value = float(LOSSES["boundary"](x, y, reach=1000.0)) * 1000
    assert value == pytest.approx(kervadec, rel=1e-5)


def test_kappa_equals_the_definition_on_hard_answers():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, 40), rng.integers(0, 4, 40)
    logits = 60 * F.one_hot(torch.tensor(a), 4).float()
    target = F.one_hot(torch.tensor(b), 4).float()
    seen = ((a - b) ** 2).mean()
    chance = ((a[:, None] - b[None]) ** 2).mean()
    assert float(LOSSES["kappa"](logits, target)) == pytest.approx(seen / chance, abs=1e-5)


def test_lsep_equals_the_double_loop():
    x, y = torch.randn(1, 6, generator=torch.Generator().manual_seed(3)), torch.zeros(1, 6)
    y[0, [1, 4]] = 1
    pairs = sum(
        math.exp(float(x[0, i] - x[0, j])) for i in range(6) for j in range(6) if y[0, j] > y[0, i]
    )
    assert float(LOSSES["lsep"](x, y)) == pytest.approx(math.log(1 + pairs), rel=1e-5)


def test_the_margin_of_several_labels_is_torchs():
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(4, 6, generator=rng)
    y = (torch.rand(4, 6, generator=rng) > 0.5).float()
    places = torch.full((4, 6), -1)
    for i, row in enumerate(y):
        own = row.nonzero().flatten()
        places[i, : len(own)] = own
    expected = torch.nn.functional.multilabel_margin_loss(x, places)
    assert float(LOSSES["multilabel_margin"](x, y)) == pytest.approx(float(expected))
    with pytest.raises(TransectError, match="Use lsep"):
        LOSSES["multilabel_margin"](torch.zeros(1, 5000), torch.zeros(1, 5000))


def test_transport_grows_with_distance_and_pulls_mass_towards_the_truth():
    maps = torch.zeros(5, 1, 24, 24)
    for i, column in enumerate((4, 6, 9, 14, 20)):
        maps[i, 0, 12, column] = 1
    costs = [float(LOSSES["optimal_transport"](m[None], maps[:1])) for m in maps]
    assert costs[0] == pytest.approx(0, abs=1e-6)
    assert all(near < far for near, far in itertools.pairwise(costs))
    assert costs[1] == pytest.approx((2 / 24) ** 2, rel=0.25)  # short ways cost their square
    x = maps[1:2].clone().requires_grad_()
    LOSSES["optimal_transport"](x, maps[:1]).backward()
    slope = x.grad[0, 0, 12]
    assert slope[4] < slope[5] < slope[6] < slope[8]


def test_the_gradient_of_transport_is_that_of_its_value():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 6, 6, generator=rng, dtype=torch.float64)
    y = torch.rand(1, 1, 6, 6, generator=rng, dtype=torch.float64)
    kind = LOSSES["optimal_transport"]
    leaf = x.clone().requires_grad_()
    kind(leaf, y, steps=600, blur=0.3).backward()
    for place in ((0, 0), (3, 4)):
        step = torch.zeros_like(x)
        step[0, 0, place[0], place[1]] = 1e-4
        up, down = (kind(x + s * step, y, steps=600, blur=0.3) for s in (1, -1))
        slope = float(up - down) / 2e-4
        assert float(leaf.grad[0, 0, place[0], place[1]]) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_combinations_are_read_and_computed(name):
    logits, target = make(2)
    assert torch.isfinite(parse_loss(name)(logits, target))


def test_a_sum_is_the_sum_of_its_parts():
    logits, target = make()
    loss = parse_loss("0.1 * bce + focal(gamma=1, alpha=0.25) * 2 + dice - 1")
    parts = loss.parts(logits, target)
    expected = 0.1 * parts["bce"] + 2 * parts["focal"] + parts["dice"] - 1
    assert float(loss(logits, target)) == pytest.approx(expected, rel=1e-5)
    assert parse_loss("0.5 * salt_1st + l1").terms[0].weight == 0.25
    assert parse_loss("lovasz(activation=elu)").terms[0].parameters == {"activation": "elu"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bcee + dice", "Did you mean 'bce'"),
        ("salt-1st", "cannot be read|Did you mean 'salt_1st'|a loss must be one of"),
        ("0.1 *", "cannot be read"),
        ("", "1 to 1000"),
        ("3", "names no loss"),
        ("bce * dice", "cannot be read"),
        ("__import__('os').system('true')", "cannot be read"),
        ("focal(gama=2)", "Did you mean 'gamma'"),
        ("focal(gamma=big)", "takes a value like"),
        ("bce(valid=1)", "a parameter of bce"),
        ("ce(x=1)", "has no parameters"),
        ("dice(per_image=1)", "takes a value like"),
        ("dice(**{})", "numbers, words|cannot be read"),
        ("focal(2)", "cannot be read"),
        ("1 + bce - dice", "subtracts dice, which would train it backwards.*Write \\+ dice"),
        ("bce - log_dice", "subtracts log_dice"),
        ("-(0.5 * bce)", "subtracts bce"),
        ("bce - bce_dice", "subtracts bce_dice"),
    ],
)
def test_mistakes_in_a_sum_are_explained(text, message):
    with pytest.raises(TransectError, match=message):
        parse_loss(text)


def test_a_schedule_moves_linearly_or_switches():
    logits, target = make()
    first, last = parse_loss("bce"), parse_loss("lovasz")
    a, b = float(first(logits, target)), float(last(logits, target))
    moving = scheduled(first, last, "linear")
    assert float(moving(logits, target, progress=0.25)) == pytest.approx(0.75 * a + 0.25 * b)
    switch = scheduled(first, last, "switch")
    assert float(switch(logits, target, progress=0.49)) == pytest.approx(a)
    assert float(switch(logits, target, progress=0.5)) == pytest.approx(b)
    assert float(scheduled(first)(logits, target, progress=1.0)) == pytest.approx(a)
    with pytest.raises(TransectError, match="Did you mean 'linear'"):
        scheduled(first, last, "linaer")


def test_the_digest_s_formula_has_a_name_that_trains_forwards():
    # 1 + BCE - Dice, where Dice is the coefficient: bce + (1 - coefficient).
    logits, target = make()
    better = torch.where(target > 0.5, 5.0, -5.0)
    loss = parse_loss("one_plus_bce_minus_dice")
    assert float(loss(better, target)) < float(loss(logits, target)) < float(loss(-better, target))


def test_a_sum_knows_whether_all_of_it_leaves_empty_images_out():
    assert parse_loss("lovasz_skip_empty(divide=batch)").skips_empty
    assert parse_loss("0.5 * dice_positive + lovasz_symmetric(skip_empty=true)").skips_empty
    assert not parse_loss("bce + lovasz_skip_empty").skips_empty
    assert not parse_loss("lovasz_symmetric").skips_empty
