import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as oracle

from transect.errors import TransectError
from transect.models.heads import HEADS, CosineHead, build_head, dynamic_margins
from transect.recipe import Embedding


def vectors(count=6, dim=8):
    values = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return torch.nn.functional.normalize(torch.from_numpy(values))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("flip", [False, True])
def test_every_head_gives_logits_and_gradients(name, flip):
    torch.manual_seed(0)
    margin = (1.0, 0.4, 0.15) if name == "combined" else 0.4
    spec = Embedding(dim=8, head=name, margin=margin, flip_labels=flip, neutral_twin=flip)
    head = build_head(spec, 5, [1, 2, 3, 4, 5])
    label = torch.tensor([0, 1, 2, 3, 4, 0])
    logits = head(vectors(), label)
    assert logits.shape == (6, 10 if flip else 5)
    torch.nn.functional.cross_entropy(logits, label).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())
    assert head.inference(vectors()).shape == logits.shape
    assert head(vectors(1), torch.tensor([0])).shape[0] == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"angular": 0.5}, oracle.ArcFaceLoss(5, 8, margin=math.degrees(0.5), scale=30)),
        ({"cosine": 0.35}, oracle.CosFaceLoss(5, 8, margin=0.35, scale=30)),
    ],
)
def test_margins_agree_with_pytorch_metric_learning(ours, theirs):
    head = CosineHead(8, 5, scale=30.0, **ours)
    with torch.no_grad():
        theirs.W.copy_(head.weight.T)
    label = torch.tensor([0, 1, 2, 3, 4, 0])
    # Their ArcFace does not continue beyond pi; these angles stay below it.
    mine = torch.nn.functional.cross_entropy(head(vectors(), label), label)
    assert mine.item() == pytest.approx(theirs(vectors(), label).item(), rel=1e-4)


def test_sphereface_worked_by_hand():
    # 60 degrees, m1 = 4: 240 degrees lie in the second half turn, -cos 240 - 2 = -1.5.
    head = CosineHead(2, 1, scale=1.0, multiplicative=4.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0]]))
    picture = torch.tensor([[0.5, 3**0.5 / 2]])
    assert head(picture, torch.tensor([0])).item() == pytest.approx(-1.5, abs=1e-5)


def test_the_margin_falls_over_the_whole_half_circle():
    head = CosineHead(8, 5, multiplicative=1.5, angular=0.5, cosine=0.1)
    cosine = torch.cos(torch.linspace(0, math.pi, 200))
    values = head._with_margin(cosine, head.margins[:1].expand(200, 2))
    assert (values.diff() < 1e-6).all()
    assert (values <= cosine + 1e-6).all()


def test_subcenters_answer_with_the_nearest_centre():
    head = CosineHead(2, 1, subcenters=2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    both = head.inference(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    assert both.flatten().tolist() == pytest.approx([1.0, 1.0])


def test_rare_identities_get_the_larger_margin():
    margins = dynamic_margins([1, 10, 1000], 0.05, 0.271, 0.364)
    assert margins[0].item() == pytest.approx(0.321)
    assert (margins.diff() < 0).all()
    spec = Embedding(dim=8, dynamic_margin=(0.05, 0.271, 0.364), flip_labels=True)
    head = build_head(spec, 3, [1, 10, 1000])
    torch.testing.assert_close(head.margins[:, 0], torch.cat([margins, margins]))


def test_the_mirrored_twin_takes_no_part():
    spec = Embedding(dim=8, flip_labels=True, neutral_twin=True)
    head = build_head(spec, 3, [1, 1, 1])
    share = head(vectors(2), torch.tensor([1, 5])).softmax(1)
    assert share[0, 4] == 0
    assert share[1, 2] == 0


def test_one_class_and_wrong_counts():
    assert build_head(Embedding(dim=8), 1, [4])(vectors(), torch.zeros(6).long()).shape == (6, 1)
    with pytest.raises(TransectError, match="one count each"):
        build_head(Embedding(dim=8), 3, [1])
    with pytest.raises(TransectError, match="Did you mean 'arcface'"):
        build_head(Embedding(head="arcfase"), 1, [1])
    with pytest.raises(TransectError, match="three margins"):
        build_head(Embedding(head="combined", margin=(1.0, 2.0)), 1, [1])
