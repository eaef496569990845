"""Detectors of boxes and instances: torchvision's heads on any of our encoders."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from transect.errors import TransectError, unknown_name
from transect.models.encoders import build_encoder
from transect.recipe import Network

__all__ = ["DETECTORS", "build_detector"]

DETECTORS = ("faster_rcnn", "mask_rcnn", "retinanet")
_RATIOS = (0.5, 1.0, 2.0)


class _PyramidBackbone(nn.Module):
    """An encoder and a feature pyramid over its levels of stride 4 and more."""

    def __init__(self, encoder: nn.Module, channels: Sequence[int], strides: Sequence[int]) -> None:
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
        self.out_channels = 128  # half of torchvision's, for small machines; our guess
        self.encoder = encoder
        self.pyramid = FeaturePyramidNetwork([channels[i] for i in self.kept], self.out_channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels = self.encoder(x)
        return self.pyramid(OrderedDict((str(n), levels[i]) for n, i in enumerate(self.kept)))


def build_detector(
    name: str,
    network: Network,
    *,
    classes: int,
    size_hw: tuple[int, int],
    smallest_px: int = 16,
    pretrained_allowed: bool = True,
) -> nn.Module:
    """Build a detector.

    Args:
        name: faster_rcnn, mask_rcnn or retinanet.
        network: Its encoder fields apply; pictures must have three channels.
        classes: Kinds of objects, background not counted.
        size_hw: The network resizes pictures to this shorter and longer side.
        smallest_px: Side of the anchors on the finest level; they double from level to level.
        pretrained_allowed: False starts from scratch; a trained state is going to be loaded.

    Returns:
        torchvision's module: in training ``(images, targets) -> losses``, in evaluation
        ``images -> [{boxes, labels, scores[, masks]}]``; label 0 is background.

    Raises:
        TransectError: On an unknown name or an encoder without levels of stride 4 and more.
    """
    if name not in DETECTORS:
        raise unknown_name("detector", name, DETECTORS)
    from torchvision.models import detection
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    encoder = build_encoder(network, in_channels=3, pretrained_allowed=pretrained_allowed)
    backbone = _PyramidBackbone(encoder, encoder.channels, encoder.strides)
    levels = len(backbone.kept)
    anchors = AnchorGenerator(
        tuple((smallest_px * 2**level,) for level in range(levels)), (_RATIOS,) * levels
    )
    sides = {"min_size": min(size_hw), "max_size": max(size_hw)}
    if name == "retinanet":
        return detection.RetinaNet(backbone, classes + 1, anchor_generator=anchors, **sides)
    names = [str(n) for n in range(levels)]
    pool = MultiScaleRoIAlign(featmap_names=names, output_size=7, sampling_ratio=2)
    options = {"rpn_anchor_generator": anchors, "box_roi_pool": pool, **sides}
    if name == "faster_rcnn":
        return detection.FasterRCNN(backbone, classes + 1, **options)
    masks = MultiScaleRoIAlign(featmap_names=names, output_size=14, sampling_ratio=2)
    return detection.MaskRCNN(backbone, classes + 1, mask_roi_pool=masks, **options)
