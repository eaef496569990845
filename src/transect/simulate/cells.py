"""A simulator of fluorescent cells that crowd and overlap, and the dotted survey made of them.

A field of view holds cells with a bright outline and a mottled inside; some lie alone, many in
clumps, on top of each other. Light adds up where they overlap, the microscope blurs (more in some
fields than in others), the camera adds noise. It stands for the synthetic sets on which density
counting is usually compared.

References:
    The kind of picture: Lehmussola et al. 2007, Computational framework for simulating
    fluorescence microscope images; Lempitsky and Zisserman 2010 count 74 to 317 (mean 174) of its
    cells in pictures of 256 x 256. All numbers here are our own guesses at it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import write_text

__all__ = ["simulate_cells", "write_cells_survey"]

_RADIUS_PX = 6.5  # of a usual cell
_SPREAD = 0.35  # deviation of the logarithm of the number of cells in a field
_RANGE = (0.42, 1.8)  # least and most cells, over their mean
_CLUMPED = 0.6  # share of cells that lie in clumps
_CLUMP_CELLS = 7.0  # mean


def write_cells_survey(
    root: Path,
    *,
    n_train: int = 64,
    n_test: int = 0,
    seed: int = 0,
    size_px: int = 256,
    cells: float = 176.0,
) -> Path:
    """Write a simulated survey of cells: dots in ``points.csv``, those of test in ``truth/``.

    Args:
        root: The folder; it must not exist or be empty.
        n_train: Pictures with dots.
        n_test: Pictures whose dots no reader of surveys looks at.
        seed: The same seed and numbers give the same bytes.
        size_px: Side of a picture, at least 64.
        cells: Mean number of cells in a picture.

    Returns:
        ``root``.

    Raises:
        TransectError: If the folder has something in it, or a number is out of range.
    """
    if size_px < 64 or n_train < 0 or n_test < 0 or n_train + n_test == 0 or cells < 0:
        raise TransectError(
            f"a cell survey needs pictures of 64 px or more and one of them or more; got "
            f"{size_px} px, {n_train} training and {n_test} test pictures. Raise them."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise TransectError(f"{root} is not an empty folder. Choose another, or remove it first.")
    (root / "images").mkdir(parents=True, exist_ok=True)
    images = ["image,split"]
    dots = {split: ["image,x,y,class"] for split in ("train", "test")}
    for stream, (split, count) in enumerate((("train", n_train), ("test", n_test))):
        for number in range(count):
            rng = np.random.default_rng([seed, stream, number])
            image, points = simulate_cells(rng, size_px=size_px, cells=cells)
            name = f"{split}{number:03d}.png"
            cv2.imwrite(str(root / "images" / name), image[..., ::-1])
            images.append(f"{name},{split}")
            dots[split] += [f"{name},{x:.1f},{y:.1f},cell" for x, y in points.tolist()]
    write_text(root / "images.csv", "\n".join(images) + "\n")
    write_text(root / "points.csv", "\n".join(dots["train"]) + "\n")
    write_text(root / "truth" / "points.csv", "\n".join(dots["test"]) + "\n")
    return root


def simulate_cells(
    rng: np.random.Generator, *, size_px: int = 256, cells: float = 176.0
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Simulate one field of view.

    Args:
        rng: Of everything in it.
        size_px: Side of the picture.
        cells: Mean number of cells over many fields.

    Returns:
        (H, W, 3) uint8 RGB, blue, and the cells' middles (K, 2) as x, y.
    """
    low, high = (share * cells for share in _RANGE)
    number = round(float(np.clip(cells * rng.lognormal(-(_SPREAD**2) / 2, _SPREAD), low, high)))
    points = _places(rng, number, size_px)
    light = np.zeros((size_px, size_px), np.float32)
    for x, y in points:
        _add_cell(light, rng, float(x), float(y))
    haze = cv2.GaussianBlur(light, (0, 0), 12)
    sharp = cv2.GaussianBlur(light, (0, 0), float(rng.uniform(0.8, 2.0)))
    grey = (sharp + 0.15 * haze) * rng.uniform(0.7, 1.1) + 12 + rng.normal(0, 5, light.shape)
    image = np.zeros((size_px, size_px, 3), np.uint8)
    image[..., 2] = np.clip(grey, 0, 255)
    return image, points


def _places(rng: np.random.Generator, number: int, size_px: int) -> NDArray[np.float32]:
    """Middles of cells: some alone, the others around the middles of clumps."""
    clumps = rng.uniform(0, size_px, (max(1, round(number * _CLUMPED / _CLUMP_CELLS)), 2))
    found: list[NDArray[np.float64]] = []
    while len(found) < number:
        if rng.random() < _CLUMPED:
            spot = clumps[rng.integers(len(clumps))] + rng.normal(0, 2.2 * _RADIUS_PX, 2)
        else:
            spot = rng.uniform(0, size_px, 2)
        if not ((spot > 0) & (spot < size_px - 1)).all():
            continue
        # Cells overlap, but none lies wholly behind another.
        near = min((float(np.hypot(*(spot - other))) for other in found), default=np.inf)
        if near > 0.7 * _RADIUS_PX:
            found.append(spot)
    return np.array(found, np.float32).reshape(-1, 2)


def _add_cell(light: NDArray[np.float32], rng: np.random.Generator, x: float, y: float) -> None:
    """Add the light of one cell: an uneven ellipse, brighter at its rim, mottled inside."""
    radius = _RADIUS_PX * float(rng.lognormal(0, 0.15))
    longer, turn = float(rng.uniform(1.0, 1.4)), float(rng.uniform(0, np.pi))
    reach = int(np.ceil(radius * longer)) + 2
    left, top = max(0, round(x) - reach), max(0, round(y) - reach)
    window = light[top : round(y) + reach + 1, left : round(x) + reach + 1]
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
    dx, dy = columns + left - x, rows + top - y
    along = (dx * np.cos(turn) + dy * np.sin(turn)) / (radius * np.sqrt(longer))
    across = (dy * np.cos(turn) - dx * np.sin(turn)) / (radius / np.sqrt(longer))
    away = np.hypot(along, across)
    mottle = cv2.GaussianBlur(rng.normal(0, 1, window.shape).astype(np.float32), (0, 0), 1.5)
    inside = 1 / (1 + np.exp(10 * (away - 1)))
    bright = 55 * float(rng.lognormal(0, 0.3)) * (0.7 + 0.4 * away**2 + 0.6 * mottle)
    window += (inside * np.clip(bright, 0, None)).astype(np.float32)
