"""Files that are called after their picture, for formats that write one per picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from transect.data.exchange import Pictures
from transect.errors import TransectError

__all__ = ["files_below", "picture_of"]


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """All files of some suffixes below a folder, sorted; links out of it are passed over."""
    inside = folder.resolve()
    found = (p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    return sorted(p for p in found if p.resolve().is_relative_to(inside))


def picture_of(shown: str, endings: Iterable[str], pictures: Pictures | None) -> str:
    """The picture that a file is called after.

    Args:
        shown: The file's path below the folder of annotations, without its suffix.
        endings: What the tool adds to the picture's name ("_RoiSet").
        pictures: Where it may be; None takes the name on trust.

    Returns:
        The picture's name, perhaps without suffix.

    Raises:
        TransectError: If no picture is called so, and there is not just one.
    """
    options = [shown, *(shown[: -len(e)] for e in endings if shown.endswith(e))]
    if pictures is None:
        return options[-1]
    found = next((f for o in reversed(options) if (f := pictures.find(o))), None)
    if found is None and len(pictures.paths) == 1:
        return next(iter(pictures.paths))
    if found is None:
        raise TransectError(
            f"{shown} is called after no picture in {pictures.folder}. Give it its picture's name."
        )
    return found
