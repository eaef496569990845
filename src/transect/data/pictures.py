"""The picture files that annotations speak of, found by the names that formats use."""

from __future__ import annotations

import posixpath
from pathlib import Path

from transect.data.folder import list_pictures, stem_of
from transect.data.images import image_info
from transect.errors import TransectError
from transect.types import Problem

__all__ = ["Pictures"]


class Pictures:
    """The picture files that annotations speak of, found by the names that formats use."""

    def __init__(self, folder: Path) -> None:
        """List a folder of pictures, or a survey with ``images/``.

        Raises:
            TransectError: If it is no folder.
        """
        inner = folder / "images"
        self.folder = inner if inner.is_dir() else folder
        if not self.folder.is_dir():
            raise TransectError(f"{folder} is not a folder. Name the folder of the pictures.")
        self.paths, self.problems = list_pictures(self.folder)
        self._keys: dict[str, str | None] = {}
        for name in self.paths:
            base = posixpath.basename(name)
            for alias in {name, stem_of(name), base, stem_of(base)}:
                self._keys[alias] = None if alias in self._keys else name
        self._keys.update({name: name for name in self.paths})
        self._sizes: dict[str, tuple[int, int] | None] = {}

    def find(self, name: str) -> str | None:
        """The name below the folder that another name means; None if none or several fit.

        The suffix and leading folders may be missing or differ, and Label Studio's upload prefix
        (eight hexadecimal digits and a dash) is passed over.
        """
        clean = name.replace("\\", "/").removeprefix("./").removeprefix("images/")
        base = posixpath.basename(clean)
        for option in (clean, stem_of(clean), base, stem_of(base)):
            if found := self._keys.get(option):
                return found
        if len(base) > 9 and base[8] == "-" and set(base[:8]) <= set("0123456789abcdef"):
            return self.find(base[9:])
        return None

    def size(self, name: str) -> tuple[int, int] | None:
        """(height, width) of the picture that ``name`` means, or None if there is none readable."""
        key = self.find(name)
        if key is None:
            return None
        if key not in self._sizes:
            try:
                self._sizes[key] = image_info(self.paths[key])[0]
            except TransectError as error:
                self.problems.append(Problem(key, str(error)))
                self._sizes[key] = None
        return self._sizes[key]

    def orientation(self, name: str) -> int:
        """The EXIF orientation of a picture, 1 to 8; 1 where it tells none."""
        from PIL import Image

        try:
            with Image.open(self.paths[name]) as image:
                return int(image.getexif().get(0x0112, 1))
        except Exception:  # decoders may raise anything, and then nothing is to be turned
            return 1
