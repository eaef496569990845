"""The folder that ``predict`` writes: answers of two predictions never lie among one another."""

from __future__ import annotations

import shutil
from pathlib import Path

from transect.errors import TransectError
from transect.files import write_text

__all__ = ["MARK", "begin", "check", "refuse_inside"]

MARK = ".transect-answers"
"""A file that says that all in its folder was written by ``predict``."""


def check(out: Path, images: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything, before any work.

    Args:
        out: Where answers shall be.
        images: What is asked about; it must not be removed with old answers.
        overwrite: Earlier answers may go.

    Raises:
        TransectError: If the folder is in use.
    """
    if images.is_dir():
        refuse_inside(out, images)
    if not out.is_dir() or all(path.name == MARK for path in out.iterdir()):
        return
    if not overwrite:
        raise TransectError(
            f"{out} already holds files, which would lie among the new answers. Choose another "
            "--out, or remove earlier answers with --overwrite."
        )
    if not (out / MARK).is_file() or images.resolve().is_relative_to(out.resolve()):
        raise TransectError(
            f"{out} holds files that predict did not write, so --overwrite removes nothing. "
            "Choose another --out."
        )


def refuse_inside(out: Path, images: Path) -> None:
    """Refuse to write below what is read: results would be taken for images the next time.

    Raises:
        TransectError: If ``out`` lies in ``images``.
    """
    if out.resolve().is_relative_to(images.resolve()):
        raise TransectError(
            f"{out} lies inside {images}, where results would be taken for images. Choose an "
            "--out beside it."
        )


def begin(out: Path) -> None:
    """Empty the folder of earlier answers, ``check`` having allowed it, and mark it as ours."""
    if (out / MARK).is_file():
        for path in out.iterdir():
            # The mark goes last: killed here, the folder can still be emptied.
            if path.name != MARK:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    write_text(out / MARK, "")
