import pytest
import torch
from torch import nn

from transect.models.blocks import ConvBlock, convolve_beside


def repeated(x, vector):
    return torch.cat([x, vector[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 3), (9, 16)])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 1)])
def test_a_vector_beside_a_map_counts_as_if_it_were_repeated_at_every_pixel(
    size_hw, kernel, dilation
):
    torch.manual_seed(0)
    reach = dilation * (kernel // 2)
    conv = nn.Conv2d(3 + 7, 4, kernel, padding=reach, dilation=dilation)
    x, vector = torch.randn(2, 3, *size_hw), torch.randn(2, 7)
    torch.testing.assert_close(
        convolve_beside(conv, x, vector), conv(repeated(x, vector)), atol=1e-5, rtol=0
    )


def test_it_trains_as_the_repeated_vector_does():
    torch.manual_seed(0)
    conv = nn.Conv2d(3 + 7, 4, 3, padding=1)
    x, vector = (torch.randn(2, *s, requires_grad=True) for s in ((3, 6, 5), (7,)))
    parts = [x, vector, *conv.parameters()]
    found = torch.autograd.grad(convolve_beside(conv, x, vector).square().sum(), parts)
    expected = torch.autograd.grad(conv(repeated(x, vector)).square().sum(), parts)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("norm", ["batch", None])
def test_a_block_takes_a_vector_and_keeps_its_weights_names(norm):
    torch.manual_seed(0)
    block = ConvBlock(3 + 7, 4, norm=norm, act=nn.ELU(inplace=True)).eval()
    x, vector = torch.randn(2, 3, 8, 8), torch.randn(2, 7)
    torch.testing.assert_close(block(x, vector), block(repeated(x, vector)), atol=1e-5, rtol=0)
    assert block.state_dict()["0.weight"].shape == (4, 10, 3, 3)
