"""The pages of answers to new photos: the table, the least sure ones, and every photo asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transect import __version__
from transect.identify.belongings import album_of, keypoints_of
from transect.identify.geometry import cut_at_full_size
from transect.identify.queries import HEIGHT_PX, MOST, Query, agreement, page_of, write_queries
from transect.identify.scoring import labels_of
from transect.identify.thumbnails import boxed
from transect.matching import extract
from transect.openset.evidence import NOBODY, UNKNOWN
from transect.report.page import Page
from transect.report.pictures import side_by_side

if TYPE_CHECKING:
    from transect.identify.identifier import Answered, Identifier

__all__ = ["write_answers"]

_SHOWN = 24  # answers on the first page
_RELATED = 5  # candidates shown beside a query


def write_answers(path: Path, identifier: Identifier, found: Answered) -> Path:
    """Write the answers side by side, the least sure ones first, matched keypoints drawn in.

    Beside the page comes a folder ``queries`` with all photos asked, as many as have room there.

    Args:
        path: The ``.html`` file.
        identifier: The run and its catalogue.
        found: The answers.

    Returns:
        The path.
    """
    decision, photos = found.decision, found.photos
    labels = labels_of(decision.ranked, identifier.people, identifier.unknown)
    order = np.argsort(decision.probability[:, 0], kind="stable").tolist()
    place = {i: page_of(at) for at, i in enumerate(order)}
    page = Page(
        f"{len(photos)} photos asked: which one is it?",
        subtitle=f"{len(identifier.people)} known individuals, run {identifier.run.path.name}",
        footer=f"transect {__version__}. This page needs no network and runs no script.",
    )
    new = (decision.ranked[:, 0] == UNKNOWN) & ~decision.cannot_tell
    page.facts(
        [
            ("known", int((~new & ~decision.cannot_tell).sum())),
            ("new", int(new.sum())),
            ("cannot tell", int(decision.cannot_tell.sum())),
        ]
    )
    page.table(
        ["photo", "answer", "probability", "runner-up", "probability of new", "why", "page"],
        [
            [
                s.key,
                labels[i][0] if labels[i] else identifier.unknown,
                f"{decision.probability[i, 0]:.2f}",
                labels[i][1] if len(labels[i]) > 1 else "",
                f"{decision.new[i]:.2f}",
                found.why[i],
                place[i].removesuffix(".html"),
            ]
            for i, s in enumerate(photos.subjects)
        ],
        folded="All answers",
    )
    draw = _drawer(identifier, found, labels)
    listed = write_queries(
        path.parent / "queries",
        len(order),
        lambda at: draw(order[at]),
        title="Photos asked, the least sure answers first",
        back=(f"../{path.name}", "all answers"),
    )
    page.section(
        "Every photo",
        lead="The least sure answers first; the table above says on which page a photo is.",
    )
    page.links([(f"queries/{name}", words) for name, words in listed])
    if len(order) > MOST:
        page.text(f"The {len(order) - MOST} surest answers have no page; identities.csv has all.")
    page.section(
        "A second look",
        lead="The least sure answers: the photo, then its five candidates by their nearest "
        "photos. Below, keypoints that one view of the same animal explains.",
    )
    for i in order[:_SHOWN]:
        query = draw(i)
        page.heading(query.title)
        page.text(query.text)
        page.pictures(query.pictures, large=True)
    return page.write(path)


def _drawer(identifier: Identifier, found: Answered, labels: list[list[str]]) -> Any:
    """What draws the query at a row of the answers."""
    album = album_of(identifier.book.folder)
    names = [p.image for p in identifier.book.photos]
    owner = [p.identity for p in identifier.book.photos]
    files = keypoints_of(identifier.book.folder, identifier.decide)
    decision, photos = found.decision, found.photos

    def draw(i: int) -> Query:
        subject = photos.subjects[i]
        own = boxed(photos, i)
        parts: list[NDArray[Any]] = [own]
        words = []
        near = [int(r) for r in found.near_rows[i] if r >= 0]
        for number, name in enumerate(found.evidence.identities[i][:_RELATED].tolist()):
            if name == NOBODY:
                continue
            who = str(identifier.people[name])
            best = next((r for r in near if owner[r] == who), None)
            picture = None if best is None else album(names[best])
            if picture is not None:
                parts.append(picture)
                words.append(f"{number + 1}: {who}")
        answer = labels[i][0] if labels[i] else identifier.unknown
        title = f"{subject.key}: {answer} ({decision.probability[i, 0]:.2f})"
        pictures = [(side_by_side(parts, height_px=HEIGHT_PX), title)]
        if found.proof_rows is not None and found.proof_rows[i] >= 0:
            drawn = agreement(
                files,
                extract(cut_at_full_size(subject), files.spec),
                own,
                names[int(found.proof_rows[i])],
                album,
                least=identifier.decide.min_matches,
            )
            pictures += [drawn] if drawn is not None else []
        second = (
            f" Runner-up: {labels[i][1]} ({decision.probability[i, 1]:.2f})."
            if len(labels[i]) > 1
            else ""
        )
        text = f"{found.why[i]}. New: {decision.new[i]:.2f}.{second} Candidates {'; '.join(words)}."
        return Query(title, text, pictures)

    return draw
