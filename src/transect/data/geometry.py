"""How a picture becomes the network's input, and how a prediction finds its way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.filters import PLANES, clahe, remove_haze
from transect.recipe import Geometry
from transect.types import Image

__all__ = [
    "BORDERS",
    "CHANNELS",
    "NORMALISE",
    "Placement",
    "count_channels",
    "depth_range",
    "fit_labels",
    "fit_planes",
    "fit_whole",
    "input_channels",
    "match_channels",
    "placement_of",
    "reflect_pad",
    "unfit",
]

BORDERS = ("reflect", "edge", "zero", "inpaint")
CHANNELS = ("image", "grey", "depth", "row", "column", "row*image", "clahe", "dehazed", *PLANES)
NORMALISE = ("imagenet", "unit", "standardise", "survey", "raw")

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1], as timm and torchvision have them
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and OpenCV turn RGB to grey
INPAINTED = 0.7  # an inpainted border is foreground above this: salt 14th place


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in the network's input.

    Attributes:
        source_hw: Of the picture.
        content_hw: Of the picture after resizing.
        top: Rows of border above it.
        left: Columns of border to its left.
        size_hw: Of the network's input.
    """

    source_hw: tuple[int, int]
    content_hw: tuple[int, int]
    top: int
    left: int
    size_hw: tuple[int, int]


def placement_of(source_hw: tuple[int, int], geometry: Geometry) -> Placement:
    """Decide where a picture of some size goes: resized if asked, centred, the rest border.

    The odd pixel of border is below and to the right (101 in 128: 13 and 14, as the salt winners
    padded).

    Args:
        source_hw: Of the picture.
        geometry: With ``fit`` whole. Without ``resize_hw`` a picture that fits keeps its size,
            a larger one shrinks until it fits, height and width by the same factor.

    Returns:
        The placement.

    Raises:
        TransectError: If ``resize_hw`` is larger than ``size_hw``.

    Example:
        >>> place = placement_of((101, 101), Geometry(fit="whole", size_hw=(128, 128)))
        >>> place.top, place.left, place.content_hw
        (13, 13, (101, 101))
    """
    height, width = geometry.size_hw
    content = geometry.resize_hw
    if content is None:
        factor = min(height / source_hw[0], width / source_hw[1], 1.0)
        content = (
            min(max(round(source_hw[0] * factor), 1), height),
            min(max(round(source_hw[1] * factor), 1), width),
        )
    if content[0] > height or content[1] > width:
        raise TransectError(
            f"geometry.resize_hw {tuple(content)} is larger than geometry.size_hw "
            f"{(height, width)}. Make size_hw at least as large."
        )
    top, left = (height - content[0]) // 2, (width - content[1]) // 2
    return Placement(source_hw, (content[0], content[1]), top, left, (height, width))


def fit_whole(image: NDArray[Any], geometry: Geometry) -> tuple[NDArray[Any], Placement]:
    """Bring a whole picture to the network's size.

    Args:
        image: (H, W, C).
        geometry: ``size_hw``, ``resize_hw`` and ``border`` are used.

    Returns:
        The picture, (h, w, C) of the same type, and its placement. Enlarging is bilinear,
        shrinking averages areas.

    Raises:
        TransectError: On an unknown border, or sizes that contradict each other.
    """
    placement = placement_of((image.shape[0], image.shape[1]), geometry)
    return fit_planes(image, placement, border=geometry.border), placement


def fit_planes(
    planes: NDArray[Any], placement: Placement, *, border: str = "reflect"
) -> NDArray[Any]:
    """Resize and pad further planes (soft targets, predicted masks) as their picture was.

    Args:
        planes: (H, W, T), uint8, uint16 or float32.
        placement: From ``fit_whole``.
        border: reflect (the edge pixel not repeated), edge, zero, or inpaint (biharmonic, slow:
            about a second a picture, so do it once).

    Returns:
        (h, w, T) of the same type.
    """
    content = _resized(planes, placement.content_hw)
    return _padded(content, placement, border)


def fit_labels(
    labels: NDArray[np.integer], placement: Placement, *, border: str = "reflect"
) -> NDArray[np.integer]:
    """Resize and pad labels as their picture was, to the nearest.

    Args:
        labels: (H, W).
        placement: From ``fit_whole``.
        border: As for the picture. Inpainted borders of labels 0 and 1 are 1 above 0.7; other
            labels continue their edge.

    Returns:
        (h, w) of the same type.
    """
    height, width = placement.content_hw
    # The pixel whose area holds the centre of the new pixel: half-pixel centres, as for pictures.
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(np.intp)
    content = labels[rows[:, None], columns[None, :]][..., None]
    if border == "inpaint":
        if labels.min(initial=0) < 0 or labels.max(initial=0) > 1:
            border = "edge"
        else:
            soft = _padded(content.astype(np.float32), placement, border)
            return (soft[..., 0] > INPAINTED).astype(labels.dtype)
    return _padded(content, placement, border)[..., 0]


def unfit(predicted: NDArray[Any], placement: Placement) -> NDArray[Any]:
    """Take a prediction back to the pixels of its picture.

    Args:
        predicted: (T, h, w) at the network's size.
        placement: From ``fit_whole``.

    Returns:
        (T, H, W). Padding is cut off exactly; if the picture was resized, the inverse is
        bilinear in float32.
    """
    height, width = placement.content_hw
    top, left = placement.top, placement.left
    content = predicted[:, top : top + height, left : left + width]
    if placement.content_hw == placement.source_hw:
        return np.ascontiguousarray(content)
    moved = np.moveaxis(content, 0, 2).astype(np.float32, copy=False)
    return np.ascontiguousarray(np.moveaxis(_resized(moved, placement.source_hw), 2, 0))


def reflect_pad(
    array: NDArray[Any], size_hw: tuple[int, int]
) -> tuple[NDArray[Any], tuple[int, int]]:
    """Pad a picture that is smaller than a tile to at least the tile's size, centred.

    Args:
        array: (H, W) or (H, W, C).
        size_hw: Least size of the result.

    Returns:
        The array, padded by reflection, and (top, left), the border added before it.

    Example:
        >>> reflect_pad(np.array([[1, 2, 3]]), (1, 6))
        (array([[2, 1, 2, 3, 2, 1]]), (0, 1))
    """
    extra = [max(want - have, 0) for want, have in zip(size_hw, array.shape[:2], strict=True)]
    if not any(extra):
        return array, (0, 0)
    pads = [(e // 2, e - e // 2) for e in extra] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, pads, mode="reflect"), (pads[0][0], pads[1][0])


def match_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Give a picture the number of channels that a survey's network expects.

    Grey becomes RGB by repetition, RGB becomes grey by luma; other channels are never dropped.

    Args:
        image: (H, W, C).
        channels: Wanted.

    Returns:
        (H, W, channels) of the same type.

    Raises:
        TransectError: If there is no sensible way.

    Example:
        >>> match_channels(np.full((1, 1, 3), 7, np.uint8), 1).tolist()
        [[[7]]]
    """
    have = image.shape[2]
    if have == channels:
        return image
    if have == 1 and channels == 3:
        return np.repeat(image, 3, axis=2)
    if have == 3 and channels == 1:
        grey = image.astype(np.float32) @ np.array(LUMA, np.float32)
        grey = np.rint(grey) if image.dtype.kind == "u" else grey
        return grey.astype(image.dtype)[..., None]
    raise TransectError(
        f"a picture has {have} channels and the survey's network takes {channels}. Give all "
        "pictures of a survey the same channels."
    )


def depth_range(images: Iterable[Image]) -> tuple[float, float] | None:
    """The least and the greatest depth, to be taken over training and test pictures together.

    Args:
        images: All of them: a range per fold would mean something else in each.

    Returns:
        (least, greatest), or None if no picture has a depth.
    """
    depths = [image.depth for image in images if image.depth is not None]
    return (min(depths), max(depths)) if depths else None


def count_channels(geometry: Geometry, image_channels: int) -> int:
    """How many channels ``input_channels`` will give.

    Example:
        >>> count_channels(Geometry(channels=("image", "row", "depth")), 3)
        5
    """
    return sum(image_channels if _is_picture(name) else 1 for name in geometry.channels)


def input_channels(
    image: NDArray[Any],
    geometry: Geometry,
    *,
    depth: float | None = None,
    depth_range: tuple[float, float] | None = None,
    statistics: tuple[Sequence[float], Sequence[float]] | None = None,
    masks: Mapping[str, NDArray[Any]] | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> NDArray[np.float32]:
    """Stack and normalise what the network sees.

    Args:
        image: (H, W, C) uint8, uint16 or float32, already fitted or cut.
        geometry: ``channels`` and ``normalise`` are used.
        depth: Of the picture, for the channel ``depth``; unknown depths get 0.5.
        depth_range: From ``depth_range``.
        statistics: Mean and deviation per channel in pixel values, for ``survey``.
        masks: Predicted masks in [0, 1], (H, W), by the name after ``mask:``.
        window: (top, left, full height, full width): where the image is a tile of a larger one,
            so that row and column are positions in the whole.

    Returns:
        (H, W, channels) float32. ``image`` and ``grey`` are normalised; ``row`` and ``column`` run
        from 0 to 1; ``row*image`` is the row times the normalised grey picture (salt 1st place);
        ``depth`` is (depth - least) / (greatest - least); ``clahe`` and ``dehazed`` are the picture
        equalised (``clahe:32`` in tiles of 32 pixels) and without haze, normalised as it is; names
        of ``filters.PLANES`` are planes in [0, 1] of the grey picture, or of the tile that is seen.

    Raises:
        TransectError: On an unknown channel or way to normalise, or if what one needs is missing.
    """
    height, width = image.shape[:2]
    out = np.empty((height, width, count_channels(geometry, image.shape[2])), np.float32)
    top, left, full_height, full_width = window or (0, 0, height, width)
    rows = ((np.arange(height) + top) / max(full_height - 1, 1)).astype(np.float32)[:, None]
    columns = ((np.arange(width) + left) / max(full_width - 1, 1)).astype(np.float32)[None, :]
    grey: NDArray[Any] | None = None
    at = 0
    for name in geometry.channels:
        if (name in ("grey", "row*image") or name in PLANES) and grey is None:
            grey = match_channels(image, 1) if image.shape[2] in (1, 3) else _mean_channel(image)
        if _is_picture(name):
            part = _normalised(_filtered(image, name), geometry.normalise, statistics)
            out[..., at : at + image.shape[2]] = part
            at += image.shape[2]
            continue
        if name in ("grey", "row*image"):
            assert grey is not None
            plane = _normalised(grey, geometry.normalise, _grey_statistics(statistics))[..., 0]
            out[..., at] = plane * rows if name == "row*image" else plane
        elif name in PLANES:
            assert grey is not None
            out[..., at] = PLANES[name](grey[..., 0])
        elif name == "row":
            out[..., at] = rows
        elif name == "column":
            out[..., at] = columns
        elif name == "depth":
            out[..., at] = _relative(depth, depth_range)
        elif name.startswith("mask:"):
            out[..., at] = _mask(masks, name.removeprefix("mask:"), (height, width))
        else:
            raise unknown_name("a channel of geometry.channels", name, (*CHANNELS, "mask:NAME"))
        at += 1
    return out


def _is_picture(name: str) -> bool:
    """Whether a channel is the picture, as it is or filtered, with all its channels."""
    return name in ("image", "dehazed") or name.partition(":")[0] == "clahe"


def _filtered(image: NDArray[Any], name: str) -> NDArray[Any]:
    """The picture that a channel asks for."""
    if name == "image":
        return image
    if name == "dehazed":
        return remove_haze(image)
    _, _, kernel = name.partition(":")
    if kernel and not kernel.isdigit():
        raise TransectError(
            f"a channel of geometry.channels is {name!r}. Write clahe, or clahe:PIXELS with the "
            "side of its tiles, e.g. clahe:32."
        )
    return clahe(image, kernel_px=int(kernel) if kernel else None)


def _normalised(
    image: NDArray[Any],
    mode: str,
    statistics: tuple[Sequence[float], Sequence[float]] | None,
) -> NDArray[np.float32]:
    """Normalise pixels: one multiplication and one addition each."""
    full = 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)
    channels = image.shape[2]
    if mode == "raw":
        return image.astype(np.float32)
    if mode == "unit":
        mean, deviation = np.zeros(channels), np.full(channels, full)
    elif mode == "imagenet":
        rgb = channels == 3
        mean = full * np.array(IMAGENET_MEAN if rgb else [np.mean(IMAGENET_MEAN)] * channels)
        deviation = full * np.array(IMAGENET_STD if rgb else [np.mean(IMAGENET_STD)] * channels)
    elif mode == "standardise":
        pixels = image.reshape(-1, channels).astype(np.float64)
        # One mean and deviation for all channels: colours stay colours.
        mean, deviation = np.full(channels, pixels.mean()), np.full(channels, pixels.std())
    elif mode == "survey":
        if statistics is None or len(statistics[0]) != channels:
            raise TransectError(
                "geometry.normalise 'survey' needs the survey's mean and deviation of "
                f"{channels} channels. Choose another, or train the run again."
            )
        mean, deviation = np.array(statistics[0], float), np.array(statistics[1], float)
    else:
        raise unknown_name("geometry.normalise", mode, NORMALISE)
    factor = 1 / np.where(deviation > 0, deviation, 1.0)  # a flat picture becomes 0
    scaled = image.astype(np.float32)
    scaled *= factor.astype(np.float32)
    scaled -= (mean * factor).astype(np.float32)
    return scaled


def _grey_statistics(
    statistics: tuple[Sequence[float], Sequence[float]] | None,
) -> tuple[Sequence[float], Sequence[float]] | None:
    """Mean and deviation of the grey picture, from those of its channels."""
    if statistics is None:
        return None
    channels = len(statistics[0])
    weights = LUMA if channels == 3 else (1.0,) * channels  # bands that are no colours count alike
    mean, deviation = (np.average(np.asarray(part, float), weights=weights) for part in statistics)
    return [float(mean)], [float(deviation)]


def _mean_channel(image: NDArray[Any]) -> NDArray[Any]:
    """The mean of many bands, where luma has no meaning: (H, W, 1) of the same type."""
    mean = image.mean(axis=2, dtype=np.float64, keepdims=True)
    return (np.rint(mean) if image.dtype.kind == "u" else mean).astype(image.dtype)


def _relative(depth: float | None, bounds: tuple[float, float] | None) -> float:
    """A depth within its range."""
    if bounds is None:
        raise TransectError(
            "geometry.channels has 'depth', and no picture has one. Add the column depth to "
            "images.csv, or leave the channel out."
        )
    low, high = bounds
    if depth is None or high <= low:
        return 0.5
    return (depth - low) / (high - low)


def _mask(
    masks: Mapping[str, NDArray[Any]] | None, name: str, size_hw: tuple[int, int]
) -> NDArray[Any]:
    """The predicted mask that a channel asks for."""
    if not masks or name not in masks:
        raise unknown_name("the run after mask: in geometry.channels", name, masks or ())
    if masks[name].shape != size_hw:
        raise TransectError(
            f"the mask of {name} is {masks[name].shape} and its picture {size_hw}. Predict the "
            "same pictures with that run."
        )
    return masks[name]


def _resized(planes: NDArray[Any], size_hw: tuple[int, int]) -> NDArray[Any]:
    """Resize (H, W, C), bilinear when enlarging, by areas when shrinking."""
    if planes.shape[:2] == tuple(size_hw):
        return planes
    import cv2

    smaller = size_hw[0] < planes.shape[0] or size_hw[1] < planes.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    # OpenCV takes up to four channels at a time in every mode and type.
    parts = [
        cv2.resize(
            np.ascontiguousarray(planes[..., i : i + 4]),
            (size_hw[1], size_hw[0]),
            interpolation=how,
        ).reshape(*size_hw, -1)
        for i in range(0, planes.shape[2], 4)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _padded(content: NDArray[Any], placement: Placement, border: str) -> NDArray[Any]:
    """Pad (h, w, C) to the network's size."""
    if border not in BORDERS:
        raise unknown_name("geometry.border", border, BORDERS)
    height, width = content.shape[:2]
    bottom = placement.size_hw[0] - height - placement.top
    right = placement.size_hw[1] - width - placement.left
    pads = ((placement.top, bottom), (placement.left, right), (0, 0))
    if not any(sum(pad) for pad in pads):
        return np.ascontiguousarray(content)
    if border == "reflect":
        return np.pad(content, pads, mode="reflect")
    if border == "edge":
        return np.pad(content, pads, mode="edge")
    canvas = np.pad(content, pads)
    return canvas if border == "zero" else _inpainted(canvas, placement)


def _inpainted(canvas: NDArray[Any], placement: Placement) -> NDArray[Any]:
    """Continue a picture smoothly into its border (biharmonic equation)."""
    from skimage.restoration import inpaint_biharmonic

    unknown = np.ones(canvas.shape[:2], bool)
    height, width = placement.content_hw
    unknown[placement.top : placement.top + height, placement.left : placement.left + width] = False
    full = 1.0 if canvas.dtype.kind == "f" else float(np.iinfo(canvas.dtype).max)
    known = canvas[~unknown]
    filled = inpaint_biharmonic(canvas / full, unknown, channel_axis=2) * full
    filled = np.clip(filled, known.min(), known.max())  # it can overshoot
    filled = np.rint(filled) if canvas.dtype.kind == "u" else filled
    out: NDArray[Any] = filled.astype(canvas.dtype)
    out[~unknown] = known
    return out
