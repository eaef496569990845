"""Annotated pictures for the tests of all formats."""

import numpy as np

from transect.data import rle
from transect.data.exchange import Annotations, Instance, Picture
from transect.data.outlines import box_ring
from transect.data.png import write_png
from transect.data.shapes import mask_of

SIZES = {"a.png": (12, 16), "site/b.png": (9, 7), "empty.png": (5, 6)}


def make_pictures(folder):
    """Write the pictures, each with its own noise."""
    rng = np.random.default_rng(0)
    for name, size_hw in SIZES.items():
        write_png(folder / name, rng.integers(1, 255, (*size_hw, 3), dtype=np.uint8))
    return folder


def annotated(*kinds):
    """Objects of the kinds asked for: polygon, hole, mask, box, point, word, identity."""
    triangle = np.array([[1.0, 1.0], [9.25, 2.5], [4.0, 8.75]])
    ring = (box_ring(2.5, 2.5, 9.5, 9.5), box_ring(4.5, 4.5, 6.5, 6.5))
    mask = np.zeros((9, 7), bool)
    mask[2:5, 1:4] = mask[7, 6] = True
    first = {
        "polygon": Instance("seal", parts=((triangle,),)),
        "hole": Instance("walrus", parts=(ring,)),
        "box": Instance("seal", box=(0.5, 1.25, 7.5, 9.0)),
        "point": Instance("pup", point=(3.0, 4.5)),
        "word": Instance("beach"),
        "identity": Instance(identity="Freya", box=(1.0, 1.0, 5.0, 6.0)),
    }
    second = {
        "mask": Instance("walrus", counts=tuple(rle.counts_of(mask))),
        "box": Instance("walrus", box=(-0.5, -0.5, 6.5, 8.5)),
        "point": Instance("seal", point=(6.0, 0.0)),
    }
    pictures = (
        Picture("a.png", SIZES["a.png"], tuple(v for k, v in first.items() if k in kinds)),
        Picture(
            "site/b.png", SIZES["site/b.png"], tuple(v for k, v in second.items() if k in kinds)
        ),
        Picture("empty.png", SIZES["empty.png"]),
    )
    labels = dict.fromkeys(i.label for p in pictures for i in p.instances if i.identity is None)
    return Annotations(pictures, tuple(labels))


def facts(annotations, *, areas=True):
    """What must survive a round trip, in a form that can be compared."""
    found = {}
    for picture in annotations.pictures:
        rows = []
        for i in picture.instances:
            row = [i.label, i.identity, i.confidence]
            row.append(None if i.point is None else tuple(np.round(i.point, 6)))
            row.append(None if i.box is None else tuple(np.round(i.box, 6)))
            if areas and i.has_area:
                row.append(mask_of(i, picture.size_hw).tobytes())
            rows.append(tuple(row))
        found[picture.name] = sorted(rows, key=repr)
    return found
