import numpy as np
import pytest
import torch

from transect.errors import TransectError
from transect.models import siamese
from transect.models.siamese import LowRankScreen, PairHead, SiameseBranch, pair_score_matrix


def features(count, dim=24, seed=0):
    values = np.abs(np.random.default_rng(seed).normal(size=(count, dim)))
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture
def head():
    torch.manual_seed(3)
    return PairHead(24)


def test_the_head_has_the_kernels_706_parameters():
    assert sum(p.numel() for p in PairHead(512).parameters()) == 706


def test_the_head_is_symmetric(head):
    a, b = features(50), features(50, seed=1)
    assert torch.equal(head(a, b), head(b, a))


def test_matrix_equals_the_loop(head):
    a, b = features(21), features(35, seed=1)
    with torch.no_grad():
        loop = torch.stack([head(row.expand(len(b), -1), b) for row in a])
    torch.testing.assert_close(head.matrix(a, b, block=16), loop, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(head.matrix(a, b), loop, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block", [0, 7, 16])
def test_triangle_equals_the_whole_and_is_symmetric(head, block):
    a = features(37)
    half = head.matrix(a, block=block)
    torch.testing.assert_close(half, head.matrix(a, a.clone()), atol=1e-5, rtol=1e-5)
    assert torch.equal(half, half.T)


def test_the_fused_expression_is_the_same_function(head):
    a, b = features(5), features(6, seed=1)
    weights, per_feature, positive, shift = siamese._constants(head)
    fused = siamese._fused(a, b, weights, per_feature, positive) + shift
    torch.testing.assert_close(fused, head.matrix(a, b), atol=1e-5, rtol=1e-5)


def test_scores_can_be_written_to_a_file(head, tmp_path):
    a = features(19)
    out = np.memmap(tmp_path / "s.bin", np.float32, "w+", shape=(19, 19))
    result = pair_score_matrix(head, a.numpy(), block=8, out=out)
    assert result is out
    np.testing.assert_allclose(out, head.matrix(a).numpy(), atol=1e-5)


def test_wrong_shapes_get_a_sentence(head):
    with pytest.raises(TransectError, match=r"features must be \(N, 24\)"):
        pair_score_matrix(head, np.zeros((3, 5), np.float32))
    with pytest.raises(TransectError, match=r"out must be \(3, 3\)"):
        pair_score_matrix(head, features(3), out=np.zeros((2, 2), np.float32))


def test_low_rank_finds_the_same_best_partner(head):
    a, b = features(40), features(60, seed=1)
    screen = LowRankScreen(head, torch.cat([a, b]), rank=24)
    exact, approximate = head.matrix(a, b), screen.matrix(a, b)
    assert (exact - approximate).abs().max() < 0.1 * exact.std()
    best = exact.argmax(1, keepdim=True)
    top5 = approximate.topk(5, 1).indices
    assert (top5 == best).any(1).all()


def test_the_branch_gives_512_features_at_any_size_and_learns():
    torch.manual_seed(0)
    branch = SiameseBranch(1).train()
    out = branch(torch.randn(1, 1, 70, 41))
    assert out.shape == (1, 512)
    out.mean().backward()
    assert branch.body[0].weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_the_compiled_kernel_agrees(head):
    kernel = siamese._compiled("cpu")
    if kernel is None:
        pytest.skip("no compiler here")
    a, b = features(40), features(40, seed=1)
    weights, per_feature, positive, shift = siamese._constants(head)
    values = kernel(a, b, weights, per_feature, positive) + shift
    torch.testing.assert_close(values, head.matrix(a, b), atol=1e-4, rtol=1e-4)
