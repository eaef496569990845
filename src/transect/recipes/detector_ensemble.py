"""Several detectors fused, as the digest tells of a medical competition: unlike heads agree.

The digest (39 competitions) names an ensemble of Mask R-CNN, YOLOv3 and Faster R-CNN with a
DenseNet-121 that says whether there is anything at all. No numbers are given.

Where we differ:

* Faster R-CNN, RetinaNet and FCOS: torchvision keeps these, and keeps no YOLO. Mask R-CNN asks for
  outlines, and boxes are all that a survey of boxes holds.
* No gate of images: counts are decided out of fold, and a picture without sure boxes counts none.
* Boxes are joined by weighted boxes fusion (Solovyev et al. 2021), over folds, members and views.
* All numbers are our guess.
"""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import Network, Recipe
from transect.recipes import detector

_HEADS = ("faster_rcnn", "retinanet", "fcos")


def _joined(plain: Recipe) -> Recipe:
    """The plain recipe with a member for every head."""
    member = plain.members[0]
    assert isinstance(member.network, Network)
    members = tuple(
        replace(member, name=head, network=replace(member.network, decoder=head)) for head in _HEADS
    )
    return replace(
        plain, name="detector-ensemble", members=members, views=("identity", "hflip"),
        notes="Three kinds of detector on the survey's own boxes, fused.",
    )  # fmt: skip


recipe = _joined(detector.recipe)
quick = _joined(detector.quick)  # our numbers
