"""Files as strangers send them: good ones of every kind, and ways to spoil them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def pictures() -> dict[str, bytes]:
    """A small good file of every picture kind that is read."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 255, (9, 11, 3), np.uint8)
    grey16 = rng.integers(0, 65535, (9, 11), np.uint16)
    out = {}
    for suffix, options in (
        ("png", {}),
        ("jpg", {}),
        ("bmp", {}),
        ("webp", {"lossless": True}),
        ("tif", {}),
    ):
        buffer = io.BytesIO()
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
        Image.fromarray(colour).save(buffer, kind, **options)
        out[suffix] = buffer.getvalue()
    palette = io.BytesIO()
    Image.fromarray(colour).quantize(8).save(palette, "PNG")
    out["palette.png"] = palette.getvalue()
    out["16.png"] = bytes(cv2.imencode(".png", grey16)[1])
    packed = io.BytesIO()
    Image.fromarray(colour).save(packed, "TIFF", compression="tiff_lzw")
    out["lzw.tif"] = packed.getvalue()
    return out


def annotations() -> dict[str, tuple[str, bytes]]:
    """A good file of every annotation format of one file: format to (name, bytes)."""
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": 9, "width": 11}],
        "categories": [{"id": 1, "name": "seal"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [1, 1, 4, 4],
                "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]],
                "area": 16,
                "iscrowd": 0,
            }
        ],
    }
    labelme = {
        "imagePath": "a.png",
        "imageHeight": 9,
        "imageWidth": 11,
        "shapes": [{"label": "seal", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}],
    }
    via = {
        "a.png1": {
            "filename": "a.png",
            "size": 1,
            "regions": [
                {
                    "shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 4, "height": 4},
                    "region_attributes": {"class": "seal"},
                }
            ],
            "file_attributes": {},
        }
    }
    cvat = (
        '<annotations><version>1.1</version><image id="0" name="a.png" width="11" height="9">'
        '<box label="seal" xtl="1" ytl="1" xbr="5" ybr="5"/></image></annotations>'
    )
    geo = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"image": "a.png", "class": "seal"},
                "geometry": {"type": "Point", "coordinates": [3, 4]},
            }
        ],
    }
    return {
        "coco": ("a.json", json.dumps(coco).encode()),
        "labelme": ("a.json", json.dumps(labelme).encode()),
        "via": ("a.json", json.dumps(via).encode()),
        "cvat": ("a.xml", cvat.encode()),
        "geo": ("a.geojson", json.dumps(geo).encode()),
        "kaggle": ("a.csv", b"image_id,rle_mask\na.png,1 3 10 5\n"),
    }


def survey(root: Path, count: int = 4) -> Path:
    """A small good survey of masks."""
    rng = np.random.default_rng(1)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(count):
        image = rng.integers(0, 255, (12, 12, 3), np.uint8)
        mask = np.zeros((12, 12), np.uint8)
        mask[2:6, 2 : 6 + i] = 255
        cv2.imwrite(str(root / "images" / f"{i}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{i}.png"), mask)
    return root


def spoiled(data: bytes, edits: list[tuple[int, int]], cut: int, extra: bytes) -> bytes:
    """Some bytes changed, the end cut off, something put in."""
    out = bytearray(data)
    for place, value in edits:
        if out:
            out[place % len(out)] = value
    if cut:
        del out[len(out) - cut % (len(out) + 1) :]
    if extra:
        middle = (cut * 7919) % (len(out) + 1)
        out[middle:middle] = extra
    return bytes(out)
