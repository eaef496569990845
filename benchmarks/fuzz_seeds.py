"""Good files of the formats of one file that tools write, and those of a folder as more seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ["of_folder", "of_tools"]

_MOST_BYTES = 20_000
"""Of one seed: mutations of larger ones mostly hit what is passed over."""

_VOC = (
    "<annotation><filename>a.png</filename><size><width>9</width><height>9</height>"
    "<depth>3</depth></size><object><name>seal</name><bndbox><xmin>1</xmin><ymin>2</ymin>"
    "<xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>"
)
_MEGADETECTOR = {
    "info": {"format_version": "1.3"},
    "detection_categories": {"1": "animal"},
    "images": [
        {"file": "a.png", "detections": [{"category": "1", "conf": 0.9, "bbox": [0.1, 0, 0.4, 1]}]}
    ],
}
_QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [5, 6], [1, 1]]]},
            "properties": {"objectType": "annotation", "classification": {"name": "seal"}},
        }
    ],
}
_GOOSE = {"classes": ["seal"], "points": {"a.png": {"seal": [{"x": 2.5, "y": 3.0}]}}}
_RESULTS = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 5], "score": 0.9}]


def of_tools() -> dict[str, tuple[str, bytes]]:
    """A good file of every such format: format to (name, bytes)."""
    found = {
        "voc": ("a.xml", _VOC.encode()),
        "megadetector": ("a.json", json.dumps(_MEGADETECTOR).encode()),
        "qupath": ("a.geojson", json.dumps(_QUPATH).encode()),
        "dotdotgoose": ("a.pnt", json.dumps(_GOOSE).encode()),
        "coco-results": ("a.json", json.dumps(_RESULTS).encode()),
        "deepforest": ("a.csv", b"image_path,xmin,ymin,xmax,ymax,label\na.png,1.5,2,6,7,Tree\n"),
        "herdnet": ("a.csv", b"images,x,y,labels\na.png,2,3,1\n"),
        "table": ("a.csv", b"image,x0,y0,x1,y1,class\na.png,1,2,5,6,seal\n"),
        "identities": ("a.csv", b"Image,Id\na.png,w_1\nb.png,new_whale\n"),
        "wildlife": (
            "metadata.csv",
            b'image_id,identity,path,date,bbox\n1,x,a.png,2020-01-01,"[1, 1, 5, 6]"\n',
        ),
        "labels": ("a.csv", b"image,label\na.png,healthy\nb.png,rust;spots\n"),
        "imagej-results": ("Results.csv", b" ,Label,Area,Mean,X,Y\n1,a.png,0,91,2.5,3\n"),
        "napari": ("a_points.csv", b"index,axis-0,axis-1\n0,2.5,3.0\n1,4.0,5.5\n"),
        "yolo": ("a.txt", b"0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n"),
    }
    try:
        import roifile
    except ImportError:
        return found
    roi = roifile.ImagejRoi.frompoints([[1, 1], [5, 1], [5, 6]], name="a")
    return found | {"imagej": ("a.roi", roi.tobytes())}


def of_folder(folder: Path) -> Mapping[str, list[bytes]]:
    """Small files below a folder by their suffix, to be spoiled by the readers of that suffix."""
    found: dict[str, list[bytes]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "case.toml" and path.stat().st_size <= _MOST_BYTES:
            found.setdefault(path.suffix.lower(), []).append(path.read_bytes())
    return found
