"""``survey.json``: what a survey's files mean, where the files alone do not tell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from transect.errors import TransectError, unknown_name
from transect.files import read_json, write_json
from transect.types import LabelKind, MaskKind

__all__ = ["MANIFEST", "Manifest", "labels_said", "masks_said", "read_as", "read_manifest"]
__all__ += ["write_manifest"]

MANIFEST = "survey.json"
_SAID: ContextVar[MaskKind | None] = ContextVar("masks", default=None)
_LABELS_SAID: ContextVar[LabelKind | None] = ContextVar("labels", default=None)


@dataclass(frozen=True)
class Manifest:
    """What ``survey.json`` says, each part only if it is known.

    The names of classes stand in ``classes.csv`` (value,name), where people edit them.

    Attributes:
        masks: How ``masks/`` is to be read.
        unknown: The identity that stands for "none we know".
        labels: What ``labels.csv`` holds: one label an image, several, or grades.
    """

    masks: MaskKind | None = None
    unknown: str | None = None
    labels: LabelKind | None = None


def read_manifest(root: Path) -> Manifest:
    """Read the ``survey.json`` of a survey folder; without one nothing is known.

    Raises:
        TransectError: If it is not JSON, or says what we do not understand.
    """
    path = root / MANIFEST
    if not path.is_file():
        return Manifest()
    read = read_json(path)
    if not isinstance(read, dict):
        raise TransectError(f'{path} must be an object, as {{"masks": "instances"}}. Write it so.')
    strange = sorted(set(read) - {"masks", "unknown", "labels"})
    if strange:
        raise unknown_name(f"a key of {path}", strange[0], ("masks", "unknown", "labels"))
    masks, unknown = read.get("masks"), read.get("unknown")
    if masks is not None and masks not in get_args(MaskKind):
        raise unknown_name(f"masks in {path}", str(masks), get_args(MaskKind))
    if unknown is not None and not (isinstance(unknown, str) and unknown.strip()):
        raise TransectError(f"unknown in {path} must be a name; got {unknown!r}. Correct it.")
    labels = read.get("labels")
    if labels is not None and labels not in get_args(LabelKind):
        raise unknown_name(f"labels in {path}", str(labels), get_args(LabelKind))
    return Manifest(masks, unknown, labels)


def write_manifest(root: Path, manifest: Manifest) -> Path | None:
    """Write ``survey.json``, or nothing if nothing is known; gives its path."""
    said = {"masks": manifest.masks, "unknown": manifest.unknown, "labels": manifest.labels}
    known = {key: value for key, value in said.items() if value is not None}
    if not known:
        return None
    write_json(root / MANIFEST, known)
    return root / MANIFEST


@contextlib.contextmanager
def read_as(*, masks: MaskKind | None = None, labels: LabelKind | None = None) -> Iterator[None]:
    """Read every survey that is opened within as the user says (``--masks``, ``--labels``).

    A survey is opened in many places of a command, and what its files mean is the same in all.

    Args:
        masks: binary, classes or instances; None leaves it to ``survey.json`` and the masks.
        labels: single, several or grades; None leaves it to ``survey.json`` and the table.
    """
    tokens = _SAID.set(masks), _LABELS_SAID.set(labels)
    try:
        yield
    finally:
        _SAID.reset(tokens[0])
        _LABELS_SAID.reset(tokens[1])


def masks_said() -> MaskKind | None:
    """What the user says of masks, if anything."""
    return _SAID.get()


def labels_said() -> LabelKind | None:
    """What the user says of labels, if anything."""
    return _LABELS_SAID.get()
