"""The same changes for a whole batch on a device: one grid, one colour expression, no loop."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from transect.augment.fields import STEEPEST, nodes, spread
from transect.augment.validity import allowed
from transect.recipe import Augment

__all__ = ["augment_batch", "left_out"]

_PADDING = {"reflect": "reflection", "edge": "border", "zero": "zeros"}
_GRID_CELLS = 5
# RGB to YIQ (ITU-R BT.601) and back, as in ``tones``.
_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def left_out(spec: Augment) -> tuple[str, ...]:
    """Name the kinds that are on but that the batched form does not have.

    Args:
        spec: The augmentation.

    Returns:
        Names out of motion_blur, low_resolution, clahe and policy.

    Example:
        >>> left_out(Augment(hflip=0.5, clahe_p=0.1))
        ('clahe',)
    """
    on = {
        "motion_blur": spec.motion_blur > 1 and spec.motion_blur_p > 0,
        "low_resolution": spec.low_resolution < 1 and spec.low_resolution_p > 0,
        "clahe": spec.clahe_p > 0,
        "policy": spec.policy != "none",
    }
    return tuple(kind for kind, is_on in on.items() if is_on)


def augment_batch(
    images: Tensor,
    planes: Tensor | None,
    spec: Augment,
    generator: torch.Generator,
    fraction: float = 1.0,
) -> tuple[Tensor, Tensor | None]:
    """Change a batch at random on the device it lies on, every picture differently.

    The size stays. What a turn brings in from outside is the border, as the surroundings are not
    in the batch. Nothing waits for the device: which pictures are changed is decided by masks.
    Kinds that ``left_out`` names are not applied.

    Args:
        images: (N, C, H, W), uint8, or float from 0 to 1: before normalisation.
        planes: (N, T, H, W) float soft targets that move with the images, or None.
        spec: The augmentation.
        generator: The only source of randomness, best on the device of ``images``.
        fraction: How far training is, [0, 1]; only flips before ``spec.warmup``.

    Returns:
        Images, float from 0 to 1, and planes, both as new tensors unless nothing is on.

    Raises:
        TransectError: If ``spec`` has a misspelt name or a number out of range.
    """
    spec = replace(allowed(spec, fraction < spec.warmup), policy="none")
    if not images.is_floating_point():
        images = images.float() / 255
    draw = _Draws(generator, images)
    channels = images.shape[1]
    both = images if planes is None else torch.cat([images, planes.to(images.dtype)], dim=1)
    both = _moved(both, spec, draw)
    images, targets = both[:, :channels], both[:, channels:]
    images = _toned(images, spec, draw)
    images = _coloured(images, spec, draw)
    if spec.blur and spec.blur_p:
        images = _blurred(images, spec, draw)
    if spec.noise and spec.noise_p:
        sigma = draw.unit() * spec.noise * draw.chance(spec.noise_p)
        images = (images + draw.normal(images.shape) * _per_image(sigma)).clamp(0, 1)
    if spec.cutout and spec.cutout_p:
        images = _cut_out(images, None if planes is None else targets, spec, draw)
    return images, None if planes is None else targets


class _Draws:
    """Random numbers per picture, on the device of the batch."""

    def __init__(self, generator: torch.Generator, like: Tensor) -> None:
        self.generator, self.like, self.count = generator, like, like.shape[0]

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1) of any shape."""
        made = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return made.to(self.like, non_blocking=True)

    def normal(self, shape: torch.Size) -> Tensor:
        """Gaussian numbers of deviation 1."""
        made = torch.randn(shape, generator=self.generator, device=self.generator.device)
        return made.to(self.like, non_blocking=True)

    def unit(self) -> Tensor:
        """(N,) in [0, 1)."""
        return self.uniform(self.count)

    def around(self, largest: float) -> Tensor:
        """(N,) in [-largest, largest)."""
        return largest * (2 * self.unit() - 1)

    def chance(self, probability: float) -> Tensor:
        """(N,) bool, True with the probability."""
        return self.unit() < probability


def _per_image(values: Tensor) -> Tensor:
    """(N,) to (N, 1, 1, 1)."""
    return values[:, None, None, None]


def _moved(x: Tensor, spec: Augment, draw: _Draws) -> Tensor:
    """All geometry: copies if there are only flips and turns of squares, else one sampling."""
    height, width = x.shape[2:]
    moves = spec.shift or spec.scale != (1.0, 1.0) or spec.aspect or spec.shear
    smooth = (
        (moves and spec.affine_p)
        or (spec.rotate and spec.rotate_p)
        or (spec.crop and spec.crop_p)
        or (spec.perspective and spec.perspective_p)
        or (spec.elastic and spec.elastic_p)
        or (spec.grid and spec.grid_p)
        or (spec.barrel and spec.barrel_p)
        or (spec.rot90 and height != width)
    )
    if smooth:
        return _sampled(x, _matrices(spec, draw, height, width), spec, draw)
    if spec.hflip:
        x = torch.where(_per_image(draw.chance(spec.hflip)), x.flip(3), x)
    if spec.vflip:
        x = torch.where(_per_image(draw.chance(spec.vflip)), x.flip(2), x)
    if spec.rot90:
        turns = _per_image(draw.chance(spec.rot90) * (1 + (draw.unit() * 3).floor()))
        half = torch.where(turns >= 2, x.flip((2, 3)), x)
        x = torch.where(turns % 2 == 1, half.transpose(2, 3).flip(2), half)
    return x


def _matrices(spec: Augment, draw: _Draws, height: int, width: int) -> Tensor:
    """(N, 3, 3) from output to source pixels, both about the middle of the picture."""
    one, zero = torch.ones_like(draw.unit()), torch.zeros_like(draw.unit())
    a = torch.where(draw.chance(spec.hflip), -one, one)
    d = torch.where(draw.chance(spec.vflip), -one, one)
    matrix = _stacked(a, zero, zero, zero, d, zero, zero, zero, one)
    if spec.rot90:
        turns = draw.chance(spec.rot90) * (1 + (draw.unit() * 3).floor())
        cos, sin = torch.cos(turns * math.pi / 2).round(), torch.sin(turns * math.pi / 2).round()
        matrix = matrix @ _stacked(cos, sin, zero, -sin, cos, zero, zero, zero, one)
    if spec.crop and spec.crop_p:
        x0, x1, y0, y1 = (spec.crop * draw.unit() for _ in range(4))
        on = draw.chance(spec.crop_p).to(one)
        sides = 1 - on * (x0 + x1), 1 - on * (y0 + y1)
        tx, ty = on * (x0 - x1) / 2 * width, on * (y0 - y1) / 2 * height
        matrix = matrix @ _stacked(sides[0], zero, tx, zero, sides[1], ty, zero, zero, one)
    shift_x = shift_y = zero
    if spec.affine_p and (spec.shift or spec.scale != (1.0, 1.0) or spec.aspect or spec.shear):
        on = draw.chance(spec.affine_p).to(one)
        low, high = spec.scale
        zoom = 1 + on * (low + (high - low) * draw.unit() - 1)
        stretch, lean = 1 + on * draw.around(spec.aspect), on * draw.around(spec.shear)
        shift_x, shift_y = (on * draw.around(spec.shift) * side for side in (width, height))
        across = 1 / (zoom * stretch)
        matrix = matrix @ _stacked(
            across, -lean * across, zero, zero, 1 / zoom, zero, zero, zero, one
        )
    if spec.rotate and spec.rotate_p:
        angle = draw.chance(spec.rotate_p) * draw.around(math.radians(spec.rotate))
        cos, sin = torch.cos(angle), torch.sin(angle)
        matrix = matrix @ _stacked(cos, sin, zero, -sin, cos, zero, zero, zero, one)
    matrix = matrix @ _stacked(one, zero, -shift_x, zero, one, -shift_y, zero, zero, one)
    if spec.perspective and spec.perspective_p:
        matrix = matrix @ _insets(spec, draw, height, width)
    return matrix


def _stacked(*entries: Tensor) -> Tensor:
    """Nine (N,) tensors as (N, 3, 3)."""
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def _insets(spec: Augment, draw: _Draws, height: int, width: int) -> Tensor:
    """(N, 3, 3) that fill the output with a quadrangle whose corners lie further in."""
    half = torch.tensor([(width - 1) / 2, (height - 1) / 2]).to(draw.like)
    sign = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]).to(draw.like)
    inward = spec.perspective * draw.uniform(draw.count, 4, 2) * 2
    inward = inward * _per_image(draw.chance(spec.perspective_p))[..., 0]
    aim = sign * half * (1 - inward)  # (N, 4, 2)
    x, y = (sign * half).unbind(-1)  # (4,)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    u, v = aim.unbind(-1)  # (N, 4)
    fixed_u = torch.stack([x, y, one, zero, zero, zero], dim=-1).expand(draw.count, 4, 6)
    fixed_v = torch.stack([zero, zero, zero, x, y, one], dim=-1).expand(draw.count, 4, 6)
    moving_u = torch.stack([-x * u, -y * u], dim=-1)
    moving_v = torch.stack([-x * v, -y * v], dim=-1)
    system = torch.cat(
        [torch.cat([fixed_u, moving_u], dim=-1), torch.cat([fixed_v, moving_v], dim=-1)], dim=1
    )  # (N, 8, 8)
    entries = torch.linalg.solve_ex(system.float(), torch.cat([u, v], dim=1).float())[0]
    entries = torch.cat([entries, torch.ones_like(entries[:, :1])], dim=1)
    return entries.to(draw.like.dtype).unflatten(-1, (3, 3))


def _sampled(x: Tensor, matrices: Tensor, spec: Augment, draw: _Draws) -> Tensor:
    """Read (N, C, H, W) once at the places of the matrices and fields."""
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device, dtype=x.dtype) - (height - 1) / 2
    columns = torch.arange(width, device=x.device, dtype=x.dtype) - (width - 1) / 2
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # (H, W, 2)
    field = _field(grid, spec, draw)
    places = grid.expand(x.shape[0], -1, -1, -1) if field is None else grid + field
    half = torch.tensor([max(width - 1, 1) / 2, max(height - 1, 1) / 2]).to(x)
    # (N, H*W, 2) @ (N, 2, 2): already in shares of the half side, as grid_sample wants it
    linear = (matrices[:, :2, :2] / half[:, None]).transpose(1, 2)
    source = torch.baddbmm((matrices[:, :2, 2] / half)[:, None], places.flatten(1, 2), linear)
    if spec.perspective and spec.perspective_p:
        below = (places.flatten(1, 2) * matrices[:, None, 2, :2]).sum(-1, keepdim=True)
        source = source / (below + matrices[:, None, 2, 2:])
    source = source.view(x.shape[0], height, width, 2)
    return F.grid_sample(
        x, source, mode="bilinear", padding_mode=_PADDING[spec.border], align_corners=True
    )


def _field(grid: Tensor, spec: Augment, draw: _Draws) -> Tensor | None:
    """The sum of elastic, grid and barrel displacements, (N, H, W, 2) pixels, or None."""
    height, width = grid.shape[:2]
    parts = []
    if spec.elastic and spec.elastic_p:
        step = max(2, round(2 * spec.elastic_sigma))
        bent = _spread(draw, step, height, width, smooth=True) * spec.elastic
        parts.append(bent * _per_image(draw.chance(spec.elastic_p)))
    if spec.grid and spec.grid_p:
        step = max(2, math.ceil(max(height, width) / _GRID_CELLS))
        bent = _spread(draw, step, height, width, smooth=False) * (spec.grid * step)
        parts.append(bent * _per_image(draw.chance(spec.grid_p)))
    if spec.barrel and spec.barrel_p:
        strength = draw.around(spec.barrel) * draw.chance(spec.barrel_p)
        growth = 4 / (height**2 + width**2) * grid.square().sum(-1, keepdim=True)
        parts.append(_per_image(strength) * (growth * grid))
    if not parts:
        return None
    field = torch.stack(parts).sum(0)
    step = max(1, min(height, width) // 32)  # it is smooth: a part of the pixels tells
    some = field[:, ::step, ::step]
    if min(some.shape[1:3]) < 2:
        return field
    start = some[:, :-1, :-1]
    slope = (some[:, 1:, :-1] - start).abs() + (some[:, :-1, 1:] - start).abs()
    steep = slope.flatten(1).amax(1) / step
    return field * _per_image((STEEPEST / steep.clamp_min(1e-6)).clamp_max(1.0))


def _spread(draw: _Draws, step: int, height: int, width: int, *, smooth: bool) -> Tensor:
    """(N, H, W, 2) in [-1, 1] from random numbers at nodes ``step`` pixels apart."""
    noise = 2 * draw.uniform(draw.count, 2, nodes(height, step), nodes(width, step)) - 1
    down, across = (
        torch.tensor(spread(length, step, smooth)).to(noise) for length in (height, width)
    )
    return (down @ noise @ across.T).permute(0, 2, 3, 1)


def _toned(x: Tensor, spec: Augment, draw: _Draws) -> Tensor:
    """Gamma, contrast about the picture's mean, brightness and inversion."""
    p = spec.colour_p
    if (spec.gamma or spec.contrast or spec.brightness) and p:
        gamma = torch.exp(draw.around(math.log1p(spec.gamma)) * draw.chance(p))
        contrast = (1 + draw.around(spec.contrast) * draw.chance(p)).clamp_min(0)
        brightness = draw.around(spec.brightness) * draw.chance(p)
        x = x.clamp(0, 1)  # a new tensor; from here in place, for fresh memory is dear
        if spec.gamma:
            x = x.pow_(_per_image(gamma))
        mean = x.mean((1, 2, 3))
        x = x.mul_(_per_image(contrast)).add_(_per_image(mean * (1 - contrast) + brightness))
        x = x.clamp_(0, 1)
    if spec.invert:
        x = torch.where(_per_image(draw.chance(spec.invert)), 1 - x, x)
    return x


def _coloured(x: Tensor, spec: Augment, draw: _Draws) -> Tensor:
    """Hue, saturation and grey of RGB as one matrix; shuffle and shift of any channels."""
    channels, p = x.shape[1], spec.colour_p
    if channels == 1:
        return x
    if channels == 3 and ((spec.hue and p) or (spec.saturation and p) or spec.grey):
        turn = 2 * math.pi * draw.around(spec.hue) * draw.chance(p)
        strength = (1 + draw.around(spec.saturation) * draw.chance(p)).clamp_min(0)
        strength = strength * ~draw.chance(spec.grey)
        cos, sin = strength * torch.cos(turn), strength * torch.sin(turn)
        one, zero = torch.ones_like(cos), torch.zeros_like(cos)
        middle = _stacked(one, zero, zero, zero, cos, -sin, zero, sin, cos)
        to_yiq = torch.tensor(_TO_YIQ, dtype=torch.float64)
        back = torch.linalg.inv(to_yiq).to(x)
        x = torch.einsum("nij,njhw->nihw", back @ middle @ to_yiq.to(x), x).clamp(0, 1)
    if spec.channel_shuffle:
        fixed = torch.arange(channels, device=x.device).expand(draw.count, -1)
        order = draw.uniform(draw.count, channels).argsort(dim=1)
        order = torch.where(draw.chance(spec.channel_shuffle)[:, None], order, fixed)
        x = x.gather(1, order[:, :, None, None].expand_as(x))
    if spec.channel_shift and p:
        shift = spec.channel_shift * (2 * draw.uniform(draw.count, channels) - 1)
        shift = shift * draw.chance(p)[:, None]
        x = (x + shift[:, :, None, None]).clamp(0, 1)
    return x


def _blurred(x: Tensor, spec: Augment, draw: _Draws) -> Tensor:
    """Gaussian blur with a sigma of its own for every picture."""
    count, channels, height, width = x.shape
    sigma = (draw.unit() * spec.blur * draw.chance(spec.blur_p)).clamp_min(1e-2)
    reach = min(math.ceil(3 * spec.blur), height - 1, width - 1)
    along = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (along / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    weight = kernel.repeat_interleave(channels, dim=0)[:, None, None]  # (N*C, 1, 1, K)
    flat = F.pad(x.reshape(1, count * channels, height, width), (reach,) * 4, mode="reflect")
    flat = F.conv2d(flat, weight, groups=count * channels)
    flat = F.conv2d(flat, weight.transpose(2, 3), groups=count * channels)
    return flat.view_as(x)


def _cut_out(x: Tensor, targets: Tensor | None, spec: Augment, draw: _Draws) -> Tensor:
    """Erase a square with the mean, unless it hides too much of the foreground."""
    height, width = x.shape[2:]
    tall, wide = max(1, round(spec.cutout * height)), max(1, round(spec.cutout * width))
    top = (draw.unit() * (height - tall + 1)).floor()[:, None]
    left = (draw.unit() * (width - wide + 1)).floor()[:, None]
    rows = torch.arange(height, device=x.device) - top  # (N, H)
    columns = torch.arange(width, device=x.device) - left
    in_rows = (rows >= 0) & (rows < tall)
    in_columns = (columns >= 0) & (columns < wide)
    hole = in_rows[:, :, None] & in_columns[:, None, :]  # (N, H, W)
    apply = draw.chance(spec.cutout_p)
    if targets is not None:
        foreground = (targets > 0.5).any(dim=1)
        hidden = (foreground & hole).flatten(1).sum(1)
        apply = apply & (hidden <= spec.cutout_keep * foreground.flatten(1).sum(1))
    hole = (hole & apply[:, None, None])[:, None]
    return torch.where(hole, x.mean((2, 3), keepdim=True), x)
