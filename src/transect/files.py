"""Writing files so that a reader never meets half of one: temporary name, flush, rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from transect.errors import TransectError

__all__ = [
    "alone",
    "atomic_path",
    "digest_of",
    "explained",
    "made_path",
    "noted",
    "noted_digests",
    "read_json",
    "safe_join",
    "spreadsheet_safe",
    "user_error",
    "write_json",
    "write_text",
]

NOTES = "files.log"
"""A line of JSON for every file that was written while its folder was ``noted``."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_LONGEST_NAME = 255  # bytes, on the usual file systems
_NOTED: list[Path] = []
"""Folders whose files are noted now, in all threads of this process."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends well.

    The data is flushed to the device before the rename, so a kill at any moment leaves either the
    old file or the new one. If the block raises, the temporary file is removed and ``path`` is
    as it was.

    Args:
        path: Where the file shall be. Its folder is made if missing.

    Yields:
        A path with the same suffix, in the same folder, for the block to write.

    Raises:
        TransectError: If the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise user_error(error, path) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        _note(path, temporary)
        temporary.replace(path)
    except OSError as error:
        raise user_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Note the digest of every file that ``atomic_path`` writes below a folder meanwhile.

    A digest is noted before its file takes its place: whenever the process is killed, the file
    that is there has one of the last two digests of its name.

    Args:
        folder: Where; ``NOTES`` in it grows by a line for every file.
    """
    _NOTED.append(folder.absolute())
    try:
        yield
    finally:
        _NOTED.remove(folder.absolute())


def noted_digests(folder: Path) -> dict[str, tuple[str, ...]]:
    """The last two digests, the newest last, of every file that was noted, by its name.

    Args:
        folder: As given to ``noted``; without ``NOTES`` in it nothing is known.
    """
    found: dict[str, tuple[str, ...]] = {}
    if (folder / NOTES).is_file():
        for line in (folder / NOTES).read_bytes().splitlines():
            with contextlib.suppress(ValueError):  # the torn line of a killed process
                name, digest = json.loads(line)
                found[str(name)] = (*found.get(str(name), ())[-1:], str(digest))
    return found


def _note(path: Path, written: Path) -> None:
    """Note what is about to be called ``path``, in the folder that is noted, if one is."""
    place = path.absolute()
    for folder in _NOTED:
        if place.is_relative_to(folder):
            with written.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            line = json.dumps([place.relative_to(folder).as_posix(), digest])
            with (folder / NOTES).open("ab", buffering=0) as notes:
                # One write, so that processes do not mix; the first break ends a torn line.
                notes.write(f"\n{line}\n".encode())
            return


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for whoever has it; the lock dies with its process.

    Args:
        path: The lock file; made if missing, and left there.

    Raises:
        TransectError: If its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise user_error(error, path) from error
    try:
        with contextlib.suppress(ImportError):  # Windows has no advisory locks
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read once in a process as long as its size and times stay."""
    at = path.stat()
    return _hashed(path, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)


@cache
def _hashed(path: Path, inode: int, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """Hash a file; what tells its states apart is the key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    r"""Write ``text`` as UTF-8 with ``\n`` line ends, whole or not at all."""
    with atomic_path(path) as temporary:
        # A path of this machine may hold bytes that are no UTF-8: they are written as escapes.
        temporary.write_text(text, encoding="utf-8", newline="\n", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, indented, keys in the order given, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        TransectError: If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TransectError(f"{path} is missing. Was this folder written by transect?") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise TransectError(
            f"{path} is not valid JSON: {error}. Restore it or remove it."
        ) from error


def safe_join(root: Path, name: str) -> Path:
    """Join a name from a stranger's file to a folder, refusing every way out of it.

    Args:
        root: The folder that must contain the result.
        name: A relative path with forward slashes, as it stood in a CSV, JSON or archive.

    Returns:
        ``root / name``; it need not exist.

    Raises:
        TransectError: If ``name`` is absolute, climbs out with ``..`` or leads out by a link.

    Example:
        >>> safe_join(Path("survey"), "site/a.png").as_posix()
        'survey/site/a.png'
    """
    clean = name.replace("\\", "/")
    parts = clean.split("/")
    drive = bool(re.match(r"[A-Za-z]:", clean)) or (os.name == "nt" and ":" in clean)
    if not clean or "\0" in clean or clean.startswith("/") or ".." in parts or drive:
        raise TransectError(
            f"{name!r} is not a relative path inside {root}. Use names relative to that folder."
        )
    joined = root / clean
    if not joined.resolve().is_relative_to(root.resolve()):
        raise TransectError(f"{name!r} leads out of {root} through a link. Copy the file instead.")
    return joined


def made_path(folder: Path, name: str, suffix: str) -> Path:
    """Where a file that is made from another one goes: its name below ``folder``, with a suffix.

    A file system allows 255 bytes a name, and an image may use them all: the end of a name that
    would be longer becomes a hash of it.

    Args:
        folder: Of what is made.
        name: Of the image, perhaps without its suffix; forward slashes.
        suffix: With its dot, e.g. ``.npy``.

    Raises:
        TransectError: If the name leads out of the folder.

    Example:
        >>> made_path(Path("out"), "site/a.b", ".png").as_posix()
        'out/site/a.b.png'
        >>> len(made_path(Path("out"), "a" * 251 + ".png", ".npy").name)
        255
    """
    above, slash, last = name.rpartition("/")
    room, raw = _LONGEST_NAME - len(suffix), os.fsencode(last)
    if len(raw) > room:
        kept = raw[: room - 17].decode("utf-8", "ignore")
        last = f"{kept}-{hashlib.sha256(raw).hexdigest()[:16]}"
    return safe_join(folder, f"{above}{slash}{last}{suffix}")


def spreadsheet_safe(text: str) -> str:
    """Prefix a cell that a spreadsheet would run as a formula with an apostrophe.

    Example:
        >>> spreadsheet_safe("=1+1"), spreadsheet_safe("a.png"), spreadsheet_safe("-3.5")
        ("'=1+1", 'a.png', '-3.5')
    """
    if not text or text[0] not in "=+-@\t\r":
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


def explained(error: OSError) -> str:
    """A sentence for an error of the file system that nobody turned into one."""
    path = Path(str(error.filename or "a file"))
    found = user_error(error, path)
    return str(found) if isinstance(found, TransectError) else f"{path}: {error.strerror}."


def user_error(error: OSError, path: Path) -> OSError | TransectError:
    """Turn the errors that a user can mend into a sentence; leave the others as they are."""
    if error.errno in _FULL:
        return TransectError(
            f"the disk of {path.parent} is full, so {path.name} was not written; what was there "
            "is intact. Free some space and repeat the command; a training goes on where it was."
        )
    if error.errno in _FORBIDDEN:
        return TransectError(
            f"{path.parent} cannot be written ({error.strerror}). Choose another folder, or allow "
            "writing to this one."
        )
    if error.errno == errno.ENAMETOOLONG:
        return TransectError(
            f"{path.name} is a longer name than this disk allows. Rename what it is made from."
        )
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return TransectError(f"{path.parent} is not a folder. Choose another place.")
    return error
