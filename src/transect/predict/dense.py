"""A trained member of a dense recipe, asked for the maps of a picture of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from transect.data.geometry import Placement, fit_planes, fit_whole, unfit
from transect.data.inputs import Inputs
from transect.data.tiff import ArrayReader, Reader
from transect.errors import TransectError
from transect.predict.forward import both_forward, image_forward, network_forward
from transect.predict.mask_channels import MaskChannelReader, foreground, with_masks
from transect.predict.tiling import Band, predict_bands, predict_many, predict_whole
from transect.recipe import Member, Network, Recipe
from transect.types import Image

__all__ = ["DenseMember", "batch_of", "load_weights"]

_BATCH_PX = {"cpu": 2**18, "cuda": 2**22}  # of a batch: 16 windows of 128 px, 64 of 256; our choice
_MOST = 64


def load_weights(model: nn.Module, path: Path) -> None:
    """Put a snapshot's weights into a model.

    Raises:
        TransectError: If the file is missing, damaged, or of another network.
    """
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise TransectError(f"{path} is missing. Restore it, or train again.") from error
    except Exception as error:  # torch and safetensors raise several unrelated kinds here
        raise TransectError(
            f"{path} does not hold the weights of this recipe's network "
            f"({str(error).splitlines()[0][:120]}). Restore it, or train again."
        ) from error


def batch_of(size_hw: tuple[int, int], device: str) -> int:
    """How many windows a network looks at at once.

    Small batches pay for every layer's call, large ones for memory that no cache holds.

    Example:
        >>> batch_of((128, 128), "cpu"), batch_of((256, 256), "cpu"), batch_of((1024, 1024), "cpu")
        (16, 4, 1)
    """
    most = _BATCH_PX["cpu" if device == "cpu" else "cuda"]
    return max(1, min(_MOST, most // (size_hw[0] * size_hw[1])))


class DenseMember:
    """One member of a recipe with the snapshots of one or more folds, ready to predict.

    The answer is the mean over views of the mean over snapshots, in probabilities.
    """

    def __init__(
        self,
        recipe: Recipe,
        member: Member,
        snapshots: Sequence[tuple[Path, float]],
        *,
        build: Callable[[], nn.Module],
        inputs: Inputs,
        outputs: int,
        activation: str,
        device: str,
        views: Sequence[str] | None = None,
        channel_members: Sequence[DenseMember] = (),
    ) -> None:
        """Load the snapshots.

        Args:
            recipe: Views and their mean.
            member: Geometry and network.
            snapshots: Weight files with their shares.
            build: Makes the network; pretrained weights are not needed.
            inputs: From pixels to the network's input.
            outputs: Planes of the network (T).
            activation: sigmoid, softmax or none.
            device: Where.
            views: Instead of the recipe's.
            channel_members: The members whose predicted masks are channels, in the channels' order.

        Raises:
            TransectError: If a weight file is missing or of another network.
        """
        self._geometry = member.geometry
        self._inputs = inputs
        self._outputs = outputs
        self._channel_members = tuple(channel_members)
        self._exclusive = activation == "softmax"
        models = []
        for path, weight in snapshots:
            model = build()
            load_weights(model, path)
            models.append((model, weight))
        asked: dict[str, Any] = {
            "device": device,
            "activation": activation,
            "views": tuple(views) if views is not None else recipe.views,
            "view_mean": recipe.view_mean,
        }
        self._forward = network_forward(models, **asked)
        self._filled = self._both = None
        whole = self._geometry.fit == "whole"
        if whole and isinstance(member.network, Network) and member.network.image_head:
            self._filled = image_forward(models, device=device)
            self._both = both_forward(models, **asked)
        self._batch = batch_of(self._geometry.size_hw, device)

    @property
    def has_image_head(self) -> bool:
        """Whether ``filled`` says anything."""
        return self._filled is not None

    def maps(self, pixels: NDArray[Any], image: Image) -> NDArray[np.float32]:
        """Probabilities of one picture in memory: (T, H, W) float32."""
        (masks,) = self._masks_of([pixels], [image])
        if self._geometry.fit == "whole":
            return self._whole(pixels, image, masks)
        both = pixels if masks is None else with_masks(pixels, masks)
        return predict_whole(self._forward, ArrayReader(both), **self._tiling(image))

    def maps_of(
        self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]
    ) -> list[NDArray[np.float32]]:
        """Probabilities of several pictures, batch by batch: (T, H, W) float32 of each."""
        return self.answers_of(pixels, images)[0]

    def answers_of(
        self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]
    ) -> tuple[list[NDArray[np.float32]], list[float]]:
        """``maps`` and ``filled`` of several pictures, in one pass of full batches.

        Args:
            pixels: Pictures in memory.
            images: What the table says of each.

        Returns:
            (T, H, W) float32 of each, and the probability that it holds any object.
        """
        if self._geometry.fit != "whole":
            return self._tiled(pixels, images), [1.0] * len(pixels)
        found: list[NDArray[np.float32]] = []
        filled: list[float] = []
        for start in range(0, len(pixels), self._batch):
            part = slice(start, start + self._batch)
            fitted = self._all_fitted(pixels[part], images[part])
            batch = np.stack([prepared for prepared, _ in fitted])
            if self._both is None:
                maps, told = self._forward(batch), np.ones(len(batch), np.float32)
            else:
                maps, told = self._both(batch)
            filled += told.tolist()
            found += [
                np.asarray(unfit(one, placement), np.float32)
                for one, (_, placement) in zip(maps, fitted, strict=True)
            ]
        return found, filled

    def _tiled(
        self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]
    ) -> list[NDArray[np.float32]]:
        """Maps of several pictures from tiles that fill batches across them."""
        if self._geometry.scale != 1.0:
            return [self.maps(some, image) for some, image in zip(pixels, images, strict=True)]
        masks = self._masks_of(pixels, images)
        readers = [
            ArrayReader(some if channels is None else with_masks(some, channels))
            for some, channels in zip(pixels, masks, strict=True)
        ]
        return list(
            predict_many(
                self._forward,
                readers,
                outputs=self._outputs,
                tile_hw=self._geometry.size_hw,
                overlap=self._geometry.overlap,
                batch=self._batch,
                prepare=lambda i: lambda some, window: self._prepared(some, images[i], window),
            )
        )

    def filled_of(self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]) -> list[float]:
        """Probabilities that pictures hold any object, by the image-level head alone; else 1."""
        if self._filled is None:
            return [1.0] * len(pixels)
        found: list[float] = []
        for start in range(0, len(pixels), self._batch):
            part = slice(start, start + self._batch)
            fitted = self._all_fitted(pixels[part], images[part])
            found += [float(value) for value in self._filled(np.stack([x for x, _ in fitted]))]
        return found

    def bands(self, reader: Reader, image: Image) -> Iterator[Band]:
        """Probabilities of a picture of any size, row band after row band.

        Args:
            reader: Windows of the picture.
            image: What the table says of it.

        Yields:
            First row and (T, rows, W) float32, at the picture's own resolution.
        """
        if self._geometry.fit == "whole":
            height, width, _ = reader.shape
            yield 0, self.maps(reader.window(0, 0, height, width), image)
        elif self._channel_members:
            channels = MaskChannelReader(
                reader, [one.plane_bands(reader, image) for one in self._channel_members]
            )
            yield from predict_bands(self._forward, channels, **self._tiling(image))
        else:
            yield from predict_bands(self._forward, reader, **self._tiling(image))

    def plane_of(self, maps: NDArray[np.float32]) -> NDArray[np.uint8]:
        """A mask as a channel of other members: (H, W) uint8, 255 where an object is sure."""
        return foreground(maps, exclusive=self._exclusive)

    def plane_bands(self, reader: Reader, image: Image) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """``plane_of`` a picture of any size, band by band."""
        for row, band in self.bands(reader, image):
            yield row, self.plane_of(band)

    def _masks_of(
        self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]
    ) -> list[NDArray[np.uint8] | None]:
        """The masks (H, W, M) that are channels here; None if there are none."""
        if not self._channel_members:
            return [None] * len(pixels)
        planes = [
            [giver.plane_of(maps) for maps in giver.maps_of(pixels, images)]
            for giver in self._channel_members
        ]
        return [np.stack(one, axis=2) for one in zip(*planes, strict=True)]

    def _tiling(self, image: Image) -> dict[str, Any]:
        """The settings that every way of tiling takes."""
        return {
            "outputs": self._outputs,
            "tile_hw": self._geometry.size_hw,
            "overlap": self._geometry.overlap,
            "batch": self._batch,
            "scale": self._geometry.scale,
            "prepare": lambda pixels, window: self._prepared(pixels, image, window),
        }

    def _prepared(
        self, pixels: NDArray[Any], image: Image, window: tuple[int, int, int, int]
    ) -> NDArray[np.float32]:
        """The network's input of a window, whose last channels are the mask channels."""
        count = pixels.shape[2] - len(self._channel_members)
        masks = pixels[..., count:] if self._channel_members else None
        return self._inputs.prepare(pixels[..., :count], image, window, masks)

    def _whole(
        self, pixels: NDArray[Any], image: Image, masks: NDArray[np.uint8] | None
    ) -> NDArray[np.float32]:
        """Predict a small picture in one piece."""
        prepared, placement = self._fitted(pixels, image, masks)
        return np.asarray(unfit(self._forward(prepared[None])[0], placement), np.float32)

    def _all_fitted(
        self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]
    ) -> list[tuple[NDArray[np.float32], Placement]]:
        """Bring whole pictures to the network's size and channels."""
        masks = self._masks_of(pixels, images)
        return [self._fitted(*one) for one in zip(pixels, images, masks, strict=True)]

    def _fitted(
        self, pixels: NDArray[Any], image: Image, masks: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.float32], Placement]:
        """Bring a whole picture to the network's size and channels, its mask channels likewise."""
        fitted, placement = fit_whole(pixels, self._geometry)
        if masks is not None:
            # As in training: soft planes are not inpainted.
            border = "reflect" if self._geometry.border == "inpaint" else self._geometry.border
            masks = fit_planes(masks, placement, border=border)
        return self._inputs.prepare(fitted, image, None, masks), placement
