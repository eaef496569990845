"""One self-contained page: sections of words, numbers, charts and pictures, safe and offline.

Everything that comes from outside (names of files, classes, animals) is escaped by the template;
the only text taken as it is are drawings of type ``Svg``, which our own charts make. The page has
no script, and its content security policy forbids any, as well as every address on a network.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.files import write_text
from transect.report.svg import Svg

__all__ = ["LIMIT_BYTES", "Page"]

LIMIT_BYTES = 3_000_000
"""Largest page; pictures shrink until it fits. Mail and forums take it."""

_LEVELS = (
    (720, 86), (576, 84), (448, 82), (352, 80), (288, 76), (224, 72), (176, 66), (128, 60), (96, 50)
)  # fmt: skip
"""Longest side and JPEG quality, tried in order until the page fits."""

_KINDS = ("info", "good", "warn", "bad")
_MOST_ROWS = 500
_LONGEST_NUMBER = 32
_NUMBER = re.compile(
    r"^[-+−±<>≤≥~]*\s*\d[\d\s.,_]*(e[-+]?\d+)?\s*(%|x|×|s|ms|px|MB|GB|MiB|GiB|h|min)?"
    r"(\s*(±|\+/-|to|of|–|-|/|\(|\[)\s*[-+−±]?\d.*)?$"
)
_BESIDE = re.compile(r"(\.\./)?[\w][\w. -]*(/[\w][\w. -]*)*\.html")


@dataclass
class _Section:
    """A heading, a sentence on how to read what follows, and the blocks."""

    title: str
    lead: str
    blocks: list[tuple[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Words:
    text: str
    kind: str = ""


@dataclass(frozen=True)
class _Facts:
    facts: list[tuple[str, str, str]]


@dataclass(frozen=True)
class _Figure:
    drawing: Any
    title: str
    caption: str


@dataclass(frozen=True)
class _Figures:
    figures: list[_Figure]


@dataclass(frozen=True)
class _Key:
    entries: list[tuple[str, str]]


@dataclass(frozen=True)
class _Links:
    entries: list[tuple[str, str]]


@dataclass
class _Picture:
    """A picture and, once the page is made, its encoded form."""

    array: NDArray[np.uint8]
    caption: str
    alt: str
    uri: str = ""
    size_hw: tuple[int, int] = (0, 0)


@dataclass
class _Pictures:
    pictures: list[_Picture]
    size: str
    dropped: int = 0


@dataclass(frozen=True)
class _Table:
    headers: list[str]
    rows: list[list[str]]
    right: list[bool]
    caption: str
    best: int | None
    folded: str


class Page:
    """A page under construction; every method gives it back, so that calls can be chained.

    What is added before the first section stands in the head of the page.

    Example:
        >>> page = Page("Nuclei").section("Score", lead="Higher is better.")
        >>> text = page.table(["metric", "value"], [["Dice", 0.9]]).text("Done <3").html()
        >>> "Done &lt;3" in text and '>0.9</td>' in text
        True
    """

    def __init__(self, title: str, *, subtitle: str = "", footer: str = "") -> None:
        """Begin a page.

        Args:
            title: Of the page and its window.
            subtitle: One line below.
            footer: One line at the end.
        """
        self.title, self.subtitle, self.footer = str(title), str(subtitle), str(footer)
        self.head: list[tuple[str, Any]] = []
        self.sections: list[_Section] = []
        self.drawings: list[tuple[str, Svg]] = []

    def section(self, title: str, *, lead: str = "") -> Page:
        """Begin a section.

        Args:
            title: Stands in the table of contents, too.
            lead: One sentence: what you see and how to read it.
        """
        self.sections.append(_Section(str(title), str(lead)))
        return self

    def heading(self, text: str) -> Page:
        """A small heading within the section."""
        return self._add("heading", _Words(str(text)))

    def text(self, text: str) -> Page:
        """A paragraph."""
        return self._add("text", _Words(str(text)))

    def note(self, text: str, *, kind: str = "info") -> Page:
        """A sentence that stands out.

        Args:
            text: The sentence.
            kind: ``info``, ``good``, ``warn`` or ``bad``.
        """
        if kind not in _KINDS:
            raise unknown_name("the kind of a note", kind, _KINDS)
        return self._add("note", _Words(str(text), kind))

    def code(self, text: str) -> Page:
        """Lines to be copied, such as the command that repeats the run."""
        return self._add("code", _Words(str(text)))

    def facts(self, facts: Iterable[Sequence[Any]]) -> Page:
        """Large numbers with their names.

        Args:
            facts: (name, value) or (name, value, small print) each.
        """
        rows = [(*(_shown(v) for v in fact), "")[:3] for fact in facts]
        return self._add("facts", _Facts([(r[0], r[1], r[2]) for r in rows]))

    def figure(self, drawing: Svg, caption: str = "", *, title: str = "") -> Page:
        """A chart; charts that follow each other stand side by side where there is room.

        Args:
            drawing: From ``report.charts``.
            caption: Below.
            title: Above; the drawing's own by default.

        Raises:
            TransectError: If the drawing is not one of ours.
        """
        if not isinstance(drawing, Svg):
            raise TransectError(
                f"a figure must be a drawing of transect.report.charts; got {type(drawing)}. "
                "Use pictures() for arrays."
            )
        from markupsafe import Markup

        # Svg is escaped when made
        figure = _Figure(Markup(drawing), str(title) or drawing.heading, str(caption))
        self.drawings.append((figure.title, drawing))
        blocks = self._blocks()
        if blocks and blocks[-1][0] == "figures":
            blocks[-1][1].figures.append(figure)
            return self
        return self._add("figures", _Figures([figure]))

    def key(self, entries: Iterable[tuple[str | Sequence[int], str]]) -> Page:
        """What the colours of the pictures mean.

        Args:
            entries: Colour, as (red, green, blue) 0-255 or ``#rrggbb``, and its word.
        """
        return self._add("key", _Key([(_hex(colour), str(word)) for colour, word in entries]))

    def links(self, links: Iterable[tuple[str, str]]) -> Page:
        """Ways to pages that lie beside this one.

        Args:
            links: Address, relative to this page, and its word.

        Raises:
            TransectError: On an address that leads elsewhere.
        """
        listed = [(str(address), str(word)) for address, word in links]
        for address, _ in listed:
            if not _BESIDE.fullmatch(address):
                raise TransectError(
                    f"a page links only to pages beside it; got {address!r}. Give a relative path."
                )
        return self._add("links", _Links(listed))

    def pictures(
        self,
        pictures: Iterable[tuple[NDArray[np.uint8], str]],
        *,
        large: bool = False,
        wide: bool = False,
    ) -> Page:
        """Pictures in a grid; they are shrunk until the page keeps within its limit.

        Args:
            pictures: (H, W, 3) or (H, W) uint8 arrays with their captions.
            large: Two or three in a row instead of four.
            wide: One in a row.
        """
        kept = []
        for array, caption in pictures:
            if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
                raise TransectError(
                    f"pictures must be (H, W, 3) or (H, W) uint8; got {array.shape} "
                    f"{array.dtype}. Use report.pictures.shown."
                )
            kept.append(_Picture(array, _shortened(str(caption)), str(caption)))
        return self._add("pictures", _Pictures(kept, "wide" if wide else "large" if large else ""))

    def table(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        caption: str = "",
        best: int | None = None,
        folded: str = "",
    ) -> Page:
        """A table; columns of numbers are set to the right.

        Args:
            headers: Of the columns.
            rows: Text or numbers; numbers are shown with four digits, None as a dash. Rows past
                500 are left out, and that is said.
            caption: Below.
            best: The row that is set bold.
            folded: If given, the table is closed at first, behind these words.
        """
        raw = [list(row) for row in rows]
        kept = [[_shown(cell) for cell in row] for row in raw[:_MOST_ROWS]]
        if any(len(row) != len(headers) for row in kept):
            raise TransectError(f"every row of a table must have {len(headers)} cells.")
        if len(raw) > len(kept):
            caption = f"{caption} {len(raw) - len(kept)} more rows are not shown.".strip()
        right = [
            bool(kept) and all(_is_number(row[c]) or row[c] in ("", "–") for row in kept)
            for c in range(len(headers))
        ]
        titles = [str(header) for header in headers]
        return self._add("table", _Table(titles, kept, right, str(caption), best, str(folded)))

    def html(self, *, limit_bytes: int = LIMIT_BYTES) -> str:
        """The page as text.

        Args:
            limit_bytes: Of its UTF-8 form. Pictures are encoded smaller and smaller until it
                fits; if the smallest ones do not fit, the last ones are left out, and the page
                says how many.
        """
        groups = [
            block
            for blocks in [self.head, *(section.blocks for section in self.sections)]
            for kind, block in blocks
            if kind == "pictures"
        ]
        everything = [list(group.pictures) for group in groups]
        for group in groups:
            group.pictures, group.dropped = [], 0
        room = limit_bytes - len(self._rendered().encode()) - 200
        for group, pictures in zip(groups, everything, strict=True):
            group.pictures = pictures
        _encode_within(groups, room)
        text = self._rendered()
        for group, pictures in zip(groups, everything, strict=True):
            group.pictures = pictures
        return text

    def write(self, path: Path, *, limit_bytes: int = LIMIT_BYTES) -> Path:
        """Write the page, whole or not at all.

        Args:
            path: The ``.html`` file.
            limit_bytes: As in ``html``.

        Returns:
            The path.
        """
        write_text(path, self.html(limit_bytes=limit_bytes))
        return path

    def _blocks(self) -> list[tuple[str, Any]]:
        return self.sections[-1].blocks if self.sections else self.head

    def _add(self, kind: str, block: Any) -> Page:
        self._blocks().append((kind, block))
        return self

    def _rendered(self) -> str:
        """Fill the template."""
        import jinja2
        from markupsafe import Markup

        here = Path(__file__).parent
        style = (here / "page.css").read_text(encoding="utf-8")
        template = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined
        ).from_string((here / "page.html").read_text(encoding="utf-8"))
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        return template.render(
            page=self, style=Markup(style), style_hash=Markup(f"sha256-{digest}")
        )


def _encode_within(groups: list[_Pictures], room: int) -> None:
    """Encode all pictures at the largest level that fits, else drop the last ones."""
    pictures = [picture for group in groups for picture in group.pictures]
    if not pictures:
        return
    for longest_px, quality in _LEVELS:
        used = 0
        for picture in pictures:
            picture.uri, picture.size_hw = _encoded(picture.array, longest_px, quality)
            used += _bytes_of(picture)
            if used > room:
                break
        else:
            return
    used = 0
    for group in groups:
        kept = []
        for picture in group.pictures:
            used += _bytes_of(picture) if picture.uri else room + 1
            if used <= room:
                kept.append(picture)
        group.dropped = len(group.pictures) - len(kept)
        group.pictures = kept


def _bytes_of(picture: _Picture) -> int:
    """What a picture takes in the page, its caption written twice and escaped."""
    return len(picture.uri) + 6 * len((picture.caption + picture.alt).encode()) + 160


def _encoded(
    array: NDArray[np.uint8], longest_px: int, quality: int
) -> tuple[str, tuple[int, int]]:
    """A picture as a data address: PNG if it is small and has few colours, else JPEG."""
    from PIL import Image

    image = Image.fromarray(array).convert("RGB")
    scale = longest_px / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    kind = "jpeg"
    if image.getcolors(256) is not None:
        kind = "png"
        image.save(stream, "PNG")  # optimised is 4 % smaller and takes four times as long
    else:
        # Not optimised: Pillow's buffer is too small for that on noisy pictures, and it raises.
        image.save(stream, "JPEG", quality=quality, subsampling=0)
    data = base64.b64encode(stream.getvalue()).decode()
    return f"data:image/{kind};base64,{data}", (image.height, image.width)


def _shown(value: Any) -> str:
    """A cell: numbers with four digits, thousands parted, None and nan as a dash."""
    if value is None:
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}" if abs(int(value)) >= 10_000 else str(int(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isnan(number):
            return "–"
        return f"{number:,.0f}" if 1e4 <= abs(number) < 1e15 else f"{number:.4g}"
    return str(value)


def _is_number(cell: str) -> bool:
    """Whether a cell is a number, perhaps with its interval, and not a sentence."""
    return len(cell) <= _LONGEST_NUMBER and _NUMBER.match(cell) is not None


def _shortened(text: str) -> str:
    """Words longer than 26 letters (names of files) lose their middle."""
    return re.sub(r"\S{27,}", lambda word: f"{word[0][:11]}…{word[0][-12:]}", text)


def _hex(colour: str | Sequence[int]) -> str:
    """A colour as ``#rrggbb``."""
    if not isinstance(colour, str):
        return "#" + "".join(f"{int(part):02x}" for part in colour)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise TransectError(f"a colour must be (r, g, b) or '#rrggbb'; got {colour!r}.")
    return colour
