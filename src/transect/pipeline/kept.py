"""What a finished run keeps does not change: a digest of every file, checked when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transect.errors import TransectError
from transect.files import digest_of, read_json, write_json

__all__ = ["MANIFEST", "check_files", "note_files"]

MANIFEST = "files.json"
_CHANGING = {
    MANIFEST,
    "album",
    "audit",
    "audit.json",
    "cache",
    "calibration.json",
    "card.md",
    "figures",
    "catalogue",  # keeps digests of its own
    "keypoints",
    "log.txt",
    "queries",
    "report.html",
    "spent.json",
}
"""Parts of a run that change after training, or that say nothing which an answer rests on."""


def note_files(run: Path) -> None:
    """Write the digests of all files that answers and scores rest on.

    Args:
        run: The folder of a finished run.
    """
    write_json(run / MANIFEST, {_name(run, path): digest_of(path) for path in _files(run)})


def check_files(run: Path, *, lost_ok: bool = False) -> None:
    """Refuse a finished run of which a file was changed, cut short or lost.

    A run that is not finished, or of an earlier version, has no digests and passes. A file is read
    once in a process.

    Args:
        run: A run folder.
        lost_ok: Missing files pass: a run that goes on makes them again.

    Raises:
        TransectError: Naming the file and what can be done.
    """
    if not (run / MANIFEST).is_file():
        return
    kept = read_json(run / MANIFEST)
    if not isinstance(kept, dict):
        raise TransectError(f"{run / MANIFEST} is damaged. Restore it from a copy.")
    for name, digest in kept.items():
        path = run / name
        if lost_ok and not path.exists():
            continue
        try:
            same = digest_of(path) == digest
        except OSError as error:
            raise TransectError(
                f"{path} cannot be read ({error.strerror}). {_advice(name)}"
            ) from error
        if not same:
            raise TransectError(f"{path} was changed after training ended. {_advice(name)}")


def _advice(name: str) -> str:
    """What can be done about a damaged file."""
    if name.startswith("members/"):
        part = "/".join(name.split("/")[:3])
        return f"Restore it from a copy; or train anew ({part} is what was lost)."
    return "Restore it from a copy, or train anew."


def _files(run: Path) -> Iterator[Path]:
    """Files of a run that stay as they are, sorted."""
    for path in sorted(run.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(run).parts)
        if path.is_file() and not hidden and path.relative_to(run).parts[0] not in _CHANGING:
            yield path


def _name(run: Path, path: Path) -> str:
    return path.relative_to(run).as_posix()
