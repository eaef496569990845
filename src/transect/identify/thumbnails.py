"""Small pictures of a run's photos, kept in the run, so that its pages need no survey beside it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.files import atomic_path
from transect.identify.photos import Photos
from transect.report.pictures import shown

__all__ = ["Album", "boxed"]

LONGEST = 256  # pixels of the longer side
QUALITY = 85  # of the JPEG


@dataclass(frozen=True)
class Album:
    """Pictures by the key of the animal on them.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def path(self, key: str) -> Path:
        """The file of one animal; any name will do for a key."""
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        return self.folder / name[:2] / f"{name}.jpg"

    def keep(self, photos: Photos) -> None:
        """Keep a picture of every animal that has none yet."""
        for i, subject in enumerate(photos.subjects):
            path = self.path(subject.key)
            if path.is_file():
                continue
            picture = shown(boxed(photos, i))
            factor = min(1.0, LONGEST / max(picture.shape[:2]))
            size = tuple(max(1, round(side * factor)) for side in picture.shape[1::-1])
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            with atomic_path(path) as temporary:
                done, data = cv2.imencode(
                    ".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
                )
                assert done
                temporary.write_bytes(data.tobytes())

    def __call__(self, key: str) -> NDArray[np.uint8] | None:
        """(h, w, 3) RGB, or None if there is none, or its file is spoiled."""
        path = self.path(key)
        if not path.is_file():
            return None
        found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        return None if found is None else np.ascontiguousarray(found[..., ::-1], np.uint8)


def boxed(photos: Photos, i: int) -> NDArray[Any]:
    """The animal's box alone, without the surroundings that its cut-out has."""
    top, left, height, width = photos.window(i)
    pixels = photos.pixels(i)
    rows = slice(max(0, int(top)), max(1, min(len(pixels), int(np.ceil(top + height)))))
    columns = slice(max(0, int(left)), max(1, min(pixels.shape[1], int(np.ceil(left + width)))))
    return pixels[rows, columns]
