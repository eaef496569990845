"""A simulator of seismic sections with salt bodies, and the survey folder cut from them.

A mosaic is a piece of a section, three patches wide and three deep. Its geology is drawn first
(layers with dip, folds and faults; domes, overhangs, sheets and pillows of salt), then it is
imaged: reflectivity convolved with a Ricker wavelet that grows longer with depth, attenuation, a
bright top of salt, dim flanks, a chaotic interior, migration arcs and noise. Everything that
would make the grey value alone betray the salt is varied: there are dim and chaotic layers too.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import write_text

__all__ = [
    "EMPTY_SHARE",
    "EMPTY_SHARE_BY_DEPTH",
    "FLAT_SHARE",
    "Patch",
    "depth_bin",
    "simulate_patches",
    "write_salt_survey",
]

# Statistics of the 4,000 training patches of the salt competition.
EMPTY_SHARE = 0.3905
EMPTY_SHARE_BY_DEPTH = (0.82, 0.73, 0.51, 0.33, 0.30, 0.30, 0.30, 0.37, 0.49, 0.61)
FLAT_SHARE = 0.02
DEPTHS_M = (50, 959)

_DEPTH_MEAN_M, _DEPTH_SPREAD_M = 507.0, 208.0  # the spread is our guess; the mean is the data's
_PATCHES = 3  # a mosaic is 3 x 3 patches
_LEAST_SALT_PX = 3  # fewer salt pixels than that are no label; counted as empty

Floats = NDArray[np.float32]
_Kind = TypeVar("_Kind", np.uint8, np.bool_)


@dataclass(frozen=True)
class Patch:
    """One simulated patch.

    Attributes:
        name: ``mosaicNNN-rR-cC.png``; row and column are its place in the mosaic.
        image: (H, W) uint8 grey.
        mask: (H, W) bool, True is salt.
        depth_m: Metres from the surface to the middle of the patch; one pixel is one metre.
        mosaic: The section that it was cut from; patches of one mosaic adjoin.
    """

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    depth_m: int
    mosaic: str


def write_salt_survey(
    root: Path,
    *,
    n_train: int = 400,
    n_test: int = 200,
    seed: int = 0,
    size_hw: tuple[int, int] = (101, 101),
    faint: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a simulated salt survey as an ordinary survey folder.

    ``images/`` has all patches, ``masks/`` those of the training patches, ``truth/masks/`` those
    of the test patches, which no reader of surveys looks at. ``images.csv`` has image, depth
    (metres), group (the mosaic) and split. Training and test patches share no mosaic.

    Args:
        root: The folder; it must not exist or be empty.
        n_train: Number of training patches.
        n_test: Number of test patches.
        seed: The same seed and numbers give the same bytes.
        size_hw: (height, width) of a patch, pixels of one metre; at least 16 each.
        faint: In [0, 1], how hard the salt is to see: thin sheets instead of bodies, weak
            contrast, dim boundaries, labels that wander about them.
        progress: Told (patches written, patches in all).

    Returns:
        ``root``.

    Raises:
        TransectError: If the folder has something in it, or a number is out of range.
    """
    if not 0 <= faint <= 1:
        raise TransectError(f"faint must lie in 0 to 1; got {faint:g}. 0 is plain, 1 is hardest.")
    if min(size_hw) < 16 or n_train < 0 or n_test < 0 or n_train + n_test == 0:
        raise TransectError(
            f"a salt survey needs patches of at least 16 x 16 and one patch or more; got size "
            f"{size_hw}, {n_train} training and {n_test} test patches. Raise them."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise TransectError(f"{root} is not an empty folder. Choose another, or remove it first.")
    for folder in ("images", "masks", "truth/masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["image", "depth", "group", "split"])
    done = 0
    for split, count, masks in (("train", n_train, "masks"), ("test", n_test, "truth/masks")):
        for patch in simulate_patches(count, seed=seed, size_hw=size_hw, split=split, faint=faint):
            _write_png(root / "images" / patch.name, patch.image)
            _write_png(root / masks / patch.name, patch.mask.astype(np.uint8) * 255)
            rows.writerow([patch.name, patch.depth_m, patch.mosaic, split])
            done += 1
            if progress:
                progress(done, n_train + n_test)
    write_text(root / "images.csv", table.getvalue())
    return root


def simulate_patches(
    count: int,
    *,
    seed: int,
    size_hw: tuple[int, int] = (101, 101),
    split: str = "train",
    faint: float = 0.0,
) -> Iterator[Patch]:
    """Simulate patches whose shares by depth are those of the salt competition.

    The number of empty and of salty patches in every depth bin is fixed beforehand; mosaics are
    drawn until all are found, and patches that would be too many of their kind are left out.

    Args:
        count: Number of patches.
        seed: Of everything random.
        size_hw: (height, width) of a patch.
        split: ``train`` or ``test``: mosaics of the two are drawn independently.
        faint: As in ``write_salt_survey``.

    Yields:
        The patches, mosaic by mosaic.
    """
    stream = {"train": 0, "test": 1}[split]
    wanted = _quotas(count)  # (bins, 2): salty, empty
    flat_left = round(FLAT_SHARE * count)
    choice = np.random.default_rng([seed, stream])
    number = 0
    while wanted.sum():
        rng = np.random.default_rng([seed, stream, number])
        cell = int(choice.choice(wanted.size, p=wanted.ravel() / wanted.sum()))
        veil = _Veil.drawn(np.random.default_rng([seed, stream, number, 1]), faint)
        section = _Section.drawn(rng, size_hw, depth=cell // 2, salty=cell % 2 == 0, thin=veil.thin)
        chosen = []
        for row, column in np.ndindex(_PATCHES, _PATCHES):
            depth = section.top_m + (row + 0.5) * size_hw[0]
            if not DEPTHS_M[0] <= depth <= DEPTHS_M[1]:
                continue
            mask = section.cut(section.salt, row, column)
            key = depth_bin(depth), int(mask.sum() < _LEAST_SALT_PX)
            if wanted[key] and not mask.all():  # the competition has no full mask
                wanted[key] -= 1
                chosen.append((row, column, int(depth), bool(key[1])))
        if not chosen:
            continue
        image = _imaged(section, rng, veil)
        mosaic = f"{'' if split == 'train' else split + '-'}mosaic{number:03d}"
        for row, column, depth_m, empty in chosen:
            pixels = section.cut(image, row, column)
            remaining_empty = int(wanted[:, 1].sum())
            if empty and flat_left and (choice.random() < 0.06 or remaining_empty < flat_left):
                flat_left -= 1
                # Muted parts of a survey are black more often than grey, as in the competition.
                grey = 0 if choice.random() < 0.7 else int(choice.integers(90, 160))
                pixels = np.full_like(pixels, grey)
            mask = section.cut(section.salt, row, column)
            yield Patch(
                name=f"{mosaic}-r{row}-c{column}.png",
                image=np.ascontiguousarray(pixels),
                mask=mask.copy() if not empty else np.zeros_like(mask),
                depth_m=depth_m,
                mosaic=mosaic,
            )
        number += 1


def depth_bin(depth_m: float) -> int:
    """The index of a depth in ``EMPTY_SHARE_BY_DEPTH``: bins of 100 m.

    Example:
        >>> depth_bin(50), depth_bin(507), depth_bin(959)
        (0, 5, 9)
    """
    return min(int(depth_m // 100), len(EMPTY_SHARE_BY_DEPTH) - 1)


def _quotas(count: int) -> NDArray[np.int64]:
    """Numbers of (salty, empty) patches for every depth bin, (10, 2), which add up to count."""
    share = np.array(EMPTY_SHARE_BY_DEPTH)
    edges = np.arange(11) * 100.0
    edges[0], edges[-1] = DEPTHS_M
    middle = (edges[1:] + edges[:-1]) / 2
    bell = np.exp(-0.5 * ((middle - _DEPTH_MEAN_M) / _DEPTH_SPREAD_M) ** 2) * np.diff(edges)
    bell /= bell.sum()
    empty = bell * share
    empty *= EMPTY_SHARE / empty.sum()  # the bell is a guess, the total is not
    salty = bell * (1 - share)
    salty *= (1 - EMPTY_SHARE) / salty.sum()
    n_empty = round(EMPTY_SHARE * count)
    return np.stack([_rounded(salty, count - n_empty), _rounded(empty, n_empty)], axis=1)


def _rounded(share: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Whole numbers in the proportions of ``share`` that add up to ``total``."""
    exact = share / share.sum() * total
    whole = np.floor(exact).astype(np.int64)
    largest = np.argsort(whole - exact, kind="stable")[: total - int(whole.sum())]
    whole[largest] += 1
    return whole


@dataclass(frozen=True)
class _Veil:
    """What hides the salt of one mosaic; its random numbers are its own.

    Attributes:
        thin: Whether its body is a thin sheet.
        contrast: Factor on the difference between salt and layers.
        boundary: Factor on the reflection of the salt's surface.
        wander_px: How far the imaged boundary wanders about the labelled one.
    """

    thin: bool
    contrast: float
    boundary: float
    wander_px: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, faint: float) -> _Veil:
        """Draw one; nothing is hidden at 0."""
        return cls(
            thin=bool(rng.random() < 0.5 * faint),
            contrast=1 - faint * float(rng.uniform(0.2, 0.9)),
            boundary=1 - faint * float(rng.uniform(0.3, 0.95)),
            wander_px=1.5 + 2 * faint,
        )


@dataclass(frozen=True)
class _Section:
    """The geology of one mosaic: where it is, and where the salt is."""

    top_m: float
    patch_hw: tuple[int, int]
    salt: NDArray[np.bool_]

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        patch_hw: tuple[int, int],
        *,
        depth: int,
        salty: bool,
        thin: bool = False,
    ) -> _Section:
        """Draw a section with a patch in the depth bin; with ``salty``, salt is in its middle."""
        height, width = (_PATCHES * side for side in patch_hw)
        row = int(rng.integers(_PATCHES))
        low, high = max(depth * 100, DEPTHS_M[0]), min(depth * 100 + 100, DEPTHS_M[1] + 1)
        aim_m = rng.uniform(low, high)
        top_m = float(np.floor(aim_m - (row + 0.5) * patch_hw[0]))
        z, x = np.mgrid[0:height, 0:width].astype(np.float32)
        z += top_m
        level = np.full((height, width), -1e3, np.float32)
        if salty:
            aim_x = (rng.integers(_PATCHES) + rng.uniform(0.1, 0.9)) * patch_hw[1]
            body = _sheet(rng, z, x, aim_m, aim_x) if thin else None
            if body is None:
                body = _body(rng, z, x, aim_m + rng.normal(0, 25), aim_x)
            np.maximum(level, body, out=level)
        for _ in range(int(rng.choice(3, p=(0.6, 0.3, 0.1)))):
            anywhere = rng.uniform(-0.2, 1.2) * width
            np.maximum(level, _body(rng, z, x, rng.normal(560, 150), anywhere), out=level)
        level += (2 if thin else 7) * _smooth_noise(rng, (height, width), 22) + (
            0.5 if thin else 2
        ) * _smooth_noise(rng, (height, width), 7)
        return cls(top_m, patch_hw, level > 0)

    def cut(self, array: NDArray[_Kind], row: int, column: int) -> NDArray[_Kind]:
        """The part of a mosaic-sized array that belongs to one patch."""
        height, width = self.patch_hw
        return array[row * height : (row + 1) * height, column * width : (column + 1) * width]


def _sheet(
    rng: np.random.Generator, z: Floats, x: Floats, through_m: float, through_x: float
) -> Floats:
    """The level function of a long, thin and bent sheet through the given point."""
    thick, long = rng.uniform(3, 14), rng.uniform(60, 200)
    u = x - through_x
    bend = rng.uniform(0, 8) * np.sin(u / rng.uniform(20, 60))
    v = (z - through_m) - rng.normal(0, 0.3) * u - bend
    return (thick * (1 - (u / long) ** 2 - (v / thick) ** 2) / 2).astype(np.float32)


def _body(
    rng: np.random.Generator, z: Floats, x: Floats, through_m: float, through_x: float
) -> Floats:
    """The level function, positive inside, of one salt body through the given point.

    Roughly the distance to the boundary in pixels. Domes, mushrooms with overhangs, tilted sheets
    and pillows, in the proportions .4, .25, .15, .2 (our guess).
    """
    kind = rng.choice(4, p=(0.4, 0.25, 0.15, 0.2))
    lean = rng.normal(0, 0.25)
    if kind == 2:  # a sheet: a long lens, tilted
        thick, long = rng.uniform(14, 50), rng.uniform(70, 240)
        u = (x - through_x) + 0.0 * z
        v = (z - through_m) - lean * u
        return (thick * (1 - (u / long) ** 2 - (v / thick) ** 2) / 2).astype(np.float32)
    if kind == 3:  # a pillow: a broad swell of a deep layer, with a base below
        crest, wide = through_m - rng.uniform(2, 90), rng.uniform(80, 220)
        thick = rng.uniform(60, 240)
        u = (x - through_x - rng.normal(0, wide / 3)) / wide
        top = crest + 0.6 * wide * (1 - np.exp(-0.5 * u**2)) + lean * 0.5 * u * wide
        return np.minimum(z - top, crest + thick - z).astype(np.float32)
    crest = through_m - rng.uniform(2, 130)
    tall = rng.uniform(180, 520)
    t = np.clip((z - crest) / tall, 0, 1)  # 0 at the crest, 1 at the root
    stem, foot = rng.uniform(22, 85), rng.uniform(0, 80)
    half = stem + foot * t**2
    if kind == 1:  # a mushroom: a bulb that hangs over its stem
        bulb, at, tight = rng.uniform(30, 110), rng.uniform(0.12, 0.3), rng.uniform(0.08, 0.16)
        half = 0.7 * stem + foot * t**2 + bulb * np.exp(-0.5 * ((t - at) / tight) ** 2)
    cap = np.sqrt(np.clip((z - crest) / (0.8 * stem), 0, 1))  # rounds the crest
    axis = through_x + lean * (z - through_m) + rng.normal(0, 0.3) * stem
    sides = half * cap - np.abs(x - axis)
    return np.minimum(sides, np.minimum(z - crest, crest + tall - z)).astype(np.float32)


def _imaged(section: _Section, rng: np.random.Generator, veil: _Veil) -> NDArray[np.uint8]:
    """What the survey shows of a section: grey values, (H, W) uint8."""
    shape = section.salt.shape
    z, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    depth = z + np.float32(section.top_m)
    inside = _signed_distance(section.salt)
    period = (9.0 + 8.0 * np.clip(depth / 1000, 0, 1)) * np.float32(rng.uniform(0.8, 1.25))
    layers = _layers(rng, z, x, depth, inside, period)
    # The imaged boundary wanders a little about the true one: migration velocities are wrong.
    seen = inside + np.float32(veil.wander_px) * _smooth_noise(rng, shape, 12)
    salt = 1 / (1 + np.exp(-np.clip(seen / 1.2, -30, 30)))
    interior = rng.uniform(0.2, 0.75) * _band_noise(rng, shape, float(period.mean()))
    interior += rng.uniform(0.05, 0.25) * np.roll(layers, int(rng.integers(8, 30)), axis=0)
    boundary = np.float32(veil.boundary) * _boundary(rng, seen, period)
    salt = salt * np.float32(veil.contrast)
    wave = layers * (1 - salt) + interior * salt + boundary
    # Beneath salt the wave field is weak; everywhere it weakens with depth, gain undoes a part.
    above = np.cumsum(section.salt, axis=0, dtype=np.float32)
    shadow = np.where(section.salt, 1.0, np.exp(-above / np.float32(rng.uniform(120, 400))))
    wave = wave * shadow * np.exp(-depth / np.float32(rng.uniform(1200, 4000)))
    wave = wave + _arcs(rng, z, x, period)
    noise = rng.uniform(0.12, 0.4) * (0.7 + 0.6 * depth / 1000)
    wave = wave + noise * _band_noise(rng, shape, 5.0)
    wave = wave + 0.5 * noise * _smooth_noise(rng, shape, 0.7)
    wave = cv2.GaussianBlur(wave.astype(np.float32), (0, 0), sigmaX=0.9, sigmaY=0.4)
    local = np.sqrt(cv2.GaussianBlur(wave * wave, (0, 0), 45)) + 1e-3  # a partial gain control
    wave = wave / (local ** np.float32(0.5) * np.sqrt(wave.std() + 1e-3))
    grey = rng.uniform(105, 140) + rng.uniform(28, 55) * wave + 6 * _smooth_noise(rng, shape, 40)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _layers(
    rng: np.random.Generator, z: Floats, x: Floats, depth: Floats, inside: Floats, period: Floats
) -> Floats:
    """Layered reflectivity seen through the wavelet: dips, folds, faults, drag along the salt."""
    shape = z.shape
    wide = shape[1]
    place = depth + np.float32(rng.normal(0, 0.18)) * (x - wide / 2)
    place = place + rng.uniform(0, 9) * np.sin(x / rng.uniform(35, 120) + rng.uniform(0, 7))
    place = place + 4 * _smooth_noise(rng, shape, 35)
    drag = rng.uniform(8, 45) * np.exp(-np.clip(-inside, 0, None) / rng.uniform(12, 45))
    place = place + drag  # layers are pulled up along the flank
    for _ in range(int(rng.integers(0, 4))):
        line = rng.uniform(0, wide) + rng.normal(0, 0.45) * (z - shape[0] / 2)
        place = place + rng.normal(0, 8) / (1 + np.exp(-np.clip((x - line) / 0.7, -30, 30)))
    slump = np.clip(1.5 * (_smooth_noise(rng, shape, 28) - rng.uniform(0.6, 2.4)), 0, 1)
    place = place + slump * 5 * _smooth_noise(rng, shape, 8)
    low, fine = float(place.min()) - 40, 4  # samples per pixel
    samples = int((float(place.max()) + 40 - low) * fine)
    spikes = _reflectivity(rng, samples, fine)
    index = (place - low) * fine
    ends = [float(period.min()), float(period.max())]
    traces = [np.convolve(spikes, _ricker(p * fine), mode="same") for p in ends]
    axis = np.arange(samples)
    short, long = (np.interp(index, axis, trace).astype(np.float32) for trace in traces)
    mix = (period - ends[0]) / max(ends[1] - ends[0], 1e-3)
    wave = short * (1 - mix) + long * mix
    wave = wave * np.clip(1 + 0.45 * _smooth_noise(rng, shape, 25), 0.15, None)
    wave = wave / (wave.std() + 1e-6)
    # Slumps are chaotic without being salt.
    chaotic = rng.uniform(0.3, 0.8) * _band_noise(rng, shape, float(period.mean()))
    return (wave * (1 - 0.8 * slump) + chaotic * slump).astype(np.float32)


def _reflectivity(rng: np.random.Generator, samples: int, fine: int) -> NDArray[np.float64]:
    """Spikes at layer boundaries; packages of strong, weak and nearly transparent layers."""
    spikes = np.zeros(samples)
    mean_px = rng.uniform(4, 9)
    thick = rng.gamma(2.0, mean_px / 2, size=int(samples / fine / mean_px * 2) + 8) * fine
    at = np.cumsum(thick).astype(np.int64)
    at = at[at < samples]
    strength = rng.normal(0, 0.7, at.size) + 0.5 * rng.laplace(0, 1, at.size)
    package = np.interp(
        np.arange(samples),
        np.linspace(0, samples, max(samples // (fine * 28), 4)),
        rng.gamma(1.6, 0.6, max(samples // (fine * 28), 4)),
    )
    np.add.at(spikes, at, strength * (0.15 + package[at]))
    return spikes


def _boundary(rng: np.random.Generator, inside: Floats, period: Floats) -> Floats:
    """The reflection of the salt's surface: bright on top, weaker below, dim on steep flanks."""
    slope = cv2.Sobel(cv2.GaussianBlur(inside, (0, 0), 3), cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    top = np.clip(slope, 0, 1) ** 1.5  # the distance grows downwards below the top
    base = np.clip(-slope, 0, 1) ** 1.5
    ripple = (np.pi * inside / period) ** 2
    wavelet = (1 - 2 * ripple) * np.exp(-ripple)
    bright = rng.uniform(1.6, 3.6) * np.clip(1 + 0.5 * _smooth_noise(rng, inside.shape, 18), 0, 2)
    return (wavelet * bright * (0.12 + top - rng.uniform(0.3, 0.8) * base)).astype(np.float32)


def _arcs(rng: np.random.Generator, z: Floats, x: Floats, period: Floats) -> Floats:
    """Migration smiles and diffraction frowns: faint arcs that cross everything."""
    wave = np.zeros_like(z)
    for _ in range(int(rng.integers(0, 6))):
        radius = rng.uniform(60, 260)
        row, column = rng.uniform(0, z.shape[0]), rng.uniform(0, z.shape[1])
        up = rng.choice((-1.0, 1.0))
        off = np.hypot(x - column, z - row + up * radius) - radius
        ripple = (np.pi * off / period) ** 2
        fade = np.exp(-(((x - column) / (0.5 * radius)) ** 2))
        wave += rng.uniform(0.2, 0.7) * (1 - 2 * ripple) * np.exp(-ripple) * fade
    return wave


def _ricker(period: float) -> NDArray[np.float64]:
    """The Ricker wavelet of the given period, in samples (Ricker 1953)."""
    half = int(np.ceil(1.5 * period))
    ripple = (np.pi * np.arange(-half, half + 1) / period) ** 2
    return (1 - 2 * ripple) * np.exp(-ripple)


def _signed_distance(mask: NDArray[np.bool_]) -> Floats:
    """Distance to the boundary in pixels, positive inside; far away where there is none."""
    if not mask.any() or mask.all():
        return np.full(mask.shape, 1e3 if mask.any() else -1e3, np.float32)
    marks = mask.astype(np.uint8)
    inner = cv2.distanceTransform(marks, cv2.DIST_L2, 5)
    outer = cv2.distanceTransform(1 - marks, cv2.DIST_L2, 5)
    return np.where(mask, inner - 0.5, 0.5 - outer).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Floats:
    """Gaussian noise smoothed to ``sigma`` pixels, deviation 1 on a large field."""
    step = max(1, int(sigma // 3))  # coarse noise is drawn coarse and enlarged
    margin = 4
    small = [int(np.ceil(side / step)) + 2 * margin for side in shape]
    noise = rng.standard_normal(small, dtype=np.float32)
    spread = sigma / step
    noise = cv2.GaussianBlur(noise, (0, 0), spread) * np.float32(2 * np.sqrt(np.pi) * spread)
    if step == 1:
        return np.ascontiguousarray(noise[margin:-margin, margin:-margin][: shape[0], : shape[1]])
    large = cv2.resize(noise, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    start = margin * step
    return np.ascontiguousarray(large[start : start + shape[0], start : start + shape[1]])


def _band_noise(rng: np.random.Generator, shape: tuple[int, ...], period: float) -> Floats:
    """Noise of about one period in depth and a little longer sideways, deviation 1."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    narrow = cv2.GaussianBlur(noise, (0, 0), sigmaX=period / 3, sigmaY=period / 6)
    band = narrow - cv2.GaussianBlur(noise, (0, 0), sigmaX=period / 1.6, sigmaY=period / 3)
    tilt = np.array([[1, 0, 0], [rng.normal(0, 0.35), 1, 0]], np.float64)
    size = shape[1], shape[0]
    tilted = np.asarray(cv2.warpAffine(band, tilt, size, borderMode=cv2.BORDER_REFLECT), np.float32)
    return (tilted / (tilted.std() + 1e-6)).astype(np.float32)


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a grey PNG; imencode keeps names with any letters in them working."""
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
