"""Where a picture lies on the ground, by its GeoTIFF tags; read without any other library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.images import geo_tags
from transect.errors import TransectError

__all__ = ["Ground", "ground_of", "reprojected"]


@dataclass(frozen=True)
class Ground:
    """Where a picture lies.

    Attributes:
        matrix: (2, 3): map x, y = matrix @ (column, row, 1), counted from the outer corner.
        epsg: The reference system's number, or None if the tags do not tell one.
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    epsg: int | None

    def to_map(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Our pixel positions (K, 2) as map coordinates (K, 2)."""
        matrix = np.array(self.matrix)
        return (points + 0.5) @ matrix[:, :2].T + matrix[:, 2]

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map coordinates (K, 2) as our pixel positions (K, 2)."""
        matrix = np.array(self.matrix)
        return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T - 0.5


def ground_of(path: Path) -> Ground | None:
    """Read where a picture lies from its GeoTIFF tags.

    Args:
        path: A picture.

    Returns:
        Its place, or None if it is no TIFF or has no such tags.

    Raises:
        TransectError: If the tags are broken.
    """
    with path.open("rb") as handle:
        if handle.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
    tags = {code: value for code, _, _, value, _ in geo_tags(path)}
    try:
        if 34264 in tags:
            m = [float(v) for v in tags[34264]]
            matrix = ((m[0], m[1], m[3]), (m[4], m[5], m[7]))
        elif 33550 in tags and 33922 in tags:
            scale, tie = tags[33550], tags[33922]
            sx, sy = float(scale[0]), -float(scale[1])
            x, y = float(tie[3]) - sx * float(tie[0]), float(tie[4]) - sy * float(tie[1])
            matrix = ((sx, 0.0, x), (0.0, sy, y))
        else:
            return None
        keys = [int(v) for v in tags.get(34735, ())]
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise TransectError(
            f"{path} has broken position tags. Export the GeoTIFF again."
        ) from error
    values = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4) if keys[i + 1] == 0}
    epsg = next((values[k] for k in (3072, 2048) if 0 < values.get(k, 0) < 32767), None)
    if values.get(1025) == 2:  # the tie point means the pixel's centre
        (a, b, c), (d, e, f) = matrix
        matrix = ((a, b, c - (a + b) / 2), (d, e, f - (d + e) / 2))
    (a, b, _), (d, e, _) = matrix
    if not all(math.isfinite(v) for row in matrix for v in row) or abs(a * e - b * d) < 1e-30:
        raise TransectError(f"{path} has position tags without extent. Export the GeoTIFF again.")
    return Ground(matrix, epsg)


def reprojected(
    points: NDArray[np.float64], source: int | None, target: int | None
) -> NDArray[np.float64]:
    """Map positions (K, 2) in another reference system; the same ones where that is the same."""
    if source is None or target is None or source == target:
        return points
    try:
        from rasterio.warp import transform
    except ImportError as error:
        raise TransectError(
            f"the features are in EPSG:{source} and the picture in EPSG:{target}. Install "
            "rasterio to reproject them: pip install transect[geo]."
        ) from error
    try:
        x, y = transform(
            f"EPSG:{source}", f"EPSG:{target}", points[:, 0].tolist(), points[:, 1].tolist()
        )
    except Exception as error:  # GDAL has errors of its own beside those of rasterio
        raise TransectError(
            f"coordinates cannot be moved from EPSG:{source} to EPSG:{target} "
            f"({str(error)[:80]}). Export them in the pictures' system."
        ) from error
    moved = np.stack([x, y], axis=1).astype(np.float64)
    if not np.isfinite(moved).all():
        raise TransectError(f"a feature lies outside the reach of EPSG:{target}. Remove it.")
    return moved
