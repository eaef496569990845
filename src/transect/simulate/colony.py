"""A simulator of aerial photos of a sea lion colony, and the dotted survey made of them.

A photo is a beach (sand, shingle, rocks, weed, surf at one edge) under one sun. On it lie harems:
a bull, his females, their pups in heaps; juveniles and young males keep apart, some animals are
alone or swim. Bodies touch and overlap, cast shadows, and are seen from an altitude that differs
between photos. Rocks and weed of an animal's size and colour keep colour alone from being enough.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import write_text

__all__ = ["CLASSES", "CLASS_MIX", "Photo", "simulate_photo", "write_colony_survey"]

CLASSES = ("adult_males", "subadult_males", "adult_females", "juveniles", "pups")
# Totals of the 948 training photos of the sea lion competition.
CLASS_MIX = (5392 / 83677, 4345 / 83677, 37537 / 83677, 20118 / 83677, 16285 / 83677)

_LENGTH_PX = (96.0, 80.0, 62.0, 46.0, 27.0)  # at scale 1, from nose to tail; read off photos
_WIDTH = (0.46, 0.40, 0.36, 0.36, 0.40)  # share of the length
_COLOURS = ((96, 66, 44), (116, 82, 56), (172, 136, 98), (140, 104, 74), (46, 38, 34))  # RGB
_LITTER = ((70, 62, 54), (120, 108, 96), (66, 74, 40), (188, 176, 160))  # boulders, weed, wood
_SPREAD = 10.0  # deviation of an animal's own grey value; our guess
_EMPTY_SHARE = 0.08  # photos with no animal; our guess
_CROWDS = 1.1  # deviation of the logarithm of a photo's density: a few photos hold most animals

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Photo:
    """One simulated photo.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        points: (K, 2) x, y of the bodies' middles.
        classes: (K,) numbers of ``CLASSES``.
        zoom: Pixels per pixel of scale 1 (altitude and camera together).
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    classes: NDArray[np.int64]
    zoom: float


def write_colony_survey(
    root: Path,
    *,
    n_train: int = 60,
    n_test: int = 20,
    seed: int = 0,
    scale: float = 0.4,
    test_scale: float | None = None,
    size_hw: tuple[int, int] = (448, 640),
    animals: float = 45.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a simulated colony survey as an ordinary survey folder.

    ``images/`` has all photos, ``points.csv`` the dots of the training photos and
    ``truth/points.csv`` those of the test photos, which no reader of surveys looks at. A site has
    about four photos, and training and test share no site.

    Args:
        root: The folder; it must not exist or be empty.
        n_train: Training photos.
        n_test: Test photos.
        seed: The same seed and numbers give the same bytes.
        scale: Size of animals; 1 is that of the competition (a bull is 96 px long).
        test_scale: That of the test photos, which are larger by the same factor; None: the same.
        size_hw: (height, width) of training photos, at least 64 each.
        animals: Mean animals per photo; the competition has 86 on photos of 21 megapixels.
        progress: Told (photos written, photos in all).

    Returns:
        ``root``.

    Raises:
        TransectError: If the folder has something in it, or a number is out of range.
    """
    if min(size_hw) < 64 or n_train < 0 or n_test < 0 or n_train + n_test == 0 or scale <= 0:
        raise TransectError(
            f"a colony survey needs photos of at least 64 x 64 and one photo or more; got size "
            f"{size_hw}, {n_train} training and {n_test} test photos. Raise them."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise TransectError(f"{root} is not an empty folder. Choose another, or remove it first.")
    (root / "images").mkdir(parents=True, exist_ok=True)
    images, dots, truth = _Table("image", "group", "split"), _dots(), _dots()
    factor = 1.0 if test_scale is None else test_scale / scale
    done = 0
    for stream, (split, count) in enumerate((("train", n_train), ("test", n_test))):
        grown = factor if split == "test" else 1.0
        own_hw = (round(size_hw[0] * grown), round(size_hw[1] * grown))
        for number in range(count):
            site = number // 4
            photo = simulate_photo(
                np.random.default_rng([seed, stream, number]),
                size_hw=own_hw,
                scale=scale * grown,
                animals=animals,
                site=np.random.default_rng([seed, stream, 10_000 + site]),
            )
            name = f"{split}{number:03d}.png"
            _write_png(root / "images" / name, photo.image)
            images.add(name, f"{split}-site{site:02d}", split)
            table = dots if split == "train" else truth
            for (x, y), kind in zip(photo.points.tolist(), photo.classes.tolist(), strict=True):
                table.add(name, f"{x:.1f}", f"{y:.1f}", CLASSES[kind])
            done += 1
            if progress:
                progress(done, n_train + n_test)
    write_text(root / "classes.csv", "name\n" + "\n".join(CLASSES) + "\n")
    write_text(root / "images.csv", images.text())
    write_text(root / "points.csv", dots.text())
    write_text(root / "truth" / "points.csv", truth.text())
    return root


def simulate_photo(
    rng: np.random.Generator,
    *,
    size_hw: tuple[int, int],
    scale: float = 0.4,
    animals: float = 45.0,
    site: np.random.Generator | None = None,
) -> Photo:
    """Simulate one photo.

    Args:
        rng: Of everything in it.
        size_hw: (height, width).
        scale: Size of animals, as in ``write_colony_survey``.
        animals: Mean number of animals; 0 leaves the beach empty.
        site: Of what photos of one site share (sand and light); None draws it from ``rng``.

    Returns:
        The photo with its dots, none of them outside.
    """
    place = site or rng
    tone, tint = place.normal(0, 14), place.normal(0, 5, 3)
    sand = np.array([168 + tone, 150 + tone, 122 + tone], np.float32) + tint.astype(np.float32)
    sun = place.uniform(0, 2 * np.pi)
    zoom = scale * float(rng.uniform(0.82, 1.22))  # altitude
    canvas = _beach(rng, size_hw, sand, zoom)
    points, classes = _colony(rng, size_hw, zoom, animals)
    shadow = (np.cos(sun), np.sin(sun), float(rng.uniform(0.1, 0.28)))
    # Large ones first: pups lie on top of their mothers, not under them.
    for i in np.argsort(classes, kind="stable"):
        _paint(canvas, rng, points[i], int(classes[i]), zoom, shadow)
    light = float(rng.uniform(0.8, 1.15))
    blurred = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.35, 0.8)))
    canvas = np.asarray(blurred * light + rng.normal(0, 3.5, canvas.shape), np.float32)
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    return Photo(image, points.astype(np.float32), classes, zoom)


class _Table:
    """Rows of a CSV."""

    def __init__(self, *header: str) -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, lineterminator="\n")
        self._writer.writerow(header)

    def add(self, *cells: str) -> None:
        self._writer.writerow(cells)

    def text(self) -> str:
        return self._buffer.getvalue()


def _dots() -> _Table:
    """A table of dots."""
    return _Table("image", "x", "y", "class")


def _noise(rng: np.random.Generator, size_hw: tuple[int, int], cell: float) -> Floats:
    """Smooth noise in about [-1, 1] whose features measure ``cell`` pixels."""
    rows, columns = (max(2, int(np.ceil(side / cell)) + 2) for side in size_hw)
    coarse = rng.normal(0, 0.5, (rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC))


def _rgb(red: float, green: float, blue: float) -> Floats:
    """A colour."""
    return np.array([red, green, blue], np.float32)


def _beach(rng: np.random.Generator, size_hw: tuple[int, int], sand: Floats, zoom: float) -> Floats:
    """Sand and shingle, rocks, weed, and on most photos the sea: (H, W, 3) float32."""
    height, width = size_hw
    relief = sum(_noise(rng, size_hw, zoom * cell) * weight
                 for cell, weight in ((700, 22), (180, 14), (45, 10), (12, 9)))  # fmt: skip
    canvas = sand + np.asarray(relief, np.float32)[..., None] * _rgb(1.0, 0.97, 0.9)
    grain = rng.normal(0, 6, size_hw).astype(np.float32)
    canvas = canvas + grain[..., None]
    rocky = _noise(rng, size_hw, zoom * 400) + 0.5 * _noise(rng, size_hw, zoom * 110)
    rough = _noise(rng, size_hw, zoom * 26)
    rock = np.clip((rocky - rng.uniform(0.25, 0.9)) * 4, 0, 1)[..., None]
    stone = _rgb(108, 100, 94) + 40 * rough[..., None]
    canvas = canvas * (1 - rock) + stone * rock
    canvas = np.asarray(canvas, np.float32)
    for _ in range(rng.poisson(height * width / (zoom * 260) ** 2)):  # boulders, weed, driftwood
        centre = rng.uniform(0, 1, 2) * (width, height)
        axes = rng.uniform(8, 40, 2) * zoom
        colour = _rgb(*_LITTER[int(rng.integers(4))])
        _blob(canvas, centre, axes, rng.uniform(0, 180), colour, float(rng.uniform(0.5, 0.95)), rng)
    if rng.random() < 0.7:
        angle = rng.uniform(0, 2 * np.pi)
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        along = (columns / width - 0.5) * np.cos(angle) + (rows / height - 0.5) * np.sin(angle)
        shore = along + 0.06 * _noise(rng, size_hw, zoom * 300) - rng.uniform(0.2, 0.5)
        wet = np.clip(1 - np.abs(shore + 0.06) * 12, 0, 1)[..., None]
        canvas = canvas * (1 - 0.3 * wet)
        sea = np.clip(shore * 60, 0, 1)[..., None]
        waves = _noise(rng, size_hw, zoom * 60) * 8 + _noise(rng, size_hw, zoom * 16) * 7
        water = _rgb(62, 92, 98) + waves[..., None]
        foam = np.clip(1 - np.abs(shore - 0.015) * 40, 0, 1) * (rough > -0.1)
        canvas = canvas * (1 - sea) + water * sea + 90 * foam[..., None]
    return np.asarray(canvas, np.float32)


def _colony(
    rng: np.random.Generator, size_hw: tuple[int, int], zoom: float, animals: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where animals lie and what they are; bodies may touch but not coincide."""
    empty = np.zeros((0, 2)), np.zeros(0, np.int64)
    if animals <= 0 or rng.random() < _EMPTY_SHARE:
        return empty
    mean = animals / (1 - _EMPTY_SHARE) * np.exp(rng.normal(-(_CROWDS**2) / 2, _CROWDS))
    total = int(rng.poisson(min(mean, 8 * animals)))
    if total == 0:
        return empty
    mix = rng.dirichlet(np.array(CLASS_MIX) * 12)  # photos differ in their mix
    classes = np.sort(rng.choice(5, total, p=mix))
    size = np.array(size_hw[::-1], np.float64)
    harems = rng.uniform(0.12, 0.88, (1 + rng.poisson(total / 30), 2)) * size
    apart = rng.uniform(0.08, 0.92, (1 + rng.poisson(total / 60), 2)) * size
    placed: list[NDArray[np.float64]] = []
    kinds: list[int] = []
    for kind in classes.tolist():
        length = _LENGTH_PX[kind] * zoom
        centres = apart if kind in (1, 3) and rng.random() < 0.75 else harems
        spread = zoom * 62 * (0.9 + 0.38 * np.sqrt(total / len(centres)))
        for _ in range(40):
            if rng.random() < 0.1:
                spot = rng.uniform(0, 1, 2) * (size - 1)
            elif kind == 4 and placed and rng.random() < 0.8:  # pups beside others, often heaped
                spot = placed[int(rng.integers(len(placed)))] + rng.normal(0, 26 * zoom, 2)
            else:
                spot = centres[int(rng.integers(len(centres)))] + rng.normal(0, spread, 2)
            if not ((spot >= 0).all() and (spot <= size - 1).all()):
                continue
            if placed:
                gaps = np.hypot(*(np.array(placed) - spot).T)
                sizes = np.array([_LENGTH_PX[k] for k in kinds]) * zoom
                if (gaps < 0.3 * (length + sizes) * 0.72).any():
                    continue
            placed.append(spot)
            kinds.append(kind)
            break
    if not placed:
        return empty
    return np.array(placed), np.array(kinds, np.int64)


def _paint(
    canvas: Floats,
    rng: np.random.Generator,
    centre: NDArray[np.float64],
    kind: int,
    zoom: float,
    shadow: tuple[float, float, float],
) -> None:
    """Draw one animal with its shadow."""
    length = _LENGTH_PX[kind] * zoom * float(rng.normal(1, 0.07))
    width = length * _WIDTH[kind] * float(rng.normal(1, 0.08))
    angle = float(rng.uniform(0, 360))
    ahead = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    colour = _rgb(*_COLOURS[kind]) + float(rng.normal(0, _SPREAD))
    colour = np.asarray(colour + rng.normal(0, 4, 3), np.float32)
    fall = np.array(shadow[:2]) * length * shadow[2]
    _blob(canvas, centre + fall, (length * 0.48, width * 0.52), angle, _rgb(30, 28, 28), 0.5)
    _blob(canvas, centre, (length * 0.42, width * 0.5), angle, colour, 1.0)
    # Neck and head ahead, hind flippers behind, a lighter back: what tells body from boulder.
    _blob(canvas, centre + ahead * length * 0.34, (length * 0.17, width * 0.3), angle, colour, 1.0)
    _blob(
        canvas,
        centre - ahead * length * 0.42,
        (length * 0.1, width * 0.3),
        angle,
        colour * 0.8,
        0.8,
    )
    lit = np.array(shadow[:2]) * -width * 0.14
    _blob(canvas, centre + lit, (length * 0.3, width * 0.22), angle, colour * 1.22 + 6, 0.55)
    if kind == 0:  # the bull's mane
        mane = centre + ahead * length * 0.18
        _blob(canvas, mane, (length * 0.15, width * 0.48), angle, colour * 1.25 + 10, 0.7)


def _blob(
    canvas: Floats,
    centre: NDArray[np.float64],
    axes: NDArray[np.float64] | tuple[float, float],
    angle: float,
    colour: Floats,
    opacity: float,
    rng: np.random.Generator | None = None,
) -> None:
    """Lay a soft-edged ellipse, ragged if ``rng`` is given, over the canvas."""
    reach = int(np.ceil(max(axes))) + 2
    column, row = int(np.floor(centre[0])), int(np.floor(centre[1]))
    left, right = max(column - reach, 0), min(column + reach + 1, canvas.shape[1])
    top, bottom = max(row - reach, 0), min(row + reach + 1, canvas.shape[0])
    if left >= right or top >= bottom:
        return
    dx = np.arange(left, right) - centre[0]
    dy = (np.arange(top, bottom) - centre[1])[:, None]
    turn = np.deg2rad(angle)
    a = (dx * np.cos(turn) + dy * np.sin(turn)) / max(axes[0], 0.5)
    b = (dy * np.cos(turn) - dx * np.sin(turn)) / max(axes[1], 0.5)
    radius = np.sqrt(a**2 + b**2)
    if rng is not None:
        radius = radius + 0.35 * _noise(rng, (bottom - top, right - left), max(3.0, reach / 3))
    soft = np.clip((1 - radius) * max(min(axes), 1.0) + 0.5, 0, 1) * opacity
    part = canvas[top:bottom, left:right]
    part += (colour - part) * soft.astype(np.float32)[..., None]


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Encode without time stamps, so that equal pixels are equal bytes."""
    done, data = cv2.imencode(".png", image[..., ::-1])
    if not done:
        raise TransectError(f"{path} could not be encoded as PNG. Choose a smaller size.")
    path.write_bytes(data.tobytes())
