"""What a run keeps does not change by itself: a digest of every file, checked when it is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from transect.errors import TransectError
from transect.files import NOTES, digest_of, noted_digests, read_json, write_json

__all__ = ["MANIFEST", "check_files", "note_files"]

MANIFEST = "files.json"
_NOT_CHECKED = {
    MANIFEST,
    NOTES,
    "album",  # pictures for pages
    "audit",  # the same
    "cache",
    "card.md",
    "figures",
    "catalogue",  # keeps digests of its own, and keypoints check themselves
    "keypoints",
    "log.txt",
    "queries",  # pages
    "report.html",
    "spent.json",
}
"""Parts of a run on which no answer and no score rests, or which check themselves."""
_MAY_GO = {"calibration.json"}
"""What a user may remove to go back to how the run was."""


def note_files(run: Path) -> None:
    """Write the digests of all files that answers and scores rest on.

    Args:
        run: The folder of a finished run.
    """
    write_json(run / MANIFEST, {_name(run, path): digest_of(path) for path in _files(run)})
    (run / NOTES).unlink(missing_ok=True)


def check_files(run: Path, *, lost_ok: bool = False) -> None:
    """Refuse a run of which a file was changed, cut short or lost by something else than transect.

    A finished run has a digest of all its files; what was written before it ended, or after
    (a calibration, an audit), was noted one by one. A run of an earlier version has none of both
    and passes. A file is read once in a process.

    Args:
        run: A run folder.
        lost_ok: Missing files pass: a run that goes on makes them again.

    Raises:
        TransectError: Naming the file and what can be done.
    """
    kept = _manifest(run)
    for name, digest in kept.items():
        if name not in _MAY_GO and not (lost_ok or (run / name).exists()):
            raise TransectError(f"{run / name} is missing. {_advice(name, finished=True)}")
        kept[name] = digest
    for name, digests in noted_digests(run).items():
        kept[name] = (*kept.get(name, ()), *digests)[-2:]
    for name, allowed in kept.items():
        if name.partition("/")[0] in _NOT_CHECKED or not (run / name).exists():
            continue
        try:
            same = digest_of(run / name) in allowed
        except OSError as error:
            advice = _advice(name, finished=(run / MANIFEST).exists())
            raise TransectError(f"{run / name} cannot be read ({error.strerror}). {advice}"
            ) from error  # fmt: skip
        if not same:
            advice = _advice(name, finished=(run / MANIFEST).exists())
            raise TransectError(f"{run / name} was changed after it was written. {advice}")


def _manifest(run: Path) -> dict[str, tuple[str, ...]]:
    """The digest of every file of a finished run; nothing of one that goes on."""
    if not (run / MANIFEST).is_file():
        return {}
    kept = read_json(run / MANIFEST)
    if not isinstance(kept, Mapping):
        raise TransectError(f"{run / MANIFEST} is damaged. Restore it from a copy.")
    return {str(name): (str(digest),) for name, digest in kept.items()}


def _advice(name: str, *, finished: bool) -> str:
    """What can be done about a damaged file."""
    if name == "calibration.json":
        return "Remove it and calibrate again, or restore it from a copy."
    if name in ("recipe.json", "data.json", "environment.json", "folds.csv"):
        return "Restore it from a copy, or train anew with another --out."
    if finished and name.startswith("members/"):
        part = "/".join(name.split("/")[:3])
        return f"Restore it from a copy; or train anew ({part} is what was lost)."
    if finished:
        return "Restore it from a copy, or train anew with another --out."
    return "Restore it from a copy, or remove it and go on with --resume: it is made again."


def _files(run: Path) -> Iterator[Path]:
    """Files of a run that stay as they are, sorted."""
    for path in sorted(run.rglob("*")):
        parts = path.relative_to(run).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and parts[0] not in _NOT_CHECKED:
            yield path


def _name(run: Path, path: Path) -> str:
    return path.relative_to(run).as_posix()
