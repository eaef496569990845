"""The answers of a prediction as Python uses them: tables, masks, points, other libraries."""

from __future__ import annotations

import html
import importlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.run import RunFolder

__all__ = ["Predictions"]

_POINTS = ("image", "x", "y", "class", "confidence")
_BOXES = ("image", "x0", "y0", "x1", "y1", "class", "confidence")


class Predictions(dict[str, Any]):
    """What ``predict`` tells, and the answers that it wrote.

    As a dictionary it holds ``images`` (how many were answered), ``problems`` (a sentence for each
    image that was not), ``files``, ``verdict`` and what the question adds. Everything else is read
    from the folder when it is asked for.

    Attributes:
        out: The folder of the answers.
        run: The run that gave them.
        source: The images.
    """

    def __init__(self, told: Mapping[str, Any], *, run: Path, source: Path, out: Path) -> None:
        """Keep what was told, and where the answers are."""
        super().__init__(told)
        self.run, self.source, self.out = run, source, out

    @property
    def table(self) -> pd.DataFrame:
        """A row per image (or animal): what the question's main table holds.

        Raises:
            TransectError: If there is none.
        """
        for path in sorted(self.out.glob("*.csv")):
            if path.name not in ("points.csv", "problems.csv", "masks.csv"):
                found = pd.read_csv(path)
                if "image" in found:
                    return _bare(found)
        raise TransectError(f"{self.out} holds no table of answers. Predict again.")

    def masks(self) -> Iterator[tuple[str, NDArray[np.integer]]]:
        """Image names and their (H, W) masks, 0 is background, one in memory at a time.

        Numbers are 1 for binary masks, of classes from 1 in the run's order, or of objects.
        """
        from transect.data.folder import list_new
        from transect.data.images import read_labels

        inputs = self._inputs
        kind, values = inputs.get("mask_kind"), [int(v) for v in inputs.get("class_values", ())]
        for image in list_new(self.source)[0]:
            path = next(iter((self.out / "masks").glob(f"{_glob_safe(image.stem)}.*")), None)
            if path is None:
                continue
            labels = read_labels(path)
            if kind == "binary":
                labels = (labels > 0).astype(np.uint8)
            elif kind == "classes" and values:
                places = np.searchsorted(np.array(sorted(values)), labels)
                order = np.argsort(values, kind="stable") + 1
                known = np.isin(labels, values)
                labels = np.where(known, order[np.minimum(places, len(values) - 1)], 0)
            yield image.name, labels

    @property
    def points(self) -> pd.DataFrame:
        """Columns image, x, y, class, confidence; x right, y down, pixel centres at integers."""
        path = self.out / "points.csv"
        if not path.is_file():
            return pd.DataFrame(columns=list(_POINTS))
        return _bare(pd.read_csv(path))

    @property
    def boxes(self) -> pd.DataFrame:
        """Columns image, x0, y0, x1, y1, class, confidence: outer edges of every masked object."""
        from transect.data.shapes import box_of

        rows = []
        for picture in self.annotations.pictures:
            for one in picture.instances:
                box = box_of(one, picture.size_hw)
                if box is not None:
                    rows.append((picture.name, *box, one.label, one.confidence))
        return pd.DataFrame(rows, columns=list(_BOXES))

    @property
    def annotations(self) -> Any:
        """Everything as ``data.exchange.Annotations``, which every format's writer takes."""
        from transect.data.folder import list_new
        from transect.data.predictions import from_identities, from_labels, from_points

        inputs = self._inputs
        classes = tuple(str(name) for name in inputs.get("classes", ())) or ("object",)
        if (self.out / "masks").is_dir():
            return from_labels(self.masks(), inputs["mask_kind"], classes)
        if (self.out / "points.csv").is_file():
            sizes = {image.name: image.size_hw for image in list_new(self.source)[0]}
            answered = set(self.table["image"])
            return from_points(
                self.points, {n: s for n, s in sizes.items() if n in answered}, classes
            )
        table = self.table
        if "identity" in table:
            return from_identities(table.rename(columns={"probability": "confidence"}))
        raise TransectError(
            f"the answers in {self.out} have no place on their images. Use .table instead."
        )

    def to_coco(self) -> dict[str, Any]:
        """The root of a COCO file: images, categories, annotations with scores."""
        from transect.data.formats import coco

        with tempfile.TemporaryDirectory(prefix="transect-") as folder:
            path = Path(folder) / "answers.json"
            coco.write(self.annotations, path)
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def to_supervision(self) -> dict[str, Any]:
        """Image name to ``supervision.Detections`` (masks) or ``supervision.KeyPoints`` (points).

        Raises:
            TransectError: If supervision is not installed.
        """
        sv = _library("supervision", "supervision")
        from transect.data.rle import mask_of_counts
        from transect.data.shapes import box_of

        found = {}
        notes = self.annotations
        numbers = {name: k for k, name in enumerate(notes.classes)}
        for picture in notes.pictures:
            own = picture.instances
            kinds = np.array([numbers.get(one.label, 0) for one in own], int)
            sure = np.array([1.0 if i.confidence is None else i.confidence for i in own], float)
            if own and own[0].point is not None:
                xy = np.array([[one.point] for one in own], np.float32)
                found[picture.name] = sv.KeyPoints(
                    xy=xy, class_id=kinds, keypoint_confidence=sure[:, None].astype(np.float32)
                )
            elif own:
                edges = [box_of(one, picture.size_hw) for one in own]
                found[picture.name] = sv.Detections(
                    xyxy=np.array(edges, float) + 0.5,
                    mask=np.array([mask_of_counts(one.counts, picture.size_hw) for one in own]),
                    class_id=kinds,
                    confidence=sure,
                )
            else:
                found[picture.name] = sv.Detections.empty()
        return found

    def to_geopandas(self) -> Any:
        """A ``geopandas.GeoDataFrame``: points on the ground where photos lie there, else pixels.

        Without a place on the ground, geometries are points or boxes in pixels (x right, y down)
        and there is no reference system.

        Raises:
            TransectError: If geopandas is not installed.
        """
        gpd = _library("geopandas", "geo")
        placed = self.out / "points.geojson"
        if placed.is_file():
            return gpd.read_file(placed)
        box = _library("shapely.geometry", "geo").box
        points = self.points
        if len(points):
            return gpd.GeoDataFrame(points, geometry=gpd.points_from_xy(points["x"], points["y"]))
        boxes = self.boxes
        corners = zip(*(boxes[name] for name in ("x0", "y0", "x1", "y1")), strict=True)
        return gpd.GeoDataFrame(boxes, geometry=[box(*four) for four in corners])

    def _repr_html_(self) -> str:
        """The verdict, the counts and the first rows, as notebooks show them."""
        head = f"<p><strong>{html.escape(str(self['verdict']))}</strong></p>"
        head += f"<p>{self['images']} images answered in {html.escape(str(self.out))}; "
        head += f"{len(self['problems'])} could not be read.</p>"
        return head + self.table.head(10).to_html(
            float_format="{:.3f}".format, na_rep="–", index=False
        )

    @property
    def _inputs(self) -> dict[str, Any]:
        """What the run knows of its survey."""
        found: dict[str, Any] = RunFolder(self.run).read_json("inputs.json")
        return found


def _bare(table: pd.DataFrame) -> pd.DataFrame:
    """Names without the apostrophe that keeps a spreadsheet from running them."""
    from transect.files import spreadsheet_safe

    def plain(cell: Any) -> Any:
        text = str(cell)
        return text[1:] if text[:1] == "'" and spreadsheet_safe(text[1:]) == text else cell

    return table.assign(image=[plain(cell) for cell in table["image"]])


def _glob_safe(stem: str) -> str:
    """A stem whose stars and brackets mean themselves."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in stem)


def _library(name: str, extra: str) -> Any:
    """A library that not everybody needs.

    Raises:
        TransectError: Naming the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TransectError(
            f"this needs {name}, which is not installed. Run: pip install 'transect[{extra}]'."
        ) from error
