"""DICOM: slices to arrays in Hounsfield units, volumes of one spacing, and PNG (``[volume]``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Annotations, Builder, Pictures
from transect.data.formats.head import Head
from transect.data.png import write_png
from transect.data.rle import MASK_LIMIT_PX
from transect.errors import TransectError
from transect.files import safe_join
from transect.types import Problem

__all__ = [
    "NAME",
    "WINDOWS",
    "Slice",
    "Volume",
    "matches",
    "read",
    "read_slice",
    "read_volumes",
    "resample",
    "windowed",
    "write_pictures",
]

NAME = "dicom"
WINDOWS = {
    "soft": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
}
"""Customary windows of CT: centre and width in Hounsfield units."""
_VOLUME_LIMIT = 2_000_000_000  # voxels


@dataclass(frozen=True, eq=False)
class Slice:
    """One picture of a DICOM file.

    Attributes:
        pixels: (H, W) float32, rescaled (Hounsfield units for CT).
        spacing_mm: Millimetres per pixel down and across, or None.
        position_mm: Along the normal of the slices, or None.
        series: The series it belongs to.
        number: Its number in the series.
    """

    pixels: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None
    position_mm: float | None
    series: str
    number: int


@dataclass(frozen=True, eq=False)
class Volume:
    """The slices of one series, in order.

    Attributes:
        voxels: (D, H, W) float32.
        spacing_mm: Millimetres between voxels: depth, down, across.
        series: Its identifier.
        names: The files.
    """

    voxels: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    series: str
    names: tuple[str, ...]


def matches(head: Head) -> bool:
    """Whether a file, or the first file of a folder without other pictures, is DICOM."""
    if head.is_dir:
        first = next((p for p in sorted(head.path.rglob("*")) if p.is_file()), None)
        return first is not None and matches(Head(first))
    return head.start[128:132] == b"DICM"


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """List the slices below a folder as pictures without annotation, grouped by series.

    Args:
        path: A folder, or one file.
        pictures: Not needed.

    Returns:
        One picture per slice, named ``<file>.png`` as ``write_pictures`` will call it.

    Raises:
        TransectError: If there is no slice, or pydicom is missing.
    """
    builder = Builder(None)
    for name, found in _slices(path, builder.problems):
        position = "" if found.position_mm is None else f"{found.position_mm:g}"
        scale = "" if found.spacing_mm is None else f"{found.spacing_mm[0]:g}"
        builder.picture(
            f"{name}.png", _size(found.pixels), group=found.series, depth=position, scale=scale
        )
    return builder.done()


def read_slice(path: Path) -> Slice:
    """Read one DICOM file.

    Stored numbers become slope * number + intercept: Hounsfield units for CT.

    Args:
        path: The file; the pixels may be uncompressed, RLE or what pydicom's plugins decode.

    Returns:
        The slice.

    Raises:
        TransectError: If it is no DICOM, has no picture or several, or is larger than 400
            million pixels; or pydicom is missing.
    """
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise TransectError(
            f"{path} is DICOM, and pydicom reads it. Install it: pip install transect[volume]."
        ) from error
    import warnings

    try:
        # A stranger's odd values are judged below; pydicom would warn of each.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data: Any = pydicom.dcmread(path)
            rows, columns = int(data.Rows), int(data.Columns)
            frames, samples = int(data.get("NumberOfFrames", 1) or 1), int(data.SamplesPerPixel)
            if not 0 < rows * columns <= MASK_LIMIT_PX or frames != 1 or samples != 1:
                raise TransectError(
                    f"{path} has {frames} frames of {rows} x {columns} pixels with {samples} "
                    "channels, and one grey picture is needed. Split it."
                )
            stored = np.asarray(data.pixel_array)
            slope, intercept = data.get("RescaleSlope", 1), data.get("RescaleIntercept", 0)
            pixels = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
            spacing = data.get("PixelSpacing")
            series = str(data.get("SeriesInstanceUID", "series"))
            number = int(data.get("InstanceNumber") or 0)
            position = _position(data)
            down_across = None if spacing is None else (float(spacing[0]), float(spacing[1]))
    except TransectError:
        raise
    except InvalidDicomError as error:
        raise TransectError(f"{path} is not DICOM. Remove it from the folder.") from error
    except Exception as error:  # a parser of strangers' files may raise anything
        raise TransectError(
            f"{path} cannot be decoded as DICOM ({str(error)[:100]}). Export it again."
        ) from error
    if down_across is not None and not all(0 < v < 1000 for v in down_across):
        raise TransectError(f"{path} has the pixel spacing {down_across}. Correct the header.")
    if pixels.shape != (rows, columns) or not np.isfinite(pixels).all():
        raise TransectError(f"{path} has pixels unlike its header. Export it again.")
    return Slice(pixels, down_across, position, series, number)


def read_volumes(path: Path) -> tuple[list[Volume], list[Problem]]:
    """Read all series below a folder as volumes.

    Args:
        path: The folder.

    Returns:
        One volume per series, slices sorted by position (else by number); and what was left out.

    Raises:
        TransectError: If nothing can be read.
    """
    problems: list[Problem] = []
    series: dict[str, list[tuple[str, Slice]]] = {}
    for name, found in _slices(path, problems):
        series.setdefault(found.series, []).append((name, found))
        total = sum(s.pixels.size for _, s in series[found.series])
        if total > _VOLUME_LIMIT:
            raise TransectError(
                f"series {found.series} has more than 2000 million voxels. Split it."
            )
    volumes = []
    for key, members in series.items():
        sizes = {_size(s.pixels) for _, s in members}
        spacings = {s.spacing_mm for _, s in members}
        if len(sizes) > 1 or len(spacings) > 1:
            problems.append(Problem(key, f"series {key} mixes sizes {sorted(sizes)}; left out."))
            continue
        placed = all(s.position_mm is not None for _, s in members)
        members.sort(key=lambda m: (m[1].position_mm if placed else m[1].number, m[0]))
        gaps = np.diff([s.position_mm for _, s in members]) if placed else np.ones(1)
        between = float(np.median(gaps)) if len(gaps) else 1.0
        if placed and len(gaps) and (between <= 0 or np.abs(gaps - between).max() > 0.1 * between):
            problems.append(
                Problem(key, f"series {key} lacks slices or has some twice; it is used as it is.")
            )
        down, across = next(iter(spacings)) or (1.0, 1.0)
        voxels = np.stack([s.pixels for _, s in members])
        names = tuple(name for name, _ in members)
        volumes.append(Volume(voxels, (between or 1.0, down, across), key, names))
    return volumes, problems


def resample(volume: Volume, spacing_mm: tuple[float, float, float]) -> Volume:
    """Bring a volume to another spacing by linear interpolation.

    Args:
        volume: Any volume.
        spacing_mm: Wanted millimetres between voxels: depth, down, across.

    Returns:
        The volume; its outer size stays the same to within half a voxel.

    Raises:
        TransectError: If the result would have more than 2000 million voxels.
    """
    from scipy.ndimage import zoom

    factors = np.array(volume.spacing_mm) / np.array(spacing_mm, np.float64)
    shape = np.maximum(np.rint(np.array(volume.voxels.shape) * factors), 1)
    if not np.isfinite(shape).all() or np.prod(shape) > _VOLUME_LIMIT:
        raise TransectError(f"a spacing of {spacing_mm} mm would give {shape} voxels. Widen it.")
    exact = shape / np.array(volume.voxels.shape)
    voxels = zoom(volume.voxels, exact, order=1, mode="nearest", grid_mode=True)
    real = tuple((np.array(volume.spacing_mm) / exact).tolist())
    return Volume(voxels.astype(np.float32), real, volume.series, volume.names)


def windowed(pixels: NDArray[np.float32], centre: float, width: float) -> NDArray[np.uint8]:
    """Show a range of Hounsfield units as 8-bit grey.

    Args:
        pixels: Any shape.
        centre: Shown as mid-grey.
        width: From black to white; above 0.

    Returns:
        uint8 of the same shape.

    Example:
        >>> windowed(np.array([-160.0, 40.0, 240.0], np.float32), 40, 400)
        array([  0, 128, 255], dtype=uint8)
    """
    share = (pixels - (centre - width / 2)) / width
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def write_pictures(
    path: Path, folder: Path, *, window: tuple[float, float] | None = None
) -> tuple[list[Path], list[Problem]]:
    """Write every slice below a folder as a PNG.

    Args:
        path: The DICOM folder or file.
        folder: Where to write, with the same names plus ``.png``.
        window: Centre and width for 8-bit pictures; None writes 16-bit ones that hold the
            rescaled values plus 1024 (Hounsfield units from -1024 up).

    Returns:
        The files written, and what was left out.
    """
    problems: list[Problem] = []
    written = []
    for name, found in _slices(path, problems):
        target = safe_join(folder, f"{name}.png")
        pixels: NDArray[Any]
        if window is None:
            pixels = np.rint(np.clip(found.pixels + 1024, 0, 65535)).astype(np.uint16)
        else:
            pixels = windowed(found.pixels, *window)
        write_png(target, pixels)
        written.append(target)
    return written, problems


def _slices(path: Path, problems: list[Problem]) -> Iterator[tuple[str, Slice]]:
    """The slices below a folder with their names; what is none is noted."""
    inside = path.resolve()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    count = 0
    for file in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        if file.name.startswith(".") or file.name == "DICOMDIR":
            continue
        if not file.resolve().is_relative_to(inside):
            problems.append(
                Problem(name, f"{name} is a link out of {path}. Copy the file instead.")
            )
            continue
        try:
            yield name, read_slice(file)
            count += 1
        except TransectError as error:
            if "pip install" in str(error):
                raise
            problems.append(Problem(name, str(error)))
    if not count:
        first = f" ({problems[0].what})" if problems else ""
        raise TransectError(f"{path} has no DICOM slice that can be read{first}.")


def _position(data: Any) -> float | None:
    """How far along the slices' normal a slice lies."""
    place, axes = data.get("ImagePositionPatient"), data.get("ImageOrientationPatient")
    if place is None or axes is None:
        location = data.get("SliceLocation")
        return None if location is None else float(location)
    vectors = np.array([float(v) for v in axes]).reshape(2, 3)
    return float(np.cross(vectors[0], vectors[1]) @ np.array([float(v) for v in place]))


def _size(pixels: NDArray[np.float32]) -> tuple[int, int]:
    """(height, width)."""
    return pixels.shape[0], pixels.shape[1]
