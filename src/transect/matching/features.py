"""Keypoints and their descriptors: taken once from a picture, kept in a file, never taken twice."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.files import atomic_path

__all__ = ["KeypointSpec", "Keypoints", "extract", "grey_uint8", "read_keypoints", "root_sift"]
__all__ += ["write_keypoints"]

KINDS = ("rootsift", "affnet_hardnet")
FORMAT = 1  # of the stored file


@dataclass(frozen=True)
class KeypointSpec:
    """How keypoints are taken; part of the signature of stored files.

    Attributes:
        kind: ``rootsift``, or ``affnet_hardnet`` (affine shape and a learned descriptor; needs
            files of weights, see ``matching.learned``).
        max_keypoints: The strongest are kept.
        size_limit: Longest side in pixels at which the picture is looked at; larger ones are
            shrunk, 0 looks at the full size as the whale 4th place did.
        enlarge_below: Pictures whose longest side is below this are enlarged to it first: SIFT
            finds next to nothing in a thumbnail. 0 never enlarges.
        clahe: Clip limit of contrast-limited adaptive histogram equalisation; 0 is off. On the
            slide of the whale 4th place; not in its released indexing script.
        clahe_grid: Tiles per side of that equalisation.
        min_mask: A mask with fewer pixels than this is ignored: the segmentation failed (1,000 in
            the whale 4th place).
        contrast: SIFT's contrast threshold.
    """

    kind: str = "rootsift"
    max_keypoints: int = 500
    size_limit: int = 800
    enlarge_below: int = 0
    clahe: float = 0.0
    clahe_grid: int = 8
    min_mask: int = 1000
    contrast: float = 0.02


@dataclass(frozen=True)
class Keypoints:
    """What geometry knows of one picture.

    Attributes:
        points: (K, 2) float32 x, y in pixels of the stored picture, strongest first.
        descriptors: (K, D) float32 of length 1.
        scales: (K,) float32 diameter in pixels of the stored picture.
        angles: (K,) float32 degrees.
        responses: (K,) float32 strength.
        size_hw: Of the stored picture.
        working: Working pixels per stored pixel: 0.5 if the picture was halved first. Pixel
            thresholds of the verification are meant in working pixels.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    scales: NDArray[np.float32]
    angles: NDArray[np.float32]
    responses: NDArray[np.float32]
    size_hw: tuple[int, int]
    working: float = 1.0

    def __len__(self) -> int:
        """Number of keypoints."""
        return len(self.points)


def grey_uint8(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Reduce a picture of any type to grey bytes.

    Args:
        image: (H, W) or (H, W, C); one channel is taken as it is, three or more as RGB, a second
            or fourth one (alpha) is ignored. Types other than uint8 are stretched from their
            0.5th to their 99.5th percentile.

    Returns:
        (H, W) uint8.
    """
    import cv2

    pixels = np.asarray(image)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]
    if pixels.dtype != np.uint8:
        low, high = np.percentile(pixels, (0.5, 99.5))
        span = max(float(high) - float(low), 1e-9)
        stretched = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255 / span)
        pixels = np.clip(stretched, 0, 255).astype(np.uint8)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def root_sift(descriptors: NDArray[np.generic]) -> NDArray[np.float32]:
    """Turn SIFT into RootSIFT: divide by the sum, take the root, so that the length is 1.

    Args:
        descriptors: (K, 128) non-negative.

    Returns:
        (K, 128) float32 of length 1; a descriptor of zeros stays zero.

    References:
        Arandjelovic and Zisserman 2012; used by the whale 4th place.

    Example:
        >>> root_sift(np.array([[1, 1, 1, 1]])).tolist()
        [[0.5, 0.5, 0.5, 0.5]]
    """
    values = np.asarray(descriptors, dtype=np.float32)
    total = values.sum(axis=1, keepdims=True)
    rooted: NDArray[np.float32] = np.sqrt(values / np.maximum(total, 1e-12))
    return rooted


def extract(
    image: NDArray[np.generic],
    spec: KeypointSpec | None = None,
    *,
    mask: NDArray[np.generic] | None = None,
    learned: Any = None,
) -> Keypoints:
    """Find keypoints and describe them.

    Args:
        image: (H, W) or (H, W, C), any type.
        spec: How.
        mask: (H, W); keypoints lie where it is not zero. None, or fewer than ``spec.min_mask``
            pixels, means the whole picture.
        learned: ``matching.learned.load_learned`` result, for ``affnet_hardnet``.

    Returns:
        The keypoints, strongest first; possibly none.

    Raises:
        TransectError: If the mask has another size, or learned weights are missing.
    """
    import cv2

    spec = spec or KeypointSpec()
    if spec.kind not in KINDS:
        raise unknown_name("kind of keypoints", spec.kind, KINDS)
    grey = grey_uint8(image)
    size_hw = (grey.shape[0], grey.shape[1])
    allowed = _allowed(mask, size_hw, spec)
    longest = max(size_hw)
    working = 1.0
    if spec.size_limit and longest > spec.size_limit:
        working = spec.size_limit / longest
    elif longest < spec.enlarge_below:
        working = spec.enlarge_below / longest
    if working != 1.0:
        new_wh = tuple(max(round(side * working), 8) for side in (size_hw[1], size_hw[0]))
        how = cv2.INTER_AREA if working < 1 else cv2.INTER_CUBIC
        grey = np.asarray(cv2.resize(grey, new_wh, interpolation=how), np.uint8)
        if allowed is not None:
            smaller = cv2.resize(allowed, new_wh, interpolation=cv2.INTER_NEAREST)
            allowed = np.asarray(smaller, np.uint8)
    if spec.clahe > 0:
        grid = (spec.clahe_grid, spec.clahe_grid)
        equalise = cv2.createCLAHE(clipLimit=spec.clahe, tileGridSize=grid)
        grey = np.asarray(equalise.apply(grey), np.uint8)
    if spec.kind == "affnet_hardnet":
        if learned is None:
            raise TransectError(
                "affnet_hardnet needs weights that are not part of transect. Give the folder with "
                "affnet, orinet and hardnet files, or use kind='rootsift'."
            )
        found = learned(grey, allowed, spec.max_keypoints)
    else:
        found = _sift(grey, allowed, spec)
    points, descriptors, scales, angles, responses = found
    # OpenCV's centres of pixels lie at integers: scale about the corner of the picture.
    points = (points + 0.5) / np.float32(working) - 0.5
    return Keypoints(
        points=points.astype(np.float32),
        descriptors=descriptors,
        scales=(scales / np.float32(working)).astype(np.float32),
        angles=angles,
        responses=responses,
        size_hw=size_hw,
        working=working,
    )


def _allowed(
    mask: NDArray[np.generic] | None, size_hw: tuple[int, int], spec: KeypointSpec
) -> NDArray[np.uint8] | None:
    """Turn a mask into what OpenCV takes, or None if it is to be ignored."""
    if mask is None:
        return None
    if mask.shape[:2] != size_hw:
        raise TransectError(
            f"a mask of {mask.shape[:2]} pixels does not fit a picture of {size_hw}. Resize it to "
            "the picture's height and width."
        )
    inside = (np.asarray(mask) != 0).astype(np.uint8) * 255
    return inside if int((inside > 0).sum()) >= spec.min_mask else None


def _sift(
    grey: NDArray[np.uint8], allowed: NDArray[np.uint8] | None, spec: KeypointSpec
) -> tuple[NDArray[np.float32], ...]:
    """SIFT as (points, RootSIFT descriptors, scales, angles, responses), strongest first."""
    import cv2

    create: Any = cv2.SIFT_create  # type: ignore[attr-defined]
    sift = create(nfeatures=spec.max_keypoints, contrastThreshold=spec.contrast)
    keypoints, raw = sift.detectAndCompute(grey, allowed)
    if raw is None or not len(keypoints):
        none = np.zeros(0, np.float32)
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), none, none, none
    points = np.array([k.pt for k in keypoints], np.float32)
    table = np.array([(k.size, k.angle, k.response) for k in keypoints], np.float32)
    # A total order: response, then place and angle, so that ties do not depend on the library.
    order = np.lexsort((table[:, 1], points[:, 0], points[:, 1], -table[:, 2]))
    order = order[: spec.max_keypoints]
    table = table[order]
    return points[order], root_sift(raw[order]), table[:, 0], table[:, 1], table[:, 2]


def write_keypoints(path: Path, keypoints: Keypoints) -> None:
    """Write keypoints as a plain ``.npz`` of arrays; descriptors as bytes of their squares' roots.

    RootSIFT entries lie in [0, 1] and are kept as uint16 of 1/65535: the loss is below 1e-5.
    Learned descriptors (signed) are kept as float16.
    """
    descriptors: NDArray[np.generic]
    if len(keypoints) and float(keypoints.descriptors.min()) < 0:
        descriptors = keypoints.descriptors.astype(np.float16)
    else:
        descriptors = np.rint(keypoints.descriptors * 65535).astype(np.uint16)
    about = np.array([FORMAT, *keypoints.size_hw, keypoints.working], np.float64)
    with atomic_path(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            points=keypoints.points,
            descriptors=descriptors,
            scales=keypoints.scales,
            angles=keypoints.angles,
            responses=keypoints.responses,
            about=about,
        )


def read_keypoints(path: Path) -> Keypoints:
    """Read what ``write_keypoints`` wrote. Nothing in the file is executed.

    Raises:
        TransectError: If the file is missing, broken, or not of keypoints.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        descriptors = arrays["descriptors"]
        values = descriptors.astype(np.float32)
        if descriptors.dtype == np.uint16:
            values /= np.float32(65535)
        version, height, width, working = (float(v) for v in arrays["about"])
        keypoints = Keypoints(
            points=arrays["points"].astype(np.float32),
            descriptors=values,
            scales=arrays["scales"].astype(np.float32),
            angles=arrays["angles"].astype(np.float32),
            responses=arrays["responses"].astype(np.float32),
            size_hw=(int(height), int(width)),
            working=working,
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TransectError(
            f"{path} does not hold keypoints ({error}). Delete it; it will be made again."
        ) from error
    if version != FORMAT or len(keypoints.points) != len(keypoints.descriptors):
        raise TransectError(
            f"{path} holds keypoints of another version. Delete it; it will be made again."
        )
    return keypoints
