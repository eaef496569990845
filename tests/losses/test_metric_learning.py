import math

import pytest
import torch
import torch.nn.functional as F

from transect.errors import TransectError
from transect.losses.metric_learning import LOSSES, build


def batch(seed=0, dim=8):
    rng = torch.Generator().manual_seed(seed)
    identity = torch.tensor([0, 0, 1, 1, 2, 2, -1, -1])
    return torch.randn(8, dim, generator=rng).requires_grad_(), identity


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_with_gradients(name):
    loss = build(name, identities=8, dim=8)
    x, identity = batch()
    value = loss(x, identity)
    value.backward()
    assert value.shape == ()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"ring"}))
@pytest.mark.parametrize("identity", [[-1, -1], [3, -1], [4, 4], [1]])
def test_batches_without_pairs_are_finite(name, identity):
    x = torch.randn(len(identity), 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = build(name, identities=8, dim=8)(x, torch.tensor(identity))
    value.backward()
    assert torch.isfinite(value)
    assert x.grad is None or torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", ["contrastive", "triplet", "triplet_soft", "margin", "n_pairs"])
def test_clean_clusters_cost_less_than_mixed_ones(name):
    corners = torch.eye(3).repeat_interleave(2, 0)
    loss = build(name, identities=3, dim=3)
    right = loss(corners, torch.tensor([0, 0, 1, 1, 2, 2])).item()
    wrong = loss(corners, torch.tensor([0, 1, 1, 2, 2, 0])).item()
    assert right < wrong


def test_batch_hard_triplets_equal_the_slow_loop_and_unknown_are_never_positives():
    x, identity = batch(3)
    unit = F.normalize(x.detach(), dim=1)
    values = []
    for a in range(6):
        near = [
            float((unit[a] - unit[b]).norm())
            for b in range(8)
            if b != a and identity[b] == identity[a]
        ]
        far = [float((unit[a] - unit[b]).norm()) for b in range(8) if identity[b] != identity[a]]
        values.append(max(0.0, max(near) - min(far) + 0.3))
    value = build("triplet", identities=3, dim=8)(x, identity)
    assert value.item() == pytest.approx(sum(values) / 6, rel=1e-4)


def test_the_hardest_classes_are_counted_by_hand():
    logits = torch.tensor([[2.0, -1.0, 0.0, -3.0]])
    soft = [math.log1p(math.exp(v)) for v in (2.0, -1.0, 0.0, -3.0)]
    unknown = build("hardest_bce", identities=4, dim=1, hardest=2)(logits, torch.tensor([-1]))
    assert float(unknown) == pytest.approx((soft[0] + soft[2]) / 2)
    own = soft[0] - 2.0
    known = build("hardest_bce", identities=4, dim=1, hardest=2)(logits, torch.tensor([0]))
    assert float(known) == pytest.approx((soft[2] + soft[1]) / 2 + own)
    one = build("ohem_focal", identities=4, dim=1)(logits, torch.tensor([-1]))
    p = 1 / (1 + math.exp(-2))
    assert float(one) == pytest.approx(soft[0] * (1 + p**2))


def test_centres_walk_to_their_pictures_and_the_ring_to_its_radius():
    centre = build("center", identities=2, dim=2)
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    identity = torch.tensor([0, 0, -1])
    first = centre(x, identity).item()
    assert first == pytest.approx(0.5)
    torch.testing.assert_close(centre.centres[0], torch.tensor([1 / 3, 0.0]))
    assert centre(x, identity).item() < first
    assert centre.centres[1].abs().sum() == 0
    ring = build("ring", identities=2, dim=2)
    assert ring(torch.tensor([[3.0, 4.0]])).item() == pytest.approx(0.01 * 3.5**2)


def test_margin_sampling_is_repeatable_from_its_state():
    x, identity = batch(5)
    first, second = (build("margin", identities=3, dim=8) for _ in range(2))
    assert first(x, identity).item() == second(x, identity).item()
    third = build("margin", identities=3, dim=8)
    third.load_state_dict(first.state_dict())
    assert first(x, identity).item() == third(x, identity).item()


def test_contrastive_equals_the_double_loop():
    x, _ = batch(7)
    identity = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    unit = F.normalize(x.detach(), dim=1)
    d = torch.cdist(unit, unit)
    same, other = [], []
    for i in range(8):
        for j in range(8):
            if i != j:
                (same if identity[i] == identity[j] else other).append(float(d[i, j]))
    hinge = [(1 - v) ** 2 for v in other if v < 1]
    expected = sum(v * v for v in same) / len(same) + sum(hinge) / max(len(hinge), 1)
    assert build("contrastive", identities=4, dim=8)(x, identity).item() == pytest.approx(
        expected, rel=1e-4
    )


def test_names_are_explained():
    with pytest.raises(TransectError, match="Did you mean 'triplet'"):
        build("tripplet", identities=2, dim=2)
    with pytest.raises(TransectError, match="Did you mean 'margin'"):
        build("triplet", identities=2, dim=2, margn=1)
