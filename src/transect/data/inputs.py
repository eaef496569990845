"""From a survey's pixels to a network's input, the same in training and on new pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.geometry import count_channels, depth_range, input_channels, match_channels
from transect.recipe import Geometry
from transect.types import Image

__all__ = ["Inputs", "mask_names", "picture_channels", "suited_normalisation"]


@dataclass(frozen=True)
class Inputs:
    """What must be known of a survey to prepare one of its pictures, or a new one.

    Attributes:
        geometry: Channels and normalisation.
        channels: Of the pictures, after grey is repeated where colour pictures are among them.
        depths: Least and greatest depth over training and test pictures, or None.
        statistics: Mean and deviation per channel over the training pictures, or None.
    """

    geometry: Geometry
    channels: int
    depths: tuple[float, float] | None = None
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @staticmethod
    def of(
        images: Sequence[Image],
        geometry: Geometry,
        statistics: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> Inputs:
        """Take them from a survey's pictures, test pictures included."""
        fixed = (tuple(statistics[0]), tuple(statistics[1])) if statistics else None
        return Inputs(geometry, picture_channels(images), depth_range(images), fixed)

    @property
    def network_channels(self) -> int:
        """Channels of the network's input."""
        return count_channels(self.geometry, self.channels)

    def prepare(
        self,
        pixels: NDArray[Any],
        image: Image,
        window: tuple[int, int, int, int] | None = None,
        masks: NDArray[Any] | None = None,
    ) -> NDArray[np.float32]:
        """Stack and normalise a picture or a window of it.

        Args:
            pixels: (h, w, C) as stored.
            image: What the table says of the picture.
            window: (top, left, height, width) in the picture, if it is a part.
            masks: (h, w, M) predicted masks for the channels ``mask:NAME``, in their order;
                whole numbers are divided by the largest of their type.

        Returns:
            (h, w, ``network_channels``) float32.
        """
        place = (window[0], window[1], *image.size_hw) if window else None
        return input_channels(
            match_channels(pixels, self.channels),
            self.geometry,
            depth=image.depth,
            depth_range=self.depths,
            statistics=self.statistics,
            masks=None if masks is None else self._by_name(masks),
            window=place,
        )

    def _by_name(self, masks: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Planes in [0, 1] by the name that the channels ask for."""
        full = 1.0 if masks.dtype.kind == "f" else float(np.iinfo(masks.dtype).max)
        soft = masks.astype(np.float32) / np.float32(full)
        return {name: soft[..., i] for i, name in enumerate(mask_names(self.geometry))}

    def to_json(self) -> dict[str, Any]:
        """The part that is not in the recipe."""
        return {
            "channels": self.channels,
            "depths": list(self.depths) if self.depths else None,
            "statistics": [list(part) for part in self.statistics] if self.statistics else None,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any], geometry: Geometry) -> Inputs:
        """Read back what ``to_json`` gave."""
        depths, statistics = value["depths"], value["statistics"]
        return Inputs(
            geometry,
            int(value["channels"]),
            (float(depths[0]), float(depths[1])) if depths else None,
            (tuple(statistics[0]), tuple(statistics[1])) if statistics else None,
        )


def mask_names(geometry: Geometry) -> tuple[str, ...]:
    """The members whose predicted masks are channels.

    Example:
        >>> mask_names(Geometry(channels=("image", "mask:first")))
        ('first',)
    """
    return tuple(
        name.removeprefix("mask:") for name in geometry.channels if name.startswith("mask:")
    )


def picture_channels(images: Sequence[Image]) -> int:
    """Channels that suit most of the pictures: 3 if any has colour, 1 if all are grey.

    Example:
        >>> from pathlib import Path
        >>> grey, colour = (Image("a.png", Path("a.png"), (1, 1), c) for c in (1, 3))
        >>> picture_channels([grey, grey]), picture_channels([grey, colour])
        (1, 3)
    """
    found = Counter(image.channels for image in images)
    if set(found) <= {1, 3}:
        return max(found)
    return found.most_common(1)[0][0]


def suited_normalisation(images: Sequence[Image]) -> str:
    """How to normalise pictures for a pretrained network: as it was trained, if they are like that.

    Values of 16-bit and float pictures rarely fill their type, and further channels are no
    colours, so the survey's own mean and deviation are taken for these.

    Args:
        images: The pictures that will be trained on.

    Returns:
        A value of ``Geometry.normalise``: imagenet or survey.

    Example:
        >>> from pathlib import Path
        >>> photo, scan = (Image("a", Path("a"), (1, 1), 1, kind) for kind in ("uint8", "uint16"))
        >>> suited_normalisation([photo]), suited_normalisation([photo, scan])
        ('imagenet', 'survey')
    """
    usual = all(image.dtype == "uint8" and image.channels in (1, 3) for image in images)
    return "imagenet" if usual else "survey"
