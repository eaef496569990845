"""Losses of density maps: the total of a tile, and the cost of moving mass to where it belongs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from transect.errors import unknown_name
from transect.losses.valid import check

__all__ = ["density_sum", "optimal_transport"]


def density_sum(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, kind: str = "l1"
) -> Tensor:
    """Difference of the sums of a map, per image and class: the count is right, never mind where.

    Args:
        logits: (N, C, H, W) raw densities, or (N, C) counts.
        target: Same shape; its sum is the (possibly fractional) count.
        valid: (N, 1, H, W); pixels at 0 do not count.
        kind: ``l1`` or ``mse`` (sea lion 4th place: mean squared error per class).
    """
    if kind not in ("l1", "mse"):
        raise unknown_name("kind", kind, ("l1", "mse"))
    logits, target = check(logits, target, valid)
    difference = logits - target
    if valid is not None:
        difference = torch.where(valid > 0, difference, torch.zeros_like(difference))
    missing = difference.flatten(2).sum(2) if difference.ndim > 2 else difference
    return (missing.abs() if kind == "l1" else missing**2).mean()


def optimal_transport(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    grid: int = 32,
    blur: float = 0.05,
    reach: float = 0.25,
    steps: int = 30,
) -> Tensor:
    """Cost of carrying the predicted density to the true one, with a price for what stays behind.

    Unbalanced entropic transport as a Sinkhorn divergence, so that the same map costs nothing
    and every other one something. Distances are shares of the longer side, squared. Maps are
    summed into cells first; the Gaussian kernel separates into rows and columns, so a step is
    two small products. Gradients come from the potentials, not from unrolling the steps.

    Args:
        logits: (N, C, H, W) raw densities; mass below zero counts as zero but is pushed up.
        target: Same shape, >= 0: points as ones, or blurred.
        valid: (N, 1, H, W); pixels at 0 carry no mass.
        grid: Most cells along the longer side.
        blur: Square root of the entropic weight: finer differences in place are not seen.
        reach: Beyond this distance mass is rather created than carried. Our guess.
        steps: Sinkhorn steps.

    Returns:
        Mean over images and classes, >= 0, in units of mass times squared distance.

    References:
        Wan, Liu and Chan 2021, A generalized loss function for crowd counting; Séjourné et al.
        2019, Sinkhorn divergences for unbalanced optimal transport.
    """
    logits, target = check(logits, target, valid)
    inside = torch.ones_like(logits[:, :1]) if valid is None else (valid > 0).to(logits.dtype)
    straight = logits + (logits.clamp_min(0) - logits).detach()
    source = _cells(straight * inside, grid)  # (M, h, w)
    goal = _cells(target.clamp_min(0) * inside, grid)
    epsilon, rho = blur**2, reach**2
    with torch.no_grad():
        price = _prices(source, epsilon)
        f, g = _sinkhorn(source, goal, price, epsilon, rho, steps)
        f_self, _ = _sinkhorn(source, source, price, epsilon, rho, steps, symmetric=True)
        g_self, _ = _sinkhorn(goal, goal, price, epsilon, rho, steps, symmetric=True)
        at_source = torch.exp(-f_self / rho) - torch.exp(-f / rho)
        at_goal = torch.exp(-g_self / rho) - torch.exp(-g / rho)
    axes = (1, 2)
    carried = (source * at_source).sum(axes)
    value = (rho + epsilon / 2) * (carried + (goal * at_goal).sum(axes))
    slope = (rho + epsilon) * carried  # envelope theorem: the potentials are held constant
    return (slope + (value - slope).detach()).mean()


def _cells(maps: Tensor, grid: int) -> Tensor:
    """(N, C, H, W) to (N*C, h, w) sums over square cells, h and w at most ``grid``."""
    height, width = maps.shape[-2:]
    side = -(-max(height, width) // grid)
    padded = F.pad(maps, (0, -width % side, 0, -height % side))
    return F.avg_pool2d(padded, side).flatten(0, 1) * side**2


def _prices(maps: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Minus squared distance over epsilon, between rows and between columns."""
    height, width = maps.shape[-2:]
    longest = max(height, width)
    y = torch.arange(height, device=maps.device, dtype=maps.dtype) / longest
    x = torch.arange(width, device=maps.device, dtype=maps.dtype) / longest
    return -((y[:, None] - y) ** 2) / epsilon, -((x[:, None] - x) ** 2) / epsilon


def _sinkhorn(
    a: Tensor,
    b: Tensor,
    price: tuple[Tensor, Tensor],
    epsilon: float,
    rho: float,
    steps: int,
    *,
    symmetric: bool = False,
) -> tuple[Tensor, Tensor]:
    """Potentials (M, h, w) of the unbalanced problem between two stacks of maps."""
    log_a, log_b = a.clamp_min(1e-12).log(), b.clamp_min(1e-12).log()
    damping = rho / (rho + epsilon)
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    for _ in range(steps):
        if symmetric:
            f = (f - damping * epsilon * _smooth(log_b + f / epsilon, price)) / 2
            continue
        f = -damping * epsilon * _smooth(log_b + g / epsilon, price)
        g = -damping * epsilon * _smooth(log_a + f / epsilon, price)
    return f, g


def _smooth(logs: Tensor, price: tuple[Tensor, Tensor]) -> Tensor:
    """Log of the Gaussian-blurred exponential, rows first, then columns."""
    rows_price, columns_price = price
    top = logs.amax((1, 2), keepdim=True)
    across = torch.logsumexp((logs - top)[:, :, None, :] + columns_price[None, None], dim=3)
    down = torch.logsumexp(across.transpose(1, 2)[:, :, None, :] + rows_price[None, None], dim=3)
    return down.transpose(1, 2) + top
