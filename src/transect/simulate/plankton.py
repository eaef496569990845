"""A simulator of plankton under a dark-field camera, and the labelled survey made of it.

One organism lies in each picture, at any angle and size, sharp or out of focus: a copepod (body,
antennae), a chain of diatoms, a jelly (bell, tentacles), a radiolarian (spines), a fibre, or a
pellet, which is nothing alive. Stations differ in light, noise and floating dust, so that the grey
values of a picture say where it was taken and not what it shows. The forms are our own cartoons.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import write_text

__all__ = ["PLANKTON", "simulate_plankton", "write_plankton_survey"]

Floats = NDArray[np.float32]
Draw = Callable[[Floats, float, np.random.Generator], None]

_SHARES = (0.34, 0.24, 0.16, 0.12, 0.08, 0.06)  # of the labels, a long tail; our guess
_STATIONS = 24


def write_plankton_survey(
    root: Path,
    *,
    n_train: int = 360,
    n_test: int = 120,
    seed: int = 0,
    size_px: int = 96,
    share_wrong: float = 0.0,
) -> Path:
    """Write simulated plankton as a survey: ``labels.csv``, and the truth of the test pictures.

    ``images.csv`` has the station of every picture (column group); a station is either trained on
    or tested. ``truth/labels.csv`` is read by no reader of surveys.

    Args:
        root: The folder; it must not exist or be empty.
        n_train: Labelled pictures.
        n_test: Pictures of other stations.
        seed: The same seed and numbers give the same bytes.
        size_px: Side of a picture, at least 32.
        share_wrong: Of the labels that are wrong, to see whether they are found.

    Returns:
        ``root``.

    Raises:
        TransectError: If the folder has something in it, or a number is out of range.
    """
    if size_px < 32 or n_train < len(PLANKTON) or n_test < 0 or not 0 <= share_wrong < 1:
        raise TransectError(
            f"a plankton survey needs pictures of at least 32 px and {len(PLANKTON)} of them; got "
            f"{size_px} px and {n_train}. Raise them."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise TransectError(f"{root} is not an empty folder. Choose another, or remove it first.")
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng([seed, 7])
    names = list(PLANKTON)
    tables = [io.StringIO() for _ in range(3)]
    labels, images, truth = (csv.writer(t, lineterminator="\n") for t in tables)
    labels.writerow(["image", "label"])
    truth.writerow(["image", "label"])
    images.writerow(["image", "group", "split"])
    for i in range(n_train + n_test):
        test = i >= n_train
        # At least one picture of every label is trained on.
        label = i if i < len(names) else int(rng.choice(len(names), p=_SHARES))
        station = int(rng.integers(_STATIONS)) + _STATIONS * test
        name = f"p{i:05d}.png"
        picture = simulate_plankton(names[label], station=[seed, station], rng=rng, size_px=size_px)
        _write_png(root / "images" / name, picture)
        images.writerow([name, f"station{station:02d}", "test" if test else "train"])
        if not test and rng.random() < share_wrong:
            label = (label + int(rng.integers(1, len(names)))) % len(names)
        (truth if test else labels).writerow([name, names[label]])
    for path, table in zip(("labels.csv", "images.csv", "truth/labels.csv"), tables, strict=True):
        write_text(root / path, table.getvalue())
    return root


def simulate_plankton(
    label: str, *, station: list[int], rng: np.random.Generator, size_px: int = 96
) -> NDArray[np.uint8]:
    """One picture.

    Args:
        label: A key of ``PLANKTON``.
        station: Numbers that give the light, noise and dust that its pictures share.
        rng: Of everything else.
        size_px: Its side.

    Returns:
        (H, W, 1) uint8.
    """
    place = np.random.default_rng([11, *station])
    ground, light = place.uniform(0.05, 0.3), place.uniform(0.35, 0.9)
    noise, dust = place.uniform(0.01, 0.05), int(place.integers(0, 14))
    side = 4 * size_px  # drawn large and made small: smooth edges
    canvas = np.zeros((side, side), np.float32)
    PLANKTON[label](canvas, side * rng.uniform(0.2, 0.38), rng)
    about = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 360)), 1.0)
    move = np.zeros((2, 3))
    move[:, 2] = rng.uniform(-0.1, 0.1, 2) * side
    canvas = np.asarray(cv2.warpAffine(canvas, about + move, (side, side)), np.float32)
    for _ in range(dust):
        at = tuple(int(v) for v in rng.integers(0, side, 2))
        cv2.circle(canvas, at, int(rng.integers(2, 12)), float(rng.uniform(0.2, 0.8)), -1)
    canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(2, 9))), np.float32)
    small = np.asarray(cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA))
    seen = ground + light * small + rng.normal(0, noise, small.shape)
    return np.clip(seen * 255, 0, 255).astype(np.uint8)[..., None]


def _middle(canvas: Floats) -> tuple[int, int]:
    return canvas.shape[1] // 2, canvas.shape[0] // 2


def _copepod(canvas: Floats, reach: float, rng: np.random.Generator) -> None:
    """A drop-shaped body, two antennae bent back, a forked tail."""
    x, y = _middle(canvas)
    long, wide = int(reach * 0.75), int(reach * rng.uniform(0.28, 0.36))
    cv2.ellipse(canvas, (x, y), (long, wide), 0, 0, 360, 0.9, -1)
    cv2.ellipse(canvas, (x + long, y), (long // 2, max(2, wide // 4)), 0, 0, 360, 0.8, -1)
    for up in (-1, 1):
        bend = (int(x - long * 0.4), int(y + up * reach * rng.uniform(0.7, 1.0)))
        tip = (int(x + long * rng.uniform(0.2, 0.7)), int(y + up * reach * 1.05))
        cv2.polylines(canvas, [np.array([(x - long, y), bend, tip], np.int32)], False, 0.6, 5)


def _chain(canvas: Floats, reach: float, rng: np.random.Generator) -> None:
    """Cells in a row, with gaps between them."""
    x, y = _middle(canvas)
    cells = int(rng.integers(4, 9))
    step = 2.4 * reach / cells
    for k in range(cells):
        left = int(x - 1.2 * reach + k * step)
        high = int(reach * 0.14)
        top, bottom = (left, y - high), (int(left + 0.75 * step), y + high)
        cv2.rectangle(canvas, top, bottom, float(rng.uniform(0.6, 0.9)), -1)


def _jelly(canvas: Floats, reach: float, rng: np.random.Generator) -> None:
    """A pale bell with a bright rim, and tentacles below it."""
    x, y = _middle(canvas)
    size = (int(reach * 0.7), int(reach * 0.6))
    cv2.ellipse(canvas, (x, y), size, 0, 180, 360, 0.35, -1)
    cv2.ellipse(canvas, (x, y), size, 0, 180, 360, 0.9, 8)
    for k in range(int(rng.integers(4, 9))):
        down = np.linspace(0, reach, 12)
        wave = reach * 0.06 * np.sin(down / reach * 9 + rng.uniform(0, 6))
        at = x - size[0] + 2 * size[0] * (k + 0.5) / 8 + wave
        line = np.stack([at, y + down], axis=1).astype(np.int32)
        cv2.polylines(canvas, [line], False, 0.45, 4)


def _radiolarian(canvas: Floats, reach: float, rng: np.random.Generator) -> None:
    """A ball with straight spines all around."""
    x, y = _middle(canvas)
    cv2.circle(canvas, (x, y), int(reach * 0.42), 0.75, -1)
    for angle in np.arange(int(rng.integers(9, 16))) * rng.uniform(0.4, 0.7):
        out = reach * rng.uniform(0.8, 1.1)
        tip = (int(x + out * np.cos(angle)), int(y + out * np.sin(angle)))
        cv2.line(canvas, (x, y), tip, 0.7, 5)


def _fibre(canvas: Floats, reach: float, rng: np.random.Generator) -> None:
    """A long bent line."""
    x, y = _middle(canvas)
    t = np.linspace(-1, 1, 40)
    bend = rng.uniform(0.2, 0.6) * np.sin(t * rng.uniform(1.5, 4) + rng.uniform(0, 6))
    line = np.stack([x + 1.2 * reach * t, y + reach * bend], axis=1).astype(np.int32)
    cv2.polylines(canvas, [line], False, 0.8, int(rng.integers(5, 10)))


def _pellet(canvas: Floats, reach: float, rng: np.random.Generator) -> None:
    """A plain ellipse without anything attached."""
    size = (int(reach * rng.uniform(0.5, 0.9)), int(reach * rng.uniform(0.2, 0.4)))
    cv2.ellipse(canvas, _middle(canvas), size, 0, 0, 360, float(rng.uniform(0.6, 0.9)), -1)


PLANKTON: dict[str, Draw] = {
    "copepod": _copepod,
    "diatom_chain": _chain,
    "pellet": _pellet,
    "fibre": _fibre,
    "jelly": _jelly,
    "radiolarian": _radiolarian,
}
"""Labels, the frequent ones first, and what draws them into a canvas at about a given reach."""


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Encode without time stamps, so that equal pixels are equal bytes."""
    done, data = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    if not done:
        raise TransectError(f"{path} could not be encoded as PNG. Choose a smaller size.")
    path.write_bytes(data.tobytes())
