"""What a catalogue keeps beside its photos: keypoints and pictures, in its own folder."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from transect.identify.geometry import KeypointFiles
from transect.identify.thumbnails import Album
from transect.recipe import IdentifyDecide

__all__ = ["album_of", "catalogue_of", "forget", "keypoints_of"]


def catalogue_of(run: Path) -> Path:
    """The catalogue's folder of a run; what earlier versions kept beside it is moved into it."""
    folder = run / "catalogue"
    for name in ("keypoints", "album"):
        if (run / name).is_dir() and not (folder / name).exists():
            with contextlib.suppress(OSError):  # a run that cannot be written stays as it is
                folder.mkdir(exist_ok=True)
                (run / name).rename(folder / name)
    return folder


def keypoints_of(catalogue: Path, decide: IdentifyDecide) -> KeypointFiles:
    """The keypoints of a catalogue's photos."""
    return KeypointFiles.of(catalogue / "keypoints", decide)


def album_of(catalogue: Path) -> Album:
    """The pictures of a catalogue's photos."""
    return Album(catalogue / "album")


def forget(catalogue: Path, decide: IdentifyDecide, keys: Sequence[str]) -> None:
    """Remove what is kept of photos that the catalogue does not hold (any more)."""
    files, album = keypoints_of(catalogue, decide), album_of(catalogue)
    for key in keys:
        files.path(key).unlink(missing_ok=True)
        album.path(key).unlink(missing_ok=True)
