"""Camtrap-DP 1.0: a camera-trap data package with media.csv and observations.csv."""

from __future__ import annotations

import csv
import hashlib
import io
import posixpath
from pathlib import Path
from typing import Any

from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.shapes import box_of
from transect.data.tables import read_table
from transect.errors import TransectError
from transect.files import spreadsheet_safe, write_json, write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "camtrap"
_MEDIA = (
    "mediaID",
    "deploymentID",
    "captureMethod",
    "timestamp",
    "filePath",
    "filePublic",
    "fileName",
    "fileMediatype",
)
_OBSERVATIONS = (
    "observationID",
    "deploymentID",
    "mediaID",
    "eventID",
    "eventStart",
    "eventEnd",
    "observationLevel",
    "observationType",
    "scientificName",
    "count",
    "individualID",
    "bboxX",
    "bboxY",
    "bboxWidth",
    "bboxHeight",
    "classificationProbability",
)
_PROFILE = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.1/"


def matches(head: Head) -> bool:
    """Whether a folder has media.csv and observations.csv (or is their datapackage.json)."""
    path = head.path
    folder = path if path.is_dir() else path.parent
    named = path.is_dir() or path.name == "datapackage.json"
    return named and (folder / "media.csv").is_file() and (folder / "observations.csv").is_file()


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a data package.

    ``individualID`` is the identity, ``scientificName`` the class, the event (else the
    deployment) the group, and the shares ``bbox...`` a box where the picture's size is known.
    Media without observations have nothing on them.

    Args:
        path: The folder, or its datapackage.json.
        pictures: Where sizes are looked up.

    Returns:
        The annotations; faulty rows are left out and listed.

    Raises:
        TransectError: If a table is missing.
    """
    folder = path if path.is_dir() else path.parent
    media, problems = read_table(folder / "media.csv", [])
    observations, more = read_table(folder / "observations.csv", [])
    builder = Builder(pictures)
    for problem in problems:
        builder.problem(problem.name, problem.what, objects=0, pictures=1)
    builder.rows(more, why="faulty row of observations.csv")
    names: dict[str, str] = {}
    for row in _rows(media, ("mediaid", "filepath"), "media.csv"):
        where = f"media.csv line {row['line']}"
        try:
            name = builder.picture(
                _file_name(row, where),
                None,
                date=row.get("timestamp", ""),
                group=row.get("deploymentid", ""),
            )
            names[checked.text(row["mediaid"], f"{where}: mediaID")] = name
        except TransectError as error:
            builder.problem("media.csv", error, objects=0, pictures=1)
    for row in _rows(observations, ("mediaid",), "observations.csv"):
        where = f"observations.csv line {row['line']}"
        try:
            _observe(row, where, names, builder)
        except TransectError as error:
            builder.problem("observations.csv", error)
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write datapackage.json, media.csv and observations.csv into a folder.

    Args:
        annotations: Boxes are written where the picture's size is known.
        path: The folder.
        pictures: Not needed.

    Returns:
        The files written.
    """
    media: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for picture in annotations.pictures:
        key = hashlib.sha256(picture.name.encode("utf-8")).hexdigest()[:16]
        date, group = picture.columns.get("date", ""), picture.columns.get("group", "")
        media.append(
            {
                "mediaID": key,
                "deploymentID": group or "unknown",
                "timestamp": date,
                "filePath": picture.name,
                "filePublic": "false",
                "fileName": posixpath.basename(picture.name),
                "fileMediatype": _media_type(picture.name),
            }
        )
        for i, instance in enumerate(picture.instances, start=1):
            rows.append(
                {
                    "observationID": f"{key}-{i}",
                    "deploymentID": group or "unknown",
                    "mediaID": key,
                    "eventID": group,
                    "eventStart": date,
                    "eventEnd": date,
                    "observationLevel": "media",
                    "observationType": "animal",
                    "scientificName": "" if instance.label == "object" else instance.label,
                    "count": 1,
                    "individualID": instance.identity or "",
                    "classificationProbability": instance.confidence
                    if instance.confidence is not None
                    else "",
                    **_shares(instance, picture),
                }
            )
    resources = []
    written = []
    for name, header, entries in (
        ("media", _MEDIA, media),
        ("observations", _OBSERVATIONS, rows),
    ):
        out = io.StringIO()
        table = csv.DictWriter(out, header, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows({k: spreadsheet_safe(str(v)) for k, v in e.items()} for e in entries)
        write_text(path / f"{name}.csv", out.getvalue())
        written.append(path / f"{name}.csv")
        resources.append(
            {
                "name": name,
                "path": f"{name}.csv",
                "profile": "tabular-data-resource",
                "schema": f"{_PROFILE}{name}-table-schema.json",
            }
        )
    package = {"profile": f"{_PROFILE}camtrap-dp-profile.json", "resources": resources}
    write_json(path / "datapackage.json", package)
    return [*written, path / "datapackage.json"]


def _rows(table: Any, needed: tuple[str, ...], file: str) -> list[dict[str, Any]]:
    """The rows of a table as mappings."""
    lacking = [c for c in needed if c not in table]
    if lacking:
        raise TransectError(f"{file} lacks the column {lacking[0]}. Export the package again.")
    found: list[dict[str, Any]] = table.to_dict("records")
    return found


def _file_name(row: dict[str, Any], where: str) -> str:
    """The picture's name: its path in the package, or the last part of an address."""
    path = checked.text(row["filepath"], f"{where}: filePath")
    if "://" in path:
        return row.get("filename") or posixpath.basename(path.split("?")[0])
    return path


def _observe(row: dict[str, Any], where: str, names: dict[str, str], builder: Builder) -> None:
    """Add one observation."""
    media = row["mediaid"]
    if not media:
        what = f"{where} is of a whole event and of no single picture; left out."
        builder.problem("observations.csv", what, why="observation of a whole event")
        return
    if media not in names:
        raise TransectError(f"{where} is of {media!r}, which media.csv does not list. Correct it.")
    name = names[media]
    if row.get("eventid"):
        builder.picture(name, None, group=row["eventid"])
    kind = row.get("observationtype", "animal")
    if kind in ("blank", "unclassified", "unknown"):
        if kind != "blank":
            builder.unlabelled(name)
        builder.reread(f"observation of the type {kind}: no object", objects=0, pictures=1)
        return
    if (count := row.get("count", "")) not in ("", "1"):
        builder.reread(f"count of {count[:10]} in one observation: read as one object")
    corners = None
    if row.get("bboxwidth"):
        height, width = builder.size(name, "bboxX is a share of it")
        keys = ("bboxx", "bboxy", "bboxwidth", "bboxheight")
        x, y, w, h = (checked.number(row.get(k), f"{where}: {k}") for k in keys)
        values = (x * width, y * height, (x + w) * width, (y + h) * height)
        x0, y0, x1, y1 = checked.box(values, where)
        corners = (x0 - 0.5, y0 - 0.5, x1 - 0.5, y1 - 0.5)
    score = checked.confidence(row.get("classificationprobability"), where)
    builder.add(
        name,
        Instance(
            checked.label(row.get("scientificname"), f"{where}: scientificName"),
            box=corners,
            identity=checked.optional_text(row.get("individualid"), f"{where}: individualID"),
            confidence=score,
        ),
    )


def _shares(instance: Instance, picture: Picture) -> dict[str, float]:
    """The box as shares of the picture."""
    box = box_of(instance, picture.size_hw)
    if box is None or picture.size_hw is None:
        return {}
    height, width = picture.size_hw
    x0, y0, x1, y1 = box
    return {
        "bboxX": (x0 + 0.5) / width,
        "bboxY": (y0 + 0.5) / height,
        "bboxWidth": (x1 - x0) / width,
        "bboxHeight": (y1 - y0) / height,
    }


def _media_type(name: str) -> str:
    """The MIME type by the name's suffix."""
    suffix = name.rsplit(".", 1)[-1].lower()
    known = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "tif": "tiff", "tiff": "tiff"}
    return f"image/{known.get(suffix, 'jpeg')}"
