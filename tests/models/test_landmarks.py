import numpy as np
import pytest
import torch

from transect.models.landmarks import LandmarkNetwork, landmark_loss, to_pixels
from transect.recipe import Network


def network(points):
    torch.manual_seed(0)
    spec = Network(encoder="plain", width=8, levels=3, weights=None)
    return LandmarkNetwork(spec, in_channels=1, points=points)


def test_shapes_and_ranges():
    out = network(4)(torch.randn(2, 1, 33, 40))
    assert out["box"].shape == (2, 4)
    assert out["points"].shape == (2, 4, 2)
    assert out["score"].shape == (2, 1)
    assert (out["box"][:, 2:] >= out["box"][:, :2]).all()
    for part in ("box", "points"):
        assert out[part].min() >= 0
        assert out[part].max() <= 1
    assert "points" not in network(0)(torch.randn(1, 1, 16, 16))


def test_it_learns_where_a_bright_spot_is():
    rng = np.random.default_rng(0)
    model = network(1).train()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    far = []
    for _ in range(20):
        place = rng.integers(3, 21, (8, 2))
        x = torch.zeros(8, 1, 24, 24)
        for i, (row, column) in enumerate(place):
            x[i, 0, row - 2 : row + 3, column - 2 : column + 3] = 1
        share = torch.tensor((place[:, ::-1] + 0.5) / 24, dtype=torch.float32)
        box = torch.cat([share - 2.5 / 24, share + 2.5 / 24], 1)
        out = model(x)
        optimiser.zero_grad()
        landmark_loss(out, box=box, present=torch.ones(8), points=share[:, None]).backward()
        optimiser.step()
        far.append((out["points"][:, 0] - share).norm(dim=1).mean().item() * 24)
    assert np.mean(far[-5:]) < 2.5  # pixels; a constant answer stays near 7


def test_absent_animals_and_hidden_points_do_not_pull():
    out = {
        "box": torch.rand(2, 4, requires_grad=True),
        "points": torch.rand(2, 3, 2, requires_grad=True),
        "score": torch.zeros(2, 1, requires_grad=True),
    }
    visible = torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    landmark_loss(
        out, box=torch.rand(2, 4), present=torch.tensor([1, 0]),
        points=torch.rand(2, 3, 2), visible=visible,
    ).backward()  # fmt: skip
    assert out["box"].grad[1].abs().sum() == 0
    assert out["points"].grad[1].abs().sum() == 0
    assert out["points"].grad[0, 1:].abs().sum() == 0
    assert out["points"].grad[0, 0].abs().sum() > 0


def test_shares_become_pixels_with_centres_at_integers():
    box = to_pixels(torch.tensor([0.0, 0.0, 1.0, 1.0]), (4, 8))
    assert box.tolist() == pytest.approx([-0.5, -0.5, 7.5, 3.5])
