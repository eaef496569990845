import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.errors import TransectError
from transect.predict.views import VIEWS, view, view_mean, with_views


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(VIEWS)),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_views_are_undone_exactly(name, height, width, seed):
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(view(name).invert(view(name).apply(x), (height, width)), x)


def test_views_differ():
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    seen = {(tuple(v.apply(x).shape), tuple(v.apply(x).flatten().tolist())) for v in VIEWS.values()}
    assert len(seen) == len(VIEWS) - 1  # hvflip is rot180


def test_scale_sees_another_size_and_comes_back():
    x = torch.full((1, 2, 20, 30), 0.25)
    half = view("scale:0.5")
    assert half.apply(x).shape == (1, 2, 10, 15)
    torch.testing.assert_close(half.invert(half.apply(x), (20, 30)), x)


def test_pointwise_networks_do_not_see_exact_views():
    x = torch.randn(2, 3, 5, 7)
    run = with_views(torch.sigmoid, list(VIEWS))
    torch.testing.assert_close(run(x), torch.sigmoid(x))


@pytest.mark.parametrize(
    ("mean", "value"), [("arithmetic", 0.5), ("geometric", 0.4), ("power:-1", 0.32)]
)
def test_means_of_two_numbers(mean, value):
    into, out_of = view_mean(mean)
    p = torch.tensor([0.2, 0.8])
    assert float(out_of(into(p).mean())) == pytest.approx(value)


def test_power_of_one_is_the_arithmetic_mean():
    def network(x):
        return torch.sigmoid(x + torch.arange(x.shape[3]))

    x = torch.randn(1, 1, 4, 6)
    names = ["identity", "hflip", "rot90"]
    torch.testing.assert_close(
        with_views(network, names, "power:1")(x), with_views(network, names, "arithmetic")(x)
    )


@pytest.mark.parametrize(
    ("names", "mean", "says"),
    [
        (["hflop"], "arithmetic", "Did you mean 'hflip'"),
        (["scale:big"], "arithmetic", "must be a number"),
        (["scale:99"], "arithmetic", "must be in"),
        ([], "arithmetic", "at least one view"),
        (["hflip"], "median", "view_mean must be one of"),
        (["hflip"], "power:0", "must be within"),
        (["hflip"], "power:x", "must be a number"),
    ],
)
def test_mistakes_are_explained(names, mean, says):
    with pytest.raises(TransectError, match=says):
        with_views(torch.sigmoid, names, mean)
