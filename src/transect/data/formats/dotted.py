"""Dotted photos: a second copy of every picture with a coloured dot on each animal.

The dots are where the copies differ and the copy has a dot's colour. Follows the extraction that
@threeplusone published for the sea-lion competition (sealionengine v0.4), its numbers included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.cells import numbers
from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.formats.head import Head
from transect.data.images import read_image
from transect.data.tables import read_table
from transect.errors import TransectError

__all__ = [
    "NAME",
    "SEA_LIONS",
    "DotRule",
    "find_dots",
    "matches",
    "pair_of",
    "plain_folder",
    "read",
]

NAME = "dotted"
SEA_LIONS: Mapping[str, tuple[int, int, int]] = {
    "adult_males": (243, 8, 5),
    "subadult_males": (244, 8, 242),
    "adult_females": (87, 46, 10),
    "juveniles": (25, 56, 176),
    "pups": (38, 174, 21),
}
"""Dot colours of the sea-lion competition, RGB."""
_PLAIN = ("train", "images", "plain", "original")
_DOTTED = ("traindotted", "dotted", "dots", "images_dotted")


@dataclass(frozen=True)
class DotRule:
    """What counts as a dot; the numbers are sealionengine's unless said otherwise.

    Attributes:
        colours: Class to RGB.
        difference: Least change of the most changed channel.
        distance: Largest Euclidean distance to the colour.
        area_px: Smallest and largest area inside the contour, in square pixels.
        masked_sum: Pixels of the dotted copy whose channels add up to less are blacked out.
        exposure: Copies whose brightness differs by more than this factor are equalised.
        mismatch: Mean change, summed over the channels, above which the copies are not of one
            picture.
        line_classes: Dots of these are refused if more than 8 of the 9 x 9 x 3 values around
            them are 0 in the plain picture: the ends of red lines under a black-out.
    """

    colours: Mapping[str, tuple[int, int, int]] = field(default_factory=lambda: dict(SEA_LIONS))
    difference: int = 16
    distance: float = 32.0
    area_px: tuple[float, float] = (7.0, 50.0)
    masked_sum: int = 40
    exposure: float = 1.05
    mismatch: float = 50.0
    line_classes: tuple[str, ...] = ("adult_males",)


def matches(head: Head) -> bool:
    """Whether a folder holds a pair of folders such as Train and TrainDotted."""
    return head.is_dir and pair_of(head.path) is not None


def read(
    path: Path,
    *,
    pictures: Pictures | None = None,
    rule: DotRule | None = None,
    counts: Path | None = None,
) -> Annotations:
    """Read dots from pairs of pictures of one name.

    Args:
        path: A folder with ``Train`` and ``TrainDotted`` (or ``images`` and ``dotted``).
        pictures: The plain pictures, if they lie elsewhere.
        rule: What counts as a dot.
        counts: A table with the true counts (first column the picture's number or name, then
            one per class); None takes ``train.csv`` or ``counts.csv`` in the folder if there.

    Returns:
        One picture per pair with its dots. Pictures without partner, pairs that do not match,
        and pictures whose dots disagree with the table are left out and listed by name.

    Raises:
        TransectError: If there is no such pair of folders.
    """
    rule = rule or DotRule()
    pair = pair_of(path)
    if pair is None:
        raise TransectError(
            f"{path} has no pair of folders. Put the pictures into images/ and their dotted copies "
            "into dotted/, or name them Train and TrainDotted."
        )
    plain = pictures or Pictures(pair[0])
    dotted = Pictures(pair[1])
    builder = Builder(plain)
    for problem in plain.problems + dotted.problems:
        builder.problem(problem.name, problem.what, why="no picture file", objects=0)
    truth, classes = _truth(path, counts, rule, builder)
    for name in plain.paths:
        partner = dotted.find(name)
        if partner is None:
            what = f"{name} has no dotted copy in {pair[1]}; left out. Add it."
            builder.problem(name, what, why="no dotted copy", objects=0, pictures=1)
            continue
        try:
            found = find_dots(
                read_image(plain.paths[name]), read_image(dotted.paths[partner]), rule, name=name
            )
            _check_counts(found, name, truth, classes)
        except TransectError as error:
            why = "dots cannot be trusted"
            builder.problem(name, error, why=why, objects=0, pictures=1)
            continue
        builder.picture(name)
        for label, dots in found.items():
            for x, y in dots.tolist():
                builder.add(name, Instance(label, point=(x, y)))
    for name in sorted(set(dotted.paths) - {dotted.find(n) for n in plain.paths}):
        what = f"the dotted copy {name} has no plain picture; passed over. Add it."
        builder.problem(name, what, why="dotted copies without a plain picture", objects=0)
    return builder.done(rule.colours)


def find_dots(
    plain: NDArray[Any], dotted: NDArray[Any], rule: DotRule, *, name: str = "the picture"
) -> dict[str, NDArray[np.float64]]:
    """Find the dots of one pair.

    A dotted copy that was turned by a quarter, half or three quarters is turned back.

    Args:
        plain: (H, W, 3 or 4) uint8.
        dotted: (H, W, 3 or 4) uint8, or turned.
        rule: What counts as a dot.
        name: For messages.

    Returns:
        Class to (K, 2) x, y on the plain picture.

    Raises:
        TransectError: If the copies do not show the same picture.
    """
    import cv2

    plain, dotted = _rgb(plain, name), _rgb(dotted, name)
    dotted = _turned(plain, dotted, rule, name)
    hidden = dotted.sum(axis=2, dtype=np.int32) < rule.masked_sum
    shown = np.where(hidden[..., None], np.uint8(0), plain)
    shown, compared = _equalised(shown, dotted, rule)
    difference = cv2.absdiff(shown, compared)
    if float(difference.sum(axis=2, dtype=np.int32).mean()) > rule.mismatch:
        raise TransectError(_mismatch_sentence(name))
    changed = difference.max(axis=2) >= rule.difference
    rows, columns = np.nonzero(changed)
    pixels = dotted[rows, columns].astype(np.float64)
    found = {}
    for label, colour in rule.colours.items():
        near = np.linalg.norm(pixels - np.array(colour, np.float64), axis=1) < rule.distance
        mask = np.zeros(changed.shape, np.uint8)
        mask[rows[near], columns[near]] = 1
        dots = _centres(mask, rule.area_px)
        if label in rule.line_classes and len(dots):
            dots = dots[[_not_a_line(shown, x, y) for x, y in dots.tolist()]]
        found[label] = dots
    return found


def pair_of(path: Path) -> tuple[Path, Path] | None:
    """The folders of the plain and the dotted pictures."""
    folders = {p.name.lower(): p for p in sorted(path.iterdir()) if p.is_dir()}
    plain = next((folders[n] for n in _PLAIN if n in folders), None)
    dotted = next((folders[n] for n in _DOTTED if n in folders), None)
    return None if plain is None or dotted is None else (plain, dotted)


def plain_folder(path: Path) -> Path:
    """The folder of the plain pictures of a pair."""
    pair = pair_of(path) if path.is_dir() else None
    return path if pair is None else pair[0]


def _rgb(image: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """The three colours."""
    if image.dtype != np.uint8 or image.shape[2] not in (3, 4):
        raise TransectError(
            f"{name} has {image.shape[2]} channels of {image.dtype}, and dots need 8-bit colours. "
            "Save it as RGB."
        )
    return np.ascontiguousarray(image[..., :3])


def _turned(
    plain: NDArray[np.uint8], dotted: NDArray[np.uint8], rule: DotRule, name: str
) -> NDArray[np.uint8]:
    """The dotted copy the way round in which it differs least, looked at on a coarse grid."""
    import cv2

    options = [np.rot90(dotted, k) for k in range(4)]
    fitting = [o for o in options if o.shape == plain.shape]
    if not fitting:
        raise TransectError(_mismatch_sentence(name))

    def small(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        size = (min(64, image.shape[1]), min(64, image.shape[0]))
        coarse = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
        values = coarse.astype(np.float64)
        # Black-outs and exposure aside: compared after division by the mean.
        return values / max(float(values.mean()), 1.0)

    reference = small(plain)
    distance = [float(np.abs(small(option) - reference).mean()) for option in fitting]
    # The upright copy is kept unless another way round is clearly better.
    best = int(np.argmin(distance))
    keep = fitting[0] is options[0] and distance[0] < 1.25 * distance[best]
    return np.ascontiguousarray(fitting[0 if keep else best])


def _equalised(
    shown: NDArray[np.uint8], dotted: NDArray[np.uint8], rule: DotRule
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both copies at the exposure of the darker one, where they differ enough."""
    ratio = float(shown.sum(dtype=np.float64)) / max(float(dotted.sum(dtype=np.float64)), 1.0)
    if 1 / rule.exposure <= ratio <= rule.exposure:
        return shown, dotted
    scale = np.arange(256) / (ratio if ratio > 1 else 1 / max(ratio, 1e-6))
    table = np.rint(scale).astype(np.uint8)
    return (table[shown], dotted) if ratio > 1 else (shown, table[dotted])


def _centres(mask: NDArray[np.uint8], area_px: tuple[float, float]) -> NDArray[np.float64]:
    """Centres of the blobs of fitting area, from top to bottom."""
    import cv2

    _, _, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=4)
    # The contour halfway between pixels, whose area the rule means, cuts an eighth off each of
    # the four corners that a blob has more outward than inward.
    area = stats[1:, cv2.CC_STAT_AREA] - 0.5
    fitting = (area >= area_px[0]) & (area <= area_px[1])
    dots = np.rint(centres[1:][fitting])
    return dots[np.lexsort((dots[:, 0], dots[:, 1]))]


def _not_a_line(shown: NDArray[np.uint8], x: float, y: float) -> bool:
    """Whether there is hardly any black-out around a dot."""
    top, left = max(int(y) - 4, 0), max(int(x) - 4, 0)
    around = shown[top : int(y) + 5, left : int(x) + 5]
    return int(around.size - np.count_nonzero(around)) <= 8


def _mismatch_sentence(name: str) -> str:
    """The sentence for copies of different pictures."""
    return (
        f"{name} and its dotted copy do not show the same picture, also not when turned; left out. "
        "Replace one of them."
    )


def _truth(
    path: Path, counts: Path | None, rule: DotRule, builder: Builder
) -> tuple[dict[str, list[float]], list[str]]:
    """The table of true counts by picture, and its classes."""
    if counts is None:
        options = (path / "train.csv", path / "Train" / "train.csv", path / "counts.csv")
        counts = next((p for p in options if p.is_file()), None)
    if counts is None:
        return {}, []
    table, problems = read_table(counts, [])
    builder.rows(problems, why="row of the table of counts")
    classes = [label for label in rule.colours if label.lower().replace(" ", "_") in table]
    if not classes:
        raise TransectError(
            f"{counts} has none of the columns {', '.join(rule.colours)}. Rename its columns."
        )
    key = next(c for c in table.columns if c != "line")
    columns = [numbers(table[label.lower().replace(" ", "_")]) for label in classes]
    truth: dict[str, list[float]] = {}
    for i, name in enumerate(table[key]):
        values = [float(column[i]) for column in columns]
        if any(v != v for v in values):
            line = table["line"].iloc[i]
            what = f"{counts.name} line {line} has a cell that is no count. Correct it."
            builder.problem(counts.name, what, why="row of the table of counts", objects=0)
            continue
        truth[str(name)] = values
    return truth, classes


def _check_counts(
    found: Mapping[str, NDArray[np.float64]],
    name: str,
    truth: Mapping[str, list[float]],
    classes: list[str],
) -> None:
    """Refuse a picture whose dots disagree with the table, or that the table lacks."""
    if not truth:
        return
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    wanted = truth.get(name, truth.get(stem))
    if wanted is None:
        raise TransectError(f"{name} is not in the table of counts; left out. Add its row.")
    got = [len(found[label]) for label in classes]
    if got != wanted:
        differ = [
            f"{label} {g} instead of {w:g}"
            for label, g, w in zip(classes, got, wanted, strict=True)
            if g != w
        ]
        raise TransectError(
            f"the dots of {name} disagree with the table of counts ({', '.join(differ)}); left "
            "out. Correct the dots or the table."
        )
