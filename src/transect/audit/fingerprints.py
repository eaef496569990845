"""One pass over all pictures: what is kept of each so that the rest of the audit opens no file."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.data.folder import in_threads
from transect.data.images import open_reader, read_image
from transect.errors import TransectError
from transect.types import Image, Problem

__all__ = ["EDGE", "FEATURES", "THUMB", "Prints", "take_prints"]

THUMB = 32
"""Side of the grey thumbnail; pairs are verified on it."""
COLOUR = 16
"""Side of the colour thumbnail."""
EDGE = 96
"""Most samples that are kept of a border row."""
LARGE_PX = 50_000_000
"""Larger pictures are read band by band and reduced."""
_BORDER = 16  # pixels
"""No corner is nearer to a border."""
WORK_PX = 256
"""Longer side of the picture that features and keypoints are taken from."""
KEYPOINTS = 128
FLAT_LEVELS = 1.5
"""A picture whose grey levels deviate less than this (of 255) is flat; our guess."""
SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0)

FEATURES = (
    "height",
    "width",
    "aspect",
    "channels",
    "brightness",
    "contrast",
    "red_green",
    "blue_green",
    "saturation",
    "dark_share",
    "bright_share",
    "sharpness",
    "noise",
    "grain_px",
    "along_x",
    "entropy",
    "bytes_per_px",
)
"""Cheap numbers per picture: the shift between surveys is read from them."""


@dataclass(frozen=True)
class Prints:
    """What is kept of N pictures; about 4 kB each.

    Attributes:
        names: (N) names.
        md5: (N, 16) uint8 of the file's bytes.
        hashes: (N,) uint64: signs of the 8 x 8 lowest cosine waves.
        flat: (N,) bool: no detail at all.
        grey: (N, 32, 32) uint8.
        colour: (N, 16, 16, 3) uint8.
        features: (N, F) float32, see ``FEATURES``.
        size_hw: (N, 2) int64.
        channels: (N,) int64.
        edges: (N, 4, 2, 96) int16: top, right, bottom, left; the border row and the row beyond it
            (2 e0 - e1), NaN-free; unused samples are 0.
        edge_length: (N, 2) int64: samples used of the horizontal and vertical sides.
        keypoints: Per picture (K, 3) float32 x, y, scale in source pixels, or empty.
        descriptors: Per picture (K, 32) uint8 binary descriptors, strongest first, or empty.
        problems: Pictures that could not be decoded; they are not among the names.
    """

    names: tuple[str, ...]
    md5: NDArray[np.uint8]
    hashes: NDArray[np.uint64]
    flat: NDArray[np.bool_]
    grey: NDArray[np.uint8]
    colour: NDArray[np.uint8]
    features: NDArray[np.float32]
    size_hw: NDArray[np.int64]
    channels: NDArray[np.int64]
    edges: NDArray[np.int16]
    edge_length: NDArray[np.int64]
    keypoints: tuple[NDArray[np.float32], ...]
    descriptors: tuple[NDArray[np.uint8], ...]
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def standardised(self) -> NDArray[np.float32]:
        """(N, 1024) float32 grey thumbnails with mean 0 and length 1."""
        flat = self.grey.reshape(len(self), -1).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        return np.asarray(flat / np.maximum(length, 1e-6), np.float32)


def take_prints(
    images: Sequence[Image],
    *,
    keypoints: bool = False,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prints:
    """Decode every picture once and keep what the audit needs.

    Args:
        images: The pictures.
        keypoints: Also take local features, by which crops of one photo are found.
        threads: How many decode; None is one per core.
        progress: Called with (done, all).

    Returns:
        The prints of all pictures that can be decoded; the others are ``problems``.
    """

    def take(image: Image) -> dict[str, Any] | Problem:
        try:
            return _print(image, keypoints=keypoints)
        except TransectError as error:
            return Problem(image.name, str(error))

    # OpenCV's own threads would fight with ours over the same cores.
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        found = in_threads(take, images, progress, threads)
    finally:
        cv2.setNumThreads(before)
    rows = [row for row in found if not isinstance(row, Problem)]
    return Prints(
        names=tuple(row["name"] for row in rows),
        md5=_stacked(rows, "md5", (16,), np.uint8),
        hashes=_stacked(rows, "hash", (), np.uint64),
        flat=_stacked(rows, "flat", (), np.bool_),
        grey=_stacked(rows, "grey", (THUMB, THUMB), np.uint8),
        colour=_stacked(rows, "colour", (COLOUR, COLOUR, 3), np.uint8),
        features=_stacked(rows, "features", (len(FEATURES),), np.float32),
        size_hw=_stacked(rows, "size_hw", (2,), np.int64),
        channels=_stacked(rows, "channels", (), np.int64),
        edges=_stacked(rows, "edges", (4, 2, EDGE), np.int16),
        edge_length=_stacked(rows, "edge_length", (2,), np.int64),
        keypoints=tuple(row["keypoints"] for row in rows),
        descriptors=tuple(row["descriptors"] for row in rows),
        problems=tuple(row for row in found if isinstance(row, Problem)),
    )


def chosen(prints: Prints, rows: NDArray[np.int64]) -> Prints:
    """The prints of some rows."""
    arrays = {
        name: getattr(prints, name)[rows]
        for name in (
            "md5",
            "hashes",
            "flat",
            "grey",
            "colour",
            "features",
            "size_hw",
            "channels",
            "edges",
            "edge_length",
        )
    }
    return replace(
        prints,
        names=tuple(prints.names[i] for i in rows),
        keypoints=tuple(prints.keypoints[i] for i in rows),
        descriptors=tuple(prints.descriptors[i] for i in rows),
        **arrays,
    )


def hash64(grey: NDArray[np.uint8]) -> int:
    """The perceptual hash of a (32, 32) thumbnail."""
    waves = np.asarray(cv2.dct(grey.astype(np.float32)))[:8, :8].ravel()
    signs = waves > np.median(waves[1:])
    return int(np.packbits(signs).view(">u8")[0])


def picture_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 1 or 3) uint8: alpha dropped, more bands cut to three, other types stretched."""
    planes = image[..., :1] if image.shape[2] < 3 else image[..., :3]
    if planes.dtype == np.uint8:
        return planes
    values = np.nan_to_num(planes.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    step = max(1, int(np.sqrt(values.size / 200_000)))
    low, high = np.percentile(values[::step, ::step], (0.5, 99.5))
    scaled = (values - low) * (255.0 / max(float(high - low), 1e-6))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def grey_of(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) uint8 from one channel or three."""
    if picture.shape[2] == 1:
        return picture[..., 0]
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _stacked(rows: list[dict[str, Any]], key: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """One array of all rows, of the right shape also when there is none."""
    out = np.zeros((len(rows), *shape), dtype)
    for i, row in enumerate(rows):
        out[i] = row[key]
    return out


def _print(image: Image, *, keypoints: bool) -> dict[str, Any]:
    """Everything of one picture."""
    with image.path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").digest()
    picture, (height, width), edges = _seen(image.path)
    grey = grey_of(picture)
    thumb = _resized(grey, (THUMB, THUMB))
    reduce = WORK_PX / max(grey.shape)
    work = (
        grey
        if reduce >= 1
        else _resized(
            grey,
            (max(round(grey.shape[0] * reduce), 2), max(round(grey.shape[1] * reduce), 2)),
        )
    )
    scale = max(height, width) / max(work.shape)
    points, descriptors = _keypoints(work, scale) if keypoints else _no_keypoints()
    lengths = (min(width, EDGE), min(height, EDGE))
    return {
        "name": image.name,
        "md5": np.frombuffer(digest, np.uint8),
        "hash": np.uint64(hash64(thumb)),
        "flat": float(grey.std()) < FLAT_LEVELS,
        "grey": thumb,
        "colour": np.broadcast_to(
            _resized(picture, (COLOUR, COLOUR)).reshape(COLOUR, COLOUR, -1), (COLOUR, COLOUR, 3)
        ),
        "features": _features(
            picture, work, scale, (height, width), image.channels, image.path.stat().st_size
        ),
        "size_hw": (height, width),
        "channels": image.channels,
        "edges": edges,
        "edge_length": lengths,
        "keypoints": points,
        "descriptors": descriptors,
    }


def _seen(path: Path) -> tuple[NDArray[np.uint8], tuple[int, int], NDArray[np.int16]]:
    """The picture (reduced if it is huge), its size, and its edges."""
    from transect.data.images import image_info

    (height, width), _, _ = image_info(path)
    if height * width <= LARGE_PX:
        picture = picture_uint8(read_image(path))
        return picture, picture.shape[:2], _edges(picture, picture, picture, picture)
    reader = open_reader(path)
    factor = int(np.ceil(np.sqrt(height * width / (LARGE_PX / 16))))
    rows = 256 // factor * factor or factor
    bands = []
    for top in range(0, height, rows):
        band = np.asarray(reader.window(top, 0, min(rows, height - top), width))
        size = (max(band.shape[0] // factor, 1), max(width // factor, 1))
        bands.append(_resized(np.asarray(band, np.float32), size))
    picture = picture_uint8(np.concatenate([b.reshape(*b.shape[:2], -1) for b in bands]))
    return picture, (height, width), _edges(picture, picture, picture, picture)


def _edges(
    top: NDArray[np.uint8],
    right: NDArray[np.uint8],
    bottom: NDArray[np.uint8],
    left: NDArray[np.uint8],
) -> NDArray[np.int16]:
    """The border rows and the rows that would follow, (4, 2, EDGE)."""
    out = np.zeros((4, 2, EDGE), np.int16)
    sides = (
        (top[0], top[min(1, len(top) - 1)]),
        (right[:, -1], right[:, max(right.shape[1] - 2, 0)]),
        (bottom[-1], bottom[max(len(bottom) - 2, 0)]),
        (left[:, 0], left[:, min(1, left.shape[1] - 1)]),
    )
    for i, (e0, e1) in enumerate(sides):
        border = e0.astype(np.float32).mean(axis=-1)
        inner = e1.astype(np.float32).mean(axis=-1)
        samples = min(len(border), EDGE)
        for j, row in enumerate((border, 2 * border - inner)):
            reduced = cv2.resize(row[None], (samples, 1), interpolation=cv2.INTER_AREA)[0]
            out[i, j, :samples] = np.rint(4 * reduced)  # quarter grey levels
    return out


def _resized(array: NDArray[Any], size_hw: tuple[int, int]) -> Any:
    """Area-averaged to a size; tiny pictures are enlarged."""
    shrink = array.shape[0] >= size_hw[0] and array.shape[1] >= size_hw[1]
    how = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(array), size_hw[::-1], interpolation=how))


def _features(
    picture: NDArray[np.uint8],
    work: NDArray[np.uint8],
    scale: float,
    size_hw: tuple[int, int],
    channels: int,
    file_bytes: int,
) -> NDArray[np.float32]:
    """The numbers of ``FEATURES`` for one picture."""
    small = _resized(picture, (min(64, picture.shape[0]), min(64, picture.shape[1])))
    small = small.reshape(*small.shape[:2], -1).astype(np.float32)
    mean = small.mean(axis=(0, 1))
    if len(mean) == 1:
        mean = np.repeat(mean, 3)
    spread = float((small.max(axis=2) - small.min(axis=2)).mean())
    values = work.astype(np.float32)
    # A picture of one row or column has no step along the other axis.
    steps = [np.abs(np.diff(values, axis=axis)) for axis in (1, 0)]
    energy_x, energy_y = (float(step.mean()) if step.size else 0.0 for step in steps)
    histogram = np.bincount(work.ravel() >> 3, minlength=32) / work.size
    some = histogram[histogram > 0]
    spectrum = _scale_energy(values)
    grain = float(np.exp((spectrum * np.log(SIGMAS)).sum())) * scale
    height, width = size_hw
    return np.array(
        [
            height,
            width,
            width / height,
            channels,
            values.mean(),
            values.std(),
            mean[0] - mean[1],
            mean[2] - mean[1],
            spread,
            (work < 16).mean(),
            (work > 239).mean(),
            (energy_x + energy_y) / max(float(values.std()), 1.0),
            _noise_level(values),
            grain,
            energy_x / max(energy_x + energy_y, 1e-6),
            float(-(some * np.log2(some)).sum()),
            file_bytes / (height * width),
        ],
        np.float32,
    )


def _noise_level(values: NDArray[np.float32]) -> float:
    """Deviation of the noise in grey levels, from a filter blind to slopes (Immerkaer 1996)."""
    if min(values.shape) < 3:
        return 0.0
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.abs(cv2.filter2D(values, -1, kernel)).mean()) * float(np.sqrt(np.pi / 2)) / 6


def _scale_energy(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of the detail at each scale of ``SIGMAS``: differences of Gaussians."""
    blurred = [cv2.GaussianBlur(values, (0, 0), s) for s in (0.6, *SIGMAS)]
    energy = np.array([((a - b) ** 2).mean() for a, b in itertools.pairwise(blurred)])
    return np.asarray(energy / max(float(energy.sum()), 1e-9))


def _keypoints(
    work: NDArray[np.uint8], scale: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Corners with binary descriptors, places in source pixels."""
    if min(work.shape) <= 2 * _BORDER:
        return _no_keypoints()  # none is that far from every border; OpenCV fails on a few pixels
    orb = cv2.ORB.create(nfeatures=KEYPOINTS, fastThreshold=8, edgeThreshold=_BORDER, patchSize=24)
    points, descriptors = orb.detectAndCompute(cv2.GaussianBlur(work, (0, 0), 1.0), None)
    if descriptors is None or not points:
        return _no_keypoints()
    order = np.argsort([-p.response for p in points], kind="stable")
    places = np.array([(*p.pt, p.size) for p in points], np.float32) * np.float32(scale)
    return places[order], np.asarray(descriptors, np.uint8)[order]


def _no_keypoints() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    return np.zeros((0, 3), np.float32), np.zeros((0, 32), np.uint8)
