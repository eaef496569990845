"""The Siamese network of the whale kernel: its branch, its comparison head, all pairs at once."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from transect.errors import TransectError
from transect.models.blocks import BatchNorm2d, append_coordinates

__all__ = [
    "BRANCH_FEATURES",
    "LowRankScreen",
    "PairHead",
    "SiameseBranch",
    "pair_score_matrix",
]

_log = logging.getLogger(__name__)

BRANCH_FEATURES = 512
_HIDDEN = 32
_COMPILE_FROM = (
    1_000_000  # pairs: from here on compiling (5 to 20 s, once) saves more than it costs
)


class _BranchBlock(nn.Module):
    """Norm, then 1x1 to f, 3x3 at f, 1x1 back, added to the normed input."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.before = BatchNorm2d(channels)
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.between = BatchNorm2d(inner)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1)
        self.expand = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        y = self.between(torch.relu(self.reduce(x)))
        y = self.expand(torch.relu(self.conv(y)))
        return torch.relu(x + y)


class SiameseBranch(nn.Module):
    """The branch of the whale kernel, from scratch: picture to 512 features by global maximum.

    Convolution 9x9/2 to 64, pool, two of [norm, 3x3 to 64], pool, then 128, 256, 384 and 512
    channels with four residual blocks each of inner width 64, 64, 96 and 128, pools between.

    Args:
        in_channels: 1 in the kernel.
        coordinates: Append x and y to the input, with zero weights at the start.

    References:
        Martin Piotte's kernel for the playground competition of 2018.
    """

    def __init__(self, in_channels: int, *, coordinates: bool = False) -> None:
        super().__init__()
        self.coordinates = coordinates
        inputs = in_channels + 2 * coordinates
        first = nn.Conv2d(inputs, 64, 9, stride=2, padding=4)
        if coordinates:
            with torch.no_grad():
                first.weight[:, -2:] = 0
        layers: list[nn.Module] = [first, nn.ReLU(inplace=True), _pool()]
        for _ in range(2):
            layers += [BatchNorm2d(64), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(inplace=True)]
        before = 64
        for channels, inner in ((128, 64), (256, 64), (384, 96), (512, 128)):
            layers.append(_pool())
            if channels < 384:  # the kernel has no norm before its two last widenings
                layers.append(BatchNorm2d(before))
            layers += [nn.Conv2d(before, channels, 1), nn.ReLU(inplace=True)]
            layers += [_BranchBlock(channels, inner) for _ in range(4)]
            before = channels
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 512)."""
        if self.coordinates:
            x = append_coordinates(x)
        return self.body(x).amax((2, 3))


def _pool() -> nn.Module:
    """Halve the map; a last odd row or column stays."""
    return nn.MaxPool2d(2, ceil_mode=True)


class PairHead(nn.Module):
    """Whether two pictures show the same individual, from their features; symmetric.

    For every feature the four numbers ab, a + b, |a - b|, (a - b)^2 go through one small network
    4 -> 32 -> 1, the same for all features; a weighted sum over the features is the logit.

    Args:
        dim: D, the number of features (512: 706 parameters).

    References:
        Martin Piotte's kernel, "head model".
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.first = nn.Linear(4, _HIDDEN)
        self.second = nn.Linear(_HIDDEN, 1)
        self.last = nn.Linear(dim, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Compare row by row.

        Args:
            a: (N, D) features.
            b: (N, D) features.

        Returns:
            (N,) logits; the same if a and b change places.
        """
        difference = a - b
        four = torch.stack([a * b, a + b, difference.abs(), difference.square()], -1)
        per_feature = self.second(torch.relu(self.first(four))).squeeze(-1)  # (N, D)
        return self.last(per_feature).squeeze(-1)

    def matrix(self, a: Tensor, b: Tensor | None = None, *, block: int = 0) -> Tensor:
        """All pairs: (N, D) and (M, D) to (N, M) logits, without gradient.

        Args:
            a: (N, D).
            b: (M, D); None compares ``a`` with itself and computes one triangle only.
            block: Rows of ``b`` at a time; 0 chooses.

        Returns:
            (N, M) float32 on the CPU or the device of ``a``.
        """
        same = b is None or b is a
        out = torch.empty(len(a), len(a) if b is None else len(b), device=a.device)
        _fill(self, a, a if b is None else b, same, block, _into_tensor(out))
        return out


def pair_score_matrix(
    head: PairHead,
    features: Tensor | NDArray[np.float32],
    other: Tensor | NDArray[np.float32] | None = None,
    *,
    block: int = 0,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Score all pairs of pictures into an array that may lie on disk.

    Working memory is a few MiB whatever the size; the result is N x M float32 (13,000 x 13,000:
    676 MB), which a ``numpy.memmap`` as ``out`` keeps out of memory.

    Args:
        head: The trained head.
        features: (N, D).
        other: (M, D); None compares the features with themselves and computes half.
        block: Columns at a time; 0 chooses.
        out: (N, M) float32 array to write to, or None for a new one.

    Returns:
        ``out``: logits; symmetric if ``other`` is None.

    Raises:
        TransectError: If shapes do not fit.
    """
    device = head.last.weight.device
    a = torch.as_tensor(features, dtype=torch.float32, device=device)
    b = a if other is None else torch.as_tensor(other, dtype=torch.float32, device=device)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != head.dim or b.shape[1] != head.dim:
        raise TransectError(
            f"features must be (N, {head.dim}) for this head; got {tuple(a.shape)} and "
            f"{tuple(b.shape)}. Were they made by another network?"
        )
    if out is None:
        out = np.empty((len(a), len(b)), np.float32)
    elif out.shape != (len(a), len(b)):
        raise TransectError(
            f"out must be ({len(a)}, {len(b)}); got {out.shape}. Make it as large as the result."
        )
    _fill(head, a, b, other is None, block, _into_array(out))
    return out


_Writer = Callable[[slice, slice, Tensor], None]


def _into_tensor(out: Tensor) -> _Writer:
    """A writer of blocks into a tensor."""

    def write(rows: slice, columns: slice, values: Tensor) -> None:
        out[rows, columns] = values

    return write


def _into_array(out: NDArray[np.float32]) -> _Writer:
    """A writer of blocks into an array or a file."""

    def write(rows: slice, columns: slice, values: Tensor) -> None:
        out[rows, columns] = values.cpu().numpy()

    return write


@torch.no_grad()
def _fill(head: PairHead, a: Tensor, b: Tensor, same: bool, block: int, write: _Writer) -> None:
    """Score blocks; of a square the blocks on and above the diagonal, mirrored."""
    a, b = a.detach().float(), b.detach().float()
    weights, features, positive, shift = _constants(head)
    pairs = len(a) * len(b) // (2 if same else 1)
    compiled = _compiled(a.device.type) if pairs >= _COMPILE_FROM else None
    size = block or (256 if compiled is None else 512)
    for top in range(0, len(a), size):
        rows = slice(top, min(top + size, len(a)))
        for left in range(top if same else 0, len(b), size):
            columns = slice(left, min(left + size, len(b)))
            if compiled is None:
                values = _in_slices(a[rows], b[columns], weights, features, positive)
            else:
                # Always the same shape, so that it is compiled once.
                x, y = (
                    functional.pad(part, (0, 0, 0, size - len(part)))
                    for part in (a[rows], b[columns])
                )
                values = compiled(x, y, weights, features, positive)
                values = values[: rows.stop - rows.start, : columns.stop - columns.start]
            values = values + shift
            if same and left == top:
                values = values.triu() + values.triu(1).T  # bit for bit symmetric
            write(rows, columns, values)
            if same and left != top:
                write(columns, rows, values.T)


def _constants(head: PairHead) -> tuple[Tensor, Tensor, int, Tensor]:
    """The head's numbers as the kernels want them.

    The size of each output weight is pulled into its ReLU, so that only its sign stays outside:
    the hidden units are sorted, those that are added first.

    Returns:
        (H, 5) weights for ab, a + b, |a - b|, (a - b)^2 and 1; (D,) weights of the features; how
        many hidden units are added (the rest is subtracted); what is added to every logit.
    """
    second = head.second.weight.detach().float()[0]
    first = torch.cat([head.first.weight, head.first.bias[:, None]], 1).detach().float()
    order = torch.argsort((second < 0).int(), stable=True)
    weights = (first * second.abs()[:, None])[order].contiguous()
    features = head.last.weight.detach().float()[0].contiguous()
    shift = head.second.bias * features.sum() + head.last.bias
    return weights, features, int((second >= 0).sum()), shift.detach()


def _fused(a: Tensor, b: Tensor, weights: Tensor, features: Tensor, positive: int) -> Tensor:
    """One expression per pair and feature, for the compiler to keep in registers."""
    x, y = a[:, None, :], b[None, :, :]  # (n, 1, D), (1, m, D)
    product, total, distance = x * y, x + y, (x - y).abs()
    square = distance * distance
    score = torch.zeros_like(product)
    for hidden in range(len(weights)):
        w = weights[hidden]
        unit = torch.relu(w[0] * product + w[1] * total + w[2] * distance + w[3] * square + w[4])
        score = score + unit if hidden < positive else score - unit
    return (score * features).sum(-1)


def _in_slices(a: Tensor, b: Tensor, weights: Tensor, features: Tensor, positive: int) -> Tensor:
    """The same without a compiler: matrix products on slices of features that stay in cache."""
    n, m, dim = len(a), len(b), a.shape[1]
    rows = 16 if a.device.type == "cpu" else n
    step = max(1, 8192 // (rows * 16)) if a.device.type == "cpu" else 8
    columns = 16 if a.device.type == "cpu" else m
    sign = torch.ones(len(weights), device=a.device)
    sign[positive:] = -1
    four, bias = weights[:, :4].contiguous(), weights[:, 4:].contiguous()
    out = torch.zeros(n, m, device=a.device)
    for top in range(0, n, rows):
        for left in range(0, m, columns):
            part = out[top : top + rows, left : left + columns]
            for start in range(0, dim, step):
                x = a[top : top + rows, None, start : start + step]
                y = b[None, left : left + columns, start : start + step]
                d = x - y
                inputs = torch.stack([x * y, x + y, d.abs(), d * d]).flatten(1)  # (4, T)
                score = sign @ torch.addmm(bias, four, inputs).relu_()
                part += score.view(*d.shape) @ features[start : start + step]
    return out


@functools.cache
def _compiled(device: str) -> Callable[..., Tensor] | None:
    """The fused kernel, compiled; None where there is no compiler (slower, same result)."""
    if device == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "cl")):
        _log.info("no C++ compiler was found: scoring pairs takes about ten times as long")
        return None
    kernel: Callable[..., Tensor] = torch.compile(_fused, dynamic=False)
    trial = torch.rand(2, 3, device=device)
    try:
        kernel(trial, trial, torch.rand(2, 5, device=device), torch.rand(3, device=device), 1)
    except Exception as error:  # whatever a compiler, its headers or its cache may lack
        _log.info("pairs are scored without the compiler: %s", str(error).splitlines()[:1])
        return None
    return kernel


class LowRankScreen:
    """A fast approximation of a ``PairHead``: two tables of features and one matrix product.

    The head's network is one function g(a, b) of two numbers. Its values on a grid are split into
    eigenvectors; the leading ones, interpolated at every feature, turn the score into a product
    of N x (D * rank) matrices. Use it to choose candidates, and the head itself to score them.

    Args:
        head: The trained head.
        features: (N, D) features that show the range of values.
        rank: Eigenvectors kept; 16 gave the same nearest pictures as the exact head in our tests
            at a third of its time, 8 in 99.6 % of them.
        points: Of the grid.
    """

    def __init__(
        self, head: PairHead, features: Tensor, *, rank: int = 16, points: int = 256
    ) -> None:
        values = features.detach().float().flatten()
        low, high = values.min(), values.max()
        grid = torch.linspace(float(low), float(high) + 1e-6, points, device=values.device)
        with torch.no_grad():
            x, y = torch.meshgrid(grid, grid, indexing="ij")
            d = x - y
            four = torch.stack([x * y, x + y, d.abs(), d.square()], -1)
            table = head.second(torch.relu(head.first(four))).squeeze(-1)  # (points, points)
            # Weigh the grid by how often its values occur, so that the error is small there.
            place = ((values - low) / (grid[1] - grid[0])).long().clamp(0, points - 1)
            often = torch.bincount(place, minlength=points).float() / len(values)
            weight = (often + 1e-4).sqrt()
            eigen, vectors = torch.linalg.eigh((table + table.T) / 2 * weight * weight[:, None])
            keep = eigen.abs().argsort(descending=True)[:rank]
            self._signed = eigen[keep]
            self._vectors = (vectors[:, keep] / weight[:, None]).contiguous()  # (points, rank)
            self._features = head.last.weight.detach().float()[0]
            self._bias = head.last.bias.detach().float()
        self._low, self._step, self._points = low, grid[1] - grid[0], points

    def matrix(self, a: Tensor, b: Tensor) -> Tensor:
        """Approximate logits of all pairs: (N, D) and (M, D) to (N, M)."""
        left = self._table(a) * self._signed * self._features[:, None]
        return left.flatten(1) @ self._table(b).flatten(1).T + self._bias

    def _table(self, x: Tensor) -> Tensor:
        """Eigenvectors interpolated at every feature: (N, D) to (N, D, rank)."""
        place = ((x.detach().float() - self._low) / self._step).clamp(0, self._points - 1.001)
        index = place.long()
        part = (place - index)[..., None]
        return torch.lerp(self._vectors[index], self._vectors[index + 1], part)
