import numpy as np
import pytest

from transect.errors import TransectError
from transect.postprocess import boxes

HEAP = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30.0]])
SCORES = np.array([0.8, 0.9, 0.7])


def test_nms_by_hand_and_by_class():
    assert boxes.nms(HEAP, SCORES).tolist() == [1, 2]
    assert boxes.nms(HEAP, SCORES, overlap=0.9).tolist() == [1, 0, 2]
    assert boxes.nms(HEAP, SCORES, classes=np.array([0, 1, 0])).tolist() == [1, 0, 2]
    assert boxes.nms(np.empty((0, 4)), np.empty(0)).tolist() == []


@pytest.mark.slow  # the import takes seconds
def test_nms_agrees_with_torchvision():
    torch = pytest.importorskip("torch")
    from torchvision.ops import nms

    rng = np.random.default_rng(0)
    low = rng.random((100, 2)) * 50
    many, scores = np.concatenate([low, low + 5 + 20 * rng.random((100, 2))], 1), rng.random(100)
    theirs = nms(torch.from_numpy(many), torch.from_numpy(scores), 0.4).tolist()
    assert boxes.nms(many, scores, overlap=0.4).tolist() == theirs


def test_soft_nms_lowers_rivals():
    rows, scores = boxes.soft_nms(HEAP, SCORES)
    share = 90 / 110
    assert rows.tolist() == [1, 2, 0]
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * np.exp(-(share**2) / 0.5)])
    rows, scores = boxes.soft_nms(HEAP, SCORES, method="linear", min_score=0.2)
    assert rows.tolist() == [1, 2]
    with pytest.raises(TransectError, match="Did you mean 'linear'"):
        boxes.soft_nms(HEAP, SCORES, method="linaer")


def test_fusion_averages_and_lonely_boxes_lose_score():
    fused, scores, kinds = boxes.weighted_boxes_fusion(
        [HEAP[:1], HEAP[1:]], [SCORES[:1], SCORES[1:]]
    )
    assert fused[0].tolist() == pytest.approx([0.9 / 1.7, 0, 10 + 0.9 / 1.7, 10])
    assert scores.tolist() == pytest.approx([0.85, 0.35])
    assert kinds.tolist() == [0, 0]
    apart = boxes.weighted_boxes_fusion(
        [HEAP[:1], HEAP[1:]], [SCORES[:1], SCORES[1:]], [np.array([0]), np.array([1, 1])]
    )
    assert len(apart[0]) == 3
    assert boxes.weighted_boxes_fusion([], [])[0].shape == (0, 4)


def test_points_of_three_models_are_joined():
    points = [np.array([[0, 0], [50, 50]]), np.array([[2, 0]]), np.array([[1, 0], [1, 1]])]
    scores = [np.array([0.9, 0.5]), np.array([0.9]), np.array([0.9, 0.3])]
    where, sure, votes = boxes.fuse_points(points, scores, radius=3)
    assert votes.tolist() == [3, 1, 1]
    assert where[0].tolist() == pytest.approx([1, 0])
    assert sure.tolist() == pytest.approx([0.9, 0.5 / 3, 0.1])
    assert len(boxes.fuse_points(points, scores, radius=3, min_votes=2)[0]) == 1
    assert boxes.fuse_points([], [], radius=3)[0].shape == (0, 2)


def test_shrinking_keeps_the_middle():
    assert boxes.shrink(np.array([[0, 0, 10, 20.0]]), 0.1).tolist() == [[1, 2, 9, 18]]
