"""A survey simulator for the audit: clean by itself, with a function that plants each fault."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

SIZE_HW = (72, 96)


def scene(rng: np.random.Generator, size_hw=SIZE_HW, blobs: int = 5):
    """A textured colour picture with bright blobs, and the instance labels of the blobs."""
    high, wide = size_hw
    picture = np.zeros((high, wide, 3), np.float32)
    for sigma, level in ((2, 12), (6, 18), (16, 22)):
        noise = rng.normal(size=(high, wide, 3)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
        picture += level * smooth / smooth.std()
    picture += rng.uniform(80, 110, 3)
    labels = np.zeros((high, wide), np.uint8)
    dots = []
    for _ in range(200):
        if len(dots) == blobs:
            break
        y, x = int(rng.integers(9, high - 9)), int(rng.integers(9, wide - 9))
        if any((x - a) ** 2 + (y - b) ** 2 < 17**2 for a, b in dots):
            continue
        dots.append((x, y))
        disc = np.zeros_like(labels)
        cv2.circle(disc, (x, y), int(rng.integers(4, 7)), 1, -1)
        labels[disc > 0] = len(dots)
        picture[disc > 0] += rng.uniform(70, 110)
    picture += rng.normal(0, 3, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), labels, np.array(dots)


def write(path: Path, picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = picture if picture.ndim == 2 else picture[..., ::-1]
    assert cv2.imwrite(str(path), shown)


def table(path: Path, header: list[str], rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *rows])


def name(i: int) -> str:
    return f"p{i * 7919 % 1000:03d}x.png"


def segment_survey(root: Path, count: int = 40, seed: int = 0) -> Path:
    """A clean survey of instance masks."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        picture, labels, _ = scene(rng, blobs=4 + i % 3)
        write(root / "images" / name(i), picture)
        write(root / "masks" / name(i), labels)
    return root


def count_survey(root: Path, count: int = 40, seed: int = 1) -> Path:
    """A clean survey of dots of two classes, with boxes."""
    rng = np.random.default_rng(seed)
    points = []
    for i in range(count):
        picture, _, dots = scene(rng, blobs=4 + i % 3)
        write(root / "images" / name(i), picture)
        points += [[name(i), x, y, ("adult", "pup")[j % 2]] for j, (x, y) in enumerate(dots)]
    table(root / "points.csv", ["image", "x", "y", "class"], points)
    return root


def identify_survey(root: Path, individuals: int = 12, photos: int = 3, seed: int = 2) -> Path:
    """A clean survey of individuals: every photo before another background."""
    rng = np.random.default_rng(seed)
    rows = []
    number = 0
    for who in range(individuals):
        mark, _, _ = scene(np.random.default_rng(1000 + who), (40, 56), blobs=3)
        for photo in range(photos):
            picture, _, _ = scene(rng, blobs=0)
            y, x = 16 + rng.integers(-4, 5), 20 + rng.integers(-5, 6)
            picture[y : y + 40, x : x + 56] = cv2.convertScaleAbs(mark, alpha=rng.uniform(0.8, 1.1))
            write(root / "images" / name(number), picture)
            side = ("left", "right")[photo % 2]
            rows.append([name(number), f"whale {who:02d}", side, f"2020-{who + 1:02d}-{photo:02d}"])
            number += 1
    table(root / "identities.csv", ["image", "identity", "side", "date"], rows)
    return root
