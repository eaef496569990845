"""The picture files that annotations speak of, found by the names that formats use."""

from __future__ import annotations

from pathlib import Path

from transect.data.folder import list_pictures
from transect.data.images import image_info
from transect.data.names import Matcher
from transect.errors import TransectError
from transect.types import Problem

__all__ = ["Pictures"]


class Pictures:
    """The pictures of a folder, by the names that other tools give them (see ``names``)."""

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
        self.matcher = Matcher(self.paths, folder=self.folder)
        self._found: dict[str, str | None] = {}
        self._sizes: dict[str, tuple[int, int] | None] = {}

    def find(self, name: str) -> str | None:
        """The name below the folder that another name means; None if none or several fit."""
        if name not in self._found:
            self._found[name] = self.matcher.find(name)
        return self._found[name]

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
