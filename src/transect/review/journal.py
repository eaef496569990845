"""The journal of a person: every action is one checked line, on disk before it is answered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transect.errors import TransectError
from transect.files import user_error

__all__ = ["Journal", "Read", "read_journal"]

_START = "0" * 16


@dataclass(frozen=True)
class Read:
    """What a journal file holds.

    Attributes:
        entries: The actions, in order.
        sum: Of the last whole line.
        size: Bytes up to its end.
        torn: Bytes after it: a line that was being written when the process died.
    """

    entries: tuple[dict[str, Any], ...]
    sum: str = _START
    size: int = 0
    torn: int = 0


class Journal:
    """Appends actions to a file; what was half written at the end is cut off when it opens.

    Attributes:
        path: The file.
        read: What it held when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Open or begin a journal.

        Raises:
            TransectError: If the file is damaged before its last line, or cannot be written.
        """
        self.path = path
        self.read = read_journal(path)
        self._sum = self.read.sum
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            os.truncate(self._file, self.read.size)
            os.lseek(self._file, 0, os.SEEK_END)
            _keep_name(path.parent)
        except OSError as error:
            raise user_error(error, path) from error

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one action; it is on the disk when this returns.

        Raises:
            TransectError: If the disk is full; the journal then ends as before.
        """
        body = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        end = os.lseek(self._file, 0, os.SEEK_END)
        total = _sum_of(self._sum, body)
        line = memoryview(f"{total} {body}\n".encode())
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as error:
            os.truncate(self._file, end)
            raise user_error(error, self.path) from error
        self._sum = total

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def read_journal(path: Path) -> Read:
    """Read a journal and check every line against its sum, which covers all lines before it.

    Args:
        path: The file; if there is none, nothing happened yet.

    Returns:
        The actions, and how many bytes of a torn last line were left out.

    Raises:
        TransectError: If a line before the last is damaged, missing or out of order.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Read(())
    except OSError as error:
        raise TransectError(f"{path} cannot be read ({error.strerror}). Restore it.") from error
    entries: list[dict[str, Any]] = []
    total, size = _START, 0
    lines = list(_lines(data))
    for number, line in enumerate(lines, start=1):
        entry = _checked(line, total)
        if entry is None:
            if number < len(lines):
                raise TransectError(
                    f"{path} line {number} is damaged. Restore the file from a copy, or cut it "
                    f"before that line: the {number - 1} actions above are whole."
                )
            return Read(tuple(entries), total, size, len(data) - size)
        entries.append(entry)
        total = line[:16].decode()
        size += len(line)
    return Read(tuple(entries), total, size)


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines with their ends; only a line feed ends one."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def _checked(line: bytes, before: str) -> dict[str, Any] | None:
    """The action of a line, or None if the line is not whole."""
    if not line.endswith(b"\n") or line[16:17] != b" ":
        return None
    try:
        body = line[17:-1].decode()
        if _sum_of(before, body) != line[:16].decode():
            return None
        return dict(json.loads(body))
    except ValueError:
        return None


def _sum_of(before: str, body: str) -> str:
    """The sum of a line: half a SHA-256 over the sum before it and what it says."""
    return hashlib.sha256(f"{before} {body}".encode()).hexdigest()[:16]


def _keep_name(folder: Path) -> None:
    """See to it that a new file's name outlives a power cut, where folders can be synchronised."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
