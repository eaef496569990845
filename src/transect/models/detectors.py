"""Detectors of boxes: torchvision's heads on any of our encoders, at the survey's own scale."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from transect.errors import TransectError, unknown_name
from transect.models.encoders import build_encoder
from transect.recipe import Network

__all__ = ["DETECTORS", "Detector", "build_detector"]

DETECTORS = ("fcos", "retinanet", "faster_rcnn")
_RATIOS = (0.5, 1.0, 2.0)
_OCTAVES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))  # anchors a level, as RetinaNet has them
_CHANNELS = 128  # of the pyramid: half of torchvision's, for small machines; our choice
_MOST = 1000  # boxes of one tile
_SURE = 0.02  # boxes below are not kept; heights are searched from .05


class Detector(nn.Module):
    """A detector that takes batches as the engine makes them.

    Pixels come normalised and at the size that they have; torchvision's own resizing and
    normalising are off.
    """

    def __init__(self, core: nn.Module) -> None:
        """Take torchvision's module, and its transform from it."""
        super().__init__()
        core.transform = _AsTheyAre()
        self.core = core

    def forward(self, image: Tensor, boxes: Tensor | None = None) -> Any:
        """Losses in training, boxes in evaluation.

        Args:
            image: (N, C, H, W).
            boxes: (N, M, 5) class, x0, y0, x1, y1 as edges in pixels (the first pixel reaches from
                0 to 1); rows of class -1 are no boxes. In training without them only the features
                are computed, as measuring batch norms needs.

        Returns:
            Name to loss in training; in evaluation per image a dict of boxes (K, 4), scores (K,)
            and labels (K,) from 0.
        """
        if self.training and boxes is None:
            return self.core.backbone(image)  # type: ignore[operator]
        images = list(image)
        if boxes is not None and self.training:
            targets = []
            for own in boxes:
                real = own[own[:, 0] >= 0]
                targets.append({"boxes": real[:, 1:], "labels": real[:, 0].long() + self._first})
            return self.core(images, targets)
        found = self.core(images)
        return [{**one, "labels": one["labels"] - self._first} for one in found]

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the encoder, for a rate of its own and for freezing."""
        return self.core.backbone.encoder.parameters()  # type: ignore[union-attr]

    @property
    def _first(self) -> int:
        """Label of the first class: Faster R-CNN keeps 0 for the background."""
        return int(hasattr(self.core, "roi_heads"))


class _AsTheyAre(nn.Module):
    """In place of torchvision's transform, which resizes (in evaluation always) and normalises."""

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[Any, Any]:
        from torchvision.models.detection.image_list import ImageList

        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        return ImageList(torch.stack(images), sizes), targets

    def postprocess(self, result: Any, image_shapes: Any, original_image_sizes: Any) -> Any:
        return result


class _PyramidBackbone(nn.Module):
    """An encoder and a feature pyramid over its levels of stride 4 and more."""

    def __init__(
        self, encoder: nn.Module, channels: Sequence[int], strides: Sequence[int], width: int
    ) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork

        # The last level of every stride from 4 on.
        self.kept = [
            i
            for i, stride in enumerate(strides)
            if stride >= 4 and (i + 1 == len(strides) or strides[i + 1] != stride)
        ]
        if not self.kept:
            raise TransectError(
                f"a detector needs levels of stride 4 and more; got strides {tuple(strides)}. "
                "Choose an encoder with more levels."
            )
        self.strides = [strides[i] for i in self.kept]
        self.out_channels = width
        self.encoder = encoder
        self.pyramid = FeaturePyramidNetwork([channels[i] for i in self.kept], self.out_channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels = self.encoder(x)
        return self.pyramid(OrderedDict((str(n), levels[i]) for n, i in enumerate(self.kept)))


def build_detector(
    network: Network,
    *,
    in_channels: int,
    classes: int,
    smallest_px: float = 16.0,
    pretrained_allowed: bool = True,
) -> Detector:
    """Build the detector that a recipe's ``decoder`` names.

    Args:
        network: ``decoder`` is one of ``DETECTORS``; its encoder fields apply, and the first of
            ``decoder_channels`` is the width of the pyramid (128).
        in_channels: Of the input.
        classes: Kinds of objects, background not counted.
        smallest_px: Side of the anchors on the finest level, in network pixels; they double from
            level to level. ``fcos`` has none.
        pretrained_allowed: False starts from scratch; a trained state is going to be loaded.

    Returns:
        The network.

    Raises:
        TransectError: On an unknown name, an encoder without levels of stride 4 and more, or a
            width that fcos cannot group.

    References:
        FCOS: Tian et al. 2019. RetinaNet: Lin et al. 2017. Faster R-CNN: Ren et al. 2015. The
        heads are torchvision's, the finest level has stride 4 for small objects.
    """
    if network.decoder not in DETECTORS:
        raise unknown_name("detector", network.decoder, DETECTORS)
    from torchvision.models import detection
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    encoder = build_encoder(network, in_channels=in_channels, pretrained_allowed=pretrained_allowed)
    width = network.decoder_channels[0] if network.decoder_channels else _CHANNELS
    backbone = _PyramidBackbone(encoder, encoder.channels, encoder.strides, width)
    levels = len(backbone.kept)
    kept: dict[str, Any] = {
        "score_thresh": _SURE, "nms_thresh": 0.7, "detections_per_img": _MOST,
        "topk_candidates": _MOST,
    }  # fmt: skip
    core: nn.Module
    if network.decoder == "fcos":
        if width % 32:
            raise TransectError(
                f"fcos normalises groups of 32 channels; decoder_channels begins with {width}. "
                "Give a multiple of 32."
            )
        # One "anchor" a place, the stride's own: it says which level learns which size.
        anchors = AnchorGenerator(tuple((s,) for s in backbone.strides), ((1.0,),) * levels)
        core = detection.FCOS(backbone, classes, anchor_generator=anchors, **kept)
        return Detector(core)
    sides = [smallest_px * 2**level for level in range(levels)]
    if network.decoder == "retinanet":
        octaves = tuple(tuple(side * step for step in _OCTAVES) for side in sides)
        anchors = AnchorGenerator(octaves, (_RATIOS,) * levels)
        core = detection.RetinaNet(backbone, classes, anchor_generator=anchors, **kept)
        return Detector(core)
    anchors = AnchorGenerator(tuple((side,) for side in sides), (_RATIOS,) * levels)
    names = [str(n) for n in range(levels)]
    core = detection.FasterRCNN(
        backbone,
        classes + 1,
        rpn_anchor_generator=anchors,
        box_roi_pool=MultiScaleRoIAlign(featmap_names=names, output_size=7, sampling_ratio=2),
        box_score_thresh=_SURE,
        box_nms_thresh=0.7,
        box_detections_per_img=_MOST,
        box_batch_size_per_image=128,  # tiles are small: a quarter of torchvision's; our choice
    )
    return Detector(core)
