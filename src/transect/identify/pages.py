"""What a report on individuals shows beyond the common frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.identify.belongings import album_of, catalogue_of, keypoints_of
from transect.identify.queries import HEIGHT_PX, MOST, Query, agreement, write_queries
from transect.identify.thumbnails import Album
from transect.metrics import title_of
from transect.metrics.calibration import reliability
from transect.metrics.score import spread_text
from transect.openset.evidence import NOBODY, UNKNOWN
from transect.recipe import IdentifyDecide
from transect.report import charts
from transect.report.page import Page
from transect.report.pictures import INVENTED, RIGHT, side_by_side
from transect.run import RunFolder
from transect.task import Section

__all__ = ["METRIC_WORDS", "card_of", "headline_of", "sections_of"]

METRIC_WORDS = {
    "map5": "mean of 1 / place of the truth among five answers, 'new' being one of them, weighed "
    "to the expected share of unknown",
    "map5_as_split": "the same, each photo counting alike",
    "accuracy": "first answer right, weighed likewise",
    "known_top1": "known individuals whose name comes first, 'new' left aside",
    "known_top5": "known individuals whose name is among the answers, 'new' left aside",
    "false_new": "known individuals that were called new",
    "false_match": "unknown individuals that were given a name",
    "wrong_match": "known individuals that were given another's name",
    "baks": "balanced accuracy on known individuals",
    "baus": "balanced accuracy on unknown ones",
    "baks_baus": "geometric mean of the two",
    "auroc_new": "how well the probability of new parts the two kinds",
    "coverage_at_95": "share of photos that can be answered with 95 % of the answers right",
    "confidence_for_95": "the probability from which to answer for that",
    "calibration_error": "mean gap between said probability and what came true",
    "cannot_tell": "photos too poor for an answer",
}
_SHOWN = 24  # mistakes in the report itself
_RELATED = 5  # candidates shown beside a query


def sections_of(run: RunFolder) -> Sequence[Section]:
    """What the report on individuals shows beyond the common frame."""
    compared, facts = run.read_json("oof/compared.json"), run.read_json("facts.json")
    return (
        Section("top", lambda page: _three(page, run, _answers(run), facts)),
        Section("data", lambda page: _survey(page, facts, compared)),
        Section("score", lambda page: _probabilities(page, _answers(run))),
        Section("decisions", lambda page: _sources(page, compared, facts)),
        Section("examples", lambda page: _queries(page, run, _answers(run), facts)),
    )


def headline_of(run: RunFolder) -> list[tuple[str, str, str]]:
    """The main score, and the rates of both mistakes."""
    metrics = run.read_json("metrics.json")
    names = (next(iter(metrics)), "known_top1", "false_new", "false_match")
    rows = []
    for name in names:
        if name in metrics:
            value = f"{metrics[name]['value']:.3f}"
            rows.append((title_of(name), value, spread_text(metrics[name])))
    return rows


def card_of(run: RunFolder) -> dict[str, Any]:
    """What the model card says of individuals."""
    facts, compared = run.read_json("facts.json"), run.read_json("oof/compared.json")
    return {
        "use": "Answers are for photos of the same kind of animal, view and camera as the "
        "survey's; new encounters of known individuals are what the scores stand for.",
        "data": [
            f"{facts['photos']} photos of {len(facts['people'])} individuals in "
            f"{facts['encounters']} encounters"
        ],
        "decision": {
            "sources": compared["fusion"],
            "policy": compared["policy"],
            "expected share of unknown": compared["share_new"],
        },
    }


def _answers(run: RunFolder) -> dict[str, NDArray[Any]]:
    """The arrays of the out-of-fold answers."""
    path = run.oof() / "answers.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _survey(page: Page, facts: dict[str, Any], compared: dict[str, Any]) -> None:
    """What the survey is."""
    page.text(
        f"{facts['photos']} photos of {len(facts['people'])} individuals in "
        f"{facts['encounters']} encounters; {facts['once']} individuals were met once, "
        f"{facts['unnamed']} photos show none that has a name."
    )
    twins = compared.get("twins", [])
    if twins:
        page.table(
            ["name", "other name", "photos", "why"],
            [[t["keep"], t["other"], t["photos"], t["why"]] for t in twins[:50]],
            folded=f"{len(twins)} pairs of names that may be one animal: look, then merge",
        )
    page.figure(
        charts.histogram(
            {"individuals": facts["counts"]},
            title="Photos per individual",
            x_label="photos",
            y_label="individuals",
        ),
        "The tail: most individuals of most surveys have few photos.",
    )


def _probabilities(page: Page, answers: dict[str, NDArray[Any]]) -> None:
    """Whether the probabilities can be believed."""
    right = answers["ranked"][:, 0] == answers["truth"]
    found = reliability(answers["probability"][:, 0], right)
    page.figure(
        charts.reliability_diagram(
            found.said, found.came, found.count, title="Said probability and what came true"
        ),
        "The first answer's probability. On the diagonal, probabilities are true.",
    )
    known = answers["truth"] != UNKNOWN
    page.figure(
        charts.histogram(
            {
                "known individuals": np.clip(answers["margin"][known], -20, 20),
                "unknown": np.clip(answers["margin"][~known], -20, 20),
            },
            title="Margin of the leader above none we know",
            x_label="margin",
        ),
        "Left of 0 the answer is 'new'. Where the two overlap, no threshold helps.",
    )


def _sources(page: Page, compared: dict[str, Any], facts: dict[str, Any]) -> None:
    """Which sources and policies were compared, and the leak that a careless split would hide."""
    page.section(
        "What was compared",
        lead="Each source alone and joined, each policy for 'new', by the same measure on photos "
        "that no fit had seen. The best one answers.",
    )
    taken = compared["fusion"]
    page.figure(
        charts.bars(compared["sources"], title="Sources and ways of joining them"),
        f"Taken: {taken}. Bars at each one's own best constant for 'new'.",
    )
    page.figure(
        charts.bars(compared["policies"], title="Policies for none we know"),
        f"Taken: {compared['policy']}.",
    )
    leak = facts.get("leak")
    if leak:
        page.note(
            f"Same encounter: if the gallery may hold photos of the query's own encounter, "
            f"{leak['source']} names {leak['with']:.1%} of {leak['queries']} photos rightly; "
            f"without them {leak['without']:.1%}. A random split of photos would have reported "
            "the first number; the second is what a new encounter gets.",
            kind="warn",
        )


def _queries(
    page: Page, run: RunFolder, answers: dict[str, NDArray[Any]], facts: dict[str, Any]
) -> None:
    """The wrong answers that were given most surely; and pages of all held-out photos."""
    album = album_of(catalogue_of(run.path))
    chance = answers["probability"][:, 0]
    right = answers["ranked"][:, 0] == answers["truth"]
    draw = _drawer(run, answers, facts, album)
    legend = [(RIGHT, "the true individual"), (INVENTED, "the answer that was given")]
    # Mistakes first, the surest of them in front; then right answers, the least sure in front.
    order = np.lexsort((np.where(right, chance, -chance), right)).tolist()
    listed = write_queries(
        run.path / "queries",
        len(order),
        lambda at: draw(order[at]),
        title="Held-out photos, mistakes first",
        back=("../report.html", "the report"),
        legend=legend,
    )
    page.section(
        "Surest mistakes",
        lead="The query, then its candidates' nearest photos; frames mark the true individual and "
        "the answer that was given. Mistakes in the table of identities show up here first.",
    )
    wrong = order[: int((~right).sum())]
    if wrong:
        page.key(legend)
        page.pictures(
            [draw(query, places=False).pictures[0] for query in wrong[:_SHOWN]], large=True
        )
    else:
        page.text("There is no mistake among the out-of-fold answers.")
    page.text("Every held-out photo beside its candidates, mistakes first:")
    page.links([(f"queries/{name}", words) for name, words in listed])
    if len(order) > MOST:
        page.text(
            f"{len(order) - MOST} more, answered rightly or unsurely, are in oof/answers.csv."
        )


def _three(
    page: Page, run: RunFolder, answers: dict[str, NDArray[Any]], facts: dict[str, Any]
) -> None:
    """The surest right answer and the two surest mistakes, each beside its candidates."""
    chance = answers["probability"][:, 0]
    right = answers["ranked"][:, 0] == answers["truth"]
    draw = _drawer(run, answers, facts, Album(run.path / "album"))
    surest = np.argsort(-chance, kind="stable")
    chosen = [*surest[right[surest]][:1], *surest[~right[surest]][:2]]
    shown = [draw(int(query), places=False).pictures for query in chosen]
    if any(shown):
        page.key([(RIGHT, "the true individual"), (INVENTED, "the answer that was given")])
        page.text(
            "Each row: the photo that is asked about, then its candidates, the nearest first."
        )
        page.pictures([pictures[0] for pictures in shown if pictures], wide=True)


def _drawer(
    run: RunFolder, answers: dict[str, NDArray[Any]], facts: dict[str, Any], album: Album
) -> Any:
    """What draws a held-out query."""
    recipe = run.recipe()
    assert isinstance(recipe.decide, IdentifyDecide)
    files = keypoints_of(catalogue_of(run.path), recipe.decide)
    least = recipe.decide.min_matches
    people, keys, owner = facts["people"], facts["keys"], facts["identities"]
    photos_of: dict[str, int] = {}
    for number, name in enumerate(owner):
        photos_of.setdefault(name, number)

    def named(answer: int) -> str:
        return "new" if answer == UNKNOWN else str(people[answer])

    def draw(query: int, places: bool = True) -> Query:
        row = int(answers["rows"][query])
        own = album(keys[row])
        truth = int(answers["truth"][query])
        ranked = answers["ranked"][query].tolist()
        chance = answers["probability"][query]
        pictures: list[tuple[NDArray[np.uint8], str]] = []
        title = f"{keys[row]}: is {named(truth)}, was called {named(ranked[0])} ({chance[0]:.2f})"
        if own is not None:
            parts: list[NDArray[Any]] = [own]
            frames: list[tuple[int, int, int] | None] = [None]
            near = [int(r) for r in answers["image_rows"][query] if r >= 0]
            for name in answers["identities"][query][:_RELATED].tolist():
                if name == NOBODY:
                    continue
                best = next((r for r in near if owner[r] == people[name]), photos_of[people[name]])
                picture = album(keys[best])
                if picture is None:
                    continue
                parts.append(picture)
                frames.append(RIGHT if name == truth else INVENTED if name == ranked[0] else None)
            pictures.append((side_by_side(parts, frames=frames, height_px=HEIGHT_PX), title))
            proof = int(answers["proof_rows"][query]) if "proof_rows" in answers else -1
            if places and proof >= 0 and files.path(keys[row]).is_file():
                mine = files.read(keys[row])
                drawn = agreement(files, mine, own, keys[proof], album, least=least)
                pictures += [drawn] if drawn is not None else []
        text = f"New: {answers['new'][query]:.2f}; margin {answers['margin'][query]:.2f}."
        if len(ranked) > 1 and ranked[1] != NOBODY:
            text += f" Runner-up: {named(ranked[1])} ({chance[1]:.2f})."
        return Query(title, text, pictures)

    return draw
