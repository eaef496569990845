"""Which picture a name means that another tool wrote: one matcher for all readers and tables."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from transect.data.images import IMAGE_SUFFIXES

__all__ = ["Matcher", "Matches", "bare_stem", "clean_name", "output_stems"]

_LONGEST = 4096  # characters; beyond it a text is no file name
_SHORTENED = re.compile(r"\d([.,]\d+)?E\+\d+", re.IGNORECASE)
_DATED = re.compile(r"(\d{1,2}|\d{4})[-/ ][a-z]{3}|[a-z]{3}[-/ ](\d{2}|\d{4})", re.IGNORECASE)
_UPLOADED = re.compile(
    r"(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{8})[-_](.+)"
)
"""What Label Studio and file stores put before a name: eight hexadecimal digits, or a UUID."""
_ROBOFLOW = re.compile(r"(.+)_(?:jpe?g|png|tiff?|bmp|webp)\.rf\.[0-9a-z]{8,40}")
"""``a_jpg.rf.0123abcd``: Roboflow's export of ``a.jpg``."""


@dataclass(frozen=True)
class Matches:
    """What many names mean together.

    Attributes:
        found: Name as written to the image it means.
        told: The part of ``found`` that was not taken as written: how it was read.
        refused: Names that mean no image, each with a clause that completes "which ...".
        doubtful: Images that a refused name may have meant: what is known of them may lack
            something, so they are not to be taken for empty.
    """

    found: Mapping[str, str]
    told: Mapping[str, str]
    refused: Mapping[str, str]
    doubtful: frozenset[str]


class Matcher:
    r"""Finds images by the names that tools, spreadsheets and other computers give them.

    In this order: the path below the folder; a path whose tail is an image's path, or the other
    way round, where exactly one image fits; both first as written, then with another case,
    without suffix, without what an upload added, and without the leading zeros that spreadsheets
    drop. Unicode forms, backslashes, ``./``, URLs and percent signs make no difference. Where
    images lie in folders, a path that names another folder means none of them, even if the base
    name is the same.

    Example:
        >>> matcher = Matcher(["S1/IMG_1.jpg", "S1/000123.png", "b ä.jpg"])
        >>> matcher.find("C:\\photos\\S1\\IMG_1.JPG"), matcher.find("123")
        ('S1/IMG_1.jpg', 'S1/000123.png')
        >>> matcher.find("S2/IMG_1.jpg"), matcher.why("S2/IMG_1.jpg")
        (None, 'is not among the images that can be read (S1/IMG_1.jpg lies in another folder)')
    """

    def __init__(self, names: Iterable[str], *, folder: Path | None = None) -> None:
        """Take the names to be found.

        Args:
            names: Paths below a folder, forward slashes.
            folder: Where they lie; paths that name it, too, are understood.
        """
        self.names = tuple(dict.fromkeys(names))
        self._known = frozenset(self.names)
        above = folder.resolve().parts[1:] if folder is not None else ()
        self._above = tuple(_fold_case(part) for part in above)
        self._flat = not any("/" in name for name in self.names)
        self._indexes: dict[int, tuple[_Index, _Index]] = {}

    def find(self, text: str) -> str | None:
        """The image that one name means, or None; what other names mean is not looked at."""
        return self._read(text).name

    def why(self, text: str) -> str:
        """Why a name means no image, or how it was read; "" if it stands as written."""
        return self._read(text).how

    def all(self, texts: Iterable[str]) -> Matches:
        """Find many names at once; an image that several of them mean belongs to none of them.

        A name that is an image's own path keeps it; others that mean it, too, are refused.
        """
        written = dict.fromkeys(texts)
        readings = {text: self._read(text) for text in written}
        owners: dict[str, list[str]] = defaultdict(list)
        for text, reading in readings.items():
            if reading.name is not None:
                owners[reading.name].append(text)
        found, refused, doubtful = {}, {}, set()
        for name, claims in owners.items():
            kept = claims if len(claims) == 1 else _undisputed(claims, readings)
            found.update(dict.fromkeys(kept, name))
            for text in claims:
                if text in kept:
                    continue
                other = next(t for t in claims if _path_of(t) != _path_of(text))
                refused[text] = f"would mean {name}, as {other!r} does"
                if not kept or not readings[text].elsewhere:
                    doubtful.add(name)
        for text, reading in readings.items():
            if reading.name is None:
                refused[text] = reading.how
                doubtful.update(reading.options)
        doubtful |= self._near(refused, set(found.values()))
        told = {text: readings[text].how for text in found if readings[text].how}
        order = {text: refused[text] for text in written if text in refused}
        return Matches(found, told, order, frozenset(doubtful))

    def _read(self, text: str) -> _Reading:
        """One name, with how it was found or why it was not."""
        if text in self._known:
            return _Reading(text, exact=True)
        paths = dict.fromkeys([_path_of(text), unquote(_path_of(text))])
        for folds, how in _FOLDS:
            for path in paths:
                for mode, lookup in self._lookups(path):
                    options = next((o for fold in folds if (o := lookup(fold))), ())
                    if len(options) == 1:
                        how, exact = how or _how(path, options[0], mode), _same(path, options[0])
                        return _Reading(options[0], how, mode, exact=exact and mode == "path")
                    if options:
                        both = " or ".join(options[:2])
                        more = f" or {len(options) - 2} more" if len(options) > 2 else ""
                        return _Reading(None, f"may mean {both}{more}", options=options)
        return _Reading(None, self._why_not(text))

    def _lookups(self, path: str) -> list[tuple[str, Callable[[int], Sequence[str]]]]:
        """The ways to compare a path with the images', the surest first."""
        parts = path.split("/")
        ways: list[tuple[str, Callable[[int], Sequence[str]]]] = []
        ways.append(("path", lambda fold: self._index(fold)[0].get(_folded(path, fold), ())))
        for start in range(1, len(parts)):
            tail, head = "/".join(parts[start:]), parts[:start]
            inside = self._above[-len(head) :] == tuple(map(_fold_case, head))
            # A file beside the folders is not what a path into some other folder means.
            if inside or self._flat or start < len(parts) - 1:
                mode = "path" if inside else "tail"
                ways.append((mode, lambda f, t=tail: self._index(f)[0].get(_folded(t, f), ())))  # type: ignore[misc]
        if not self._flat:
            ways.append(("below", lambda f: self._index(f)[1].get(_folded(path, f), ())))
        return ways

    def _index(self, fold: int) -> tuple[_Index, _Index]:
        """Images by their folded path, and by every tail of it; made when first needed."""
        if fold not in self._indexes:
            whole: dict[str, list[str]] = defaultdict(list)
            tails: dict[str, list[str]] = defaultdict(list)
            for name in self.names:
                key = _folded(name, fold)
                whole[key].append(name)
                while key := key.partition("/")[2]:
                    tails[key].append(name)
            self._indexes[fold] = (dict(whole), dict(tails))
        return self._indexes[fold]

    def _why_not(self, text: str) -> str:
        """The clause for a name that means nothing."""
        path = _path_of(text)
        if _SHORTENED.fullmatch(path):
            return "is a number that a spreadsheet shortened, so its digits are lost"
        if _DATED.fullmatch(path):
            return "is a date that a spreadsheet may have made of a name such as 3-5"
        what = "is not among the images that can be read"
        base = _folded(path.rpartition("/")[2], 3)
        same = self._index(3)[1].get(base, ()) if "/" in path else ()
        if same:
            return f"{what} ({same[0]} lies in another folder)"
        return what

    @cached_property
    def _by_digits(self) -> Mapping[tuple[str, ...], Sequence[str]]:
        """Images by the numbers in their names."""
        found: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in self.names:
            found[_digits(name)].append(name)
        return found

    def _near(self, refused: Iterable[str], claimed: set[str]) -> set[str]:
        """Unclaimed images that a refused name may mean after all: the same numbers, like letters.

        A refused path into another folder is no doubt about folders that some name does mean.
        """
        settled = {posixpath.dirname(name) for name in claimed}
        near: set[str] = set()
        for text in refused:
            path = _path_of(text)
            if _SHORTENED.fullmatch(path) or _DATED.fullmatch(path):
                near.update(n for n in self.names if n not in claimed and not _letters(n))
                continue
            folder, letters = posixpath.dirname(path), _letters(path)
            for name in self._by_digits.get(_digits(path), ())[:1000]:
                if name in claimed or name in near:
                    continue
                other = posixpath.dirname(name)
                apart = folder and _fold_case(folder) != _fold_case(other) and other in settled
                if not apart and _alike(letters, _letters(name)):
                    near.add(name)
        return near


def clean_name(text: str) -> str:
    r"""The path that a tool's name of a picture gives: no host, drive, query, ``.`` or ``..``.

    Example:
        >>> clean_name("..\\media\\4\\a.png"), clean_name("/data/local-files/?d=s%201/a.png")
        ('media/4/a.png', 's 1/a.png')
        >>> clean_name("https://x.org/b/a%20b.jpg?sig=1"), clean_name("C:\\photos\\a.jpg")
        ('b/a b.jpg', 'photos/a.jpg')
    """
    path = text.strip()[:_LONGEST].replace("\\", "/")
    if "?d=" in path:
        path = (parse_qs(path.split("?", 1)[1]).get("d") or [path])[0].replace("\\", "/")
    elif re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", path):
        path = unquote(_url_path(path))
    path = re.sub(r"^[a-zA-Z]:(?=/)", "", path)
    path = posixpath.normpath(path.lstrip("/") or ".")
    while path.startswith("../"):
        path = path[3:]
    return unicodedata.normalize("NFC", path)


def bare_stem(name: str) -> str:
    """The last part of a path without the suffix of a picture.

    Example:
        >>> bare_stem("site/a.b.PNG"), bare_stem("site/a.b")
        ('a.b', 'a.b')
    """
    return _without_suffix(posixpath.basename(name))


def output_stems(names: Iterable[str]) -> dict[str, str]:
    """How files made from each image are called: its path without suffix, if no other has it.

    Args:
        names: All the images of one output folder.

    Returns:
        Name to path without suffix; images that share one keep theirs (``a.jpg``, ``a.png``).

    Example:
        >>> output_stems(["a.jpg", "a.png", "s/b.jpg"])
        {'a.jpg': 'a.jpg', 'a.png': 'a.png', 's/b.jpg': 's/b'}
    """
    every = list(names)
    # Compared without case: the folder may be copied to a disk that knows none.
    times = Counter(_fold_case(_without_suffix(name)) for name in every)
    stems = {}
    for name in every:
        stem = _without_suffix(name)
        shared = times[_fold_case(stem)] > 1 or (stem != name and _fold_case(name) in times)
        stems[name] = name if shared else stem
    return stems


# --- how names are compared --------------------------------------------------------------------

_Index = Mapping[str, Sequence[str]]
_FOLDS: tuple[tuple[tuple[int, ...], str], ...] = (
    ((0, 1, 2, 3), ""),
    ((4,), "without what an upload added to the name"),
    ((5,), "with the leading zeros that a spreadsheet drops"),
)
"""Steps of likeness, the surest first; the numbers are those of ``_folded``."""


@dataclass(frozen=True)
class _Reading:
    """What one name means, how it was found (or why not), and what else it may mean."""

    name: str | None
    how: str = ""
    mode: str = "path"
    options: Sequence[str] = ()
    exact: bool = False

    @property
    def elsewhere(self) -> bool:
        """Whether it names a folder that the image does not lie in."""
        return self.mode == "tail"


def _undisputed(claims: Sequence[str], readings: Mapping[str, _Reading]) -> list[str]:
    """Of names that mean one image, those that keep it: one path, or the image's own."""
    own = [text for text in claims if readings[text].exact]
    same = len({_path_of(text) for text in claims}) == 1
    return own or (list(claims) if same else [])


def _how(path: str, name: str, mode: str) -> str:
    """How a path was read as a name; "" if nothing can be wrong about it."""
    if mode == "tail":
        return "by the end of its path"
    if mode == "below" and "/" not in path and "/" in name:
        return "by its last part, which one image has"
    if _same(path, name):
        return ""
    return "with another case" if _folded(path, 2) == _folded(name, 2) else "with another suffix"


def _same(path: str, name: str) -> bool:
    """Whether a path is an image's own, perhaps with folders above it or without suffix."""
    base = unicodedata.normalize("NFC", name)
    options = (base, _without_suffix(base))
    return path in options or path.endswith(tuple(f"/{option}" for option in options))


def _path_of(text: str) -> str:
    """``clean_name``, without ``images/`` in front."""
    return clean_name(text).removeprefix("images/")


def _url_path(text: str) -> str:
    """The path of a URL; "" if it is none after all."""
    try:
        return urlsplit(text).path
    except ValueError:  # e.g. a bracket that opens an address and does not close it
        return ""


def _folded(path: str, fold: int) -> str:
    """A path made comparable: 0 as it is, 1 suffix case, 2 case, 3 no suffix, 4 upload, 5 zeros."""
    path = unicodedata.normalize("NFC", path)
    if fold == 0:
        return path
    if fold == 1:
        stem = _without_suffix(path)
        return stem + path[len(stem) :].lower()
    path = _fold_case(path)
    if fold == 2:
        return path
    folder, slash, base = _without_suffix(path).rpartition("/")
    if fold == 4:
        base = _before_upload(base)
    elif fold == 5:
        digits = base.removesuffix(".0")
        base = digits.lstrip("0") or "0" if digits.isdecimal() else base
    return f"{folder}{slash}{base}"


def _before_upload(stem: str) -> str:
    """A folded stem as it was before a tool took the picture in.

    Label Studio also writes an underscore for a blank and drops other signs (Django's
    ``get_valid_filename``).
    """
    if found := _ROBOFLOW.fullmatch(stem):
        stem = found[1]
    if found := _UPLOADED.fullmatch(stem):
        stem = found[1]
    return re.sub(r"[^-\w.]", "", stem.replace(" ", "_"))


def _without_suffix(path: str) -> str:
    """A path without the suffix of a picture."""
    stem, suffix = posixpath.splitext(path)
    return stem if suffix.lower() in IMAGE_SUFFIXES else path


def _fold_case(text: str) -> str:
    """Text whose case and Unicode form make no difference."""
    return unicodedata.normalize("NFC", text).casefold()


def _digits(name: str) -> tuple[str, ...]:
    """The numbers in the last part of a name, without leading zeros."""
    return tuple(d.lstrip("0") for d in re.findall(r"\d+", bare_stem(name)))


def _letters(name: str) -> str:
    """The rest of it."""
    stem = re.sub(r"\.[^\W\d]{3,4}$", "", posixpath.basename(name))
    return re.sub(r"[\W\d_]+", "", _fold_case(stem))


def _alike(one: str, other: str) -> bool:
    """Whether letters may be the same but for a slip of the pen."""
    return one == other or SequenceMatcher(None, one, other).ratio() >= 0.7  # our guess
