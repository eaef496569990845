"""Pages to look queries up on: every photo beside its candidates, some tens to a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect import __version__
from transect.identify.geometry import KeypointFiles
from transect.identify.thumbnails import Album
from transect.matching import Keypoints, match_one, verify
from transect.report.page import Page
from transect.report.pictures import matches

__all__ = ["HEIGHT_PX", "MOST", "PER_PAGE", "Query", "agreement", "page_of", "write_queries"]

PER_PAGE = 50
MOST = 1000  # queries with pages in one folder
HEIGHT_PX = 104  # of a row of pictures: fifty of them fit into a page as they are
MATCHES_PX = 170  # of two pictures with their matches


@dataclass(frozen=True)
class Query:
    """What is shown of one query.

    Attributes:
        title: The photo and its answer.
        text: Probabilities, runner-up, reasons.
        pictures: (h, w, 3) uint8 arrays and their captions.
    """

    title: str
    text: str
    pictures: Sequence[tuple[NDArray[np.uint8], str]]


def page_of(place: int) -> str:
    """The page on which the query at a place stands, '' if it has none.

    Example:
        >>> page_of(0), page_of(50), page_of(MOST)
        ('001.html', '002.html', '')
    """
    return f"{place // PER_PAGE + 1:03d}.html" if place < MOST else ""


def write_queries(
    folder: Path,
    count: int,
    draw: Callable[[int], Query],
    *,
    title: str,
    back: tuple[str, str],
    legend: Sequence[tuple[Sequence[int], str]] = (),
) -> list[tuple[str, str]]:
    """Write pages of queries; pages of an earlier time that are not written again are removed.

    Args:
        folder: Of the pages.
        count: Queries; those past ``MOST`` get no page.
        draw: The query at a place, from 0.
        title: Of every page.
        back: Address and name of the page that leads here.
        legend: What colours mean.

    Returns:
        Name of each page, and the places on it in words.
    """
    shown = min(count, MOST)
    starts = range(0, shown, PER_PAGE)
    listed = [
        (page_of(start), f"{start + 1} to {min(start + PER_PAGE, shown)}") for start in starts
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(starts):
        page = Page(
            f"{title}: {listed[number][1]} of {count}",
            footer=f"transect {__version__}. This page needs no network and runs no script.",
        )
        around = [back]
        around += [(listed[number - 1][0], "before")] if number else []
        around += [(listed[number + 1][0], "next")] if number + 1 < len(listed) else []
        page.links(around)
        if legend:
            page.key(legend)
        for place in range(start, min(start + PER_PAGE, shown)):
            query = draw(place)
            page.heading(f"{place + 1}. {query.title}")
            page.text(query.text)
            page.pictures(query.pictures, large=True)
        page.links(around)
        page.write(folder / listed[number][0])
    kept = {name for name, _ in listed}
    for path in folder.glob("[0-9][0-9][0-9].html"):
        if path.name not in kept:
            path.unlink()
    return listed


def agreement(
    files: KeypointFiles,
    mine: Keypoints,
    left: NDArray[Any],
    key: str,
    album: Album,
    *,
    least: int,
) -> tuple[NDArray[np.uint8], str] | None:
    """Draw the places of a query that agree with a known photo.

    Args:
        files: Keypoints of the known photos.
        mine: Keypoints of the query.
        left: (h, w) or (h, w, 3) the query.
        key: The known photo.
        album: Its picture.
        least: Matches that a view needs.

    Returns:
        The drawing and its caption; None if no view explains any.
    """
    right = album(key)
    if right is None or not files.path(key).is_file():
        return None
    other = files.read(key)
    pairs = match_one(mine, other)
    checked = verify(mine, other, pairs, min_matches=least)
    if checked.homography is None:
        return None
    inside = np.zeros(len(pairs), bool)
    inside[checked.kept] = True
    drawn = matches(
        left,
        right,
        _placed(mine, left)[pairs[:, 0]],
        _placed(other, right)[pairs[:, 1]],
        inliers=inside,
        height_px=MATCHES_PX,
    )
    return drawn, f"{checked.unique} places agree with {key}"


def _placed(found: Keypoints, picture: NDArray[np.generic]) -> NDArray[np.floating]:
    """Keypoints where they lie on a smaller picture of the same."""
    height, width = found.size_hw
    factor = np.array([picture.shape[1] / width, picture.shape[0] / height])
    return (found.points + 0.5) * factor - 0.5
