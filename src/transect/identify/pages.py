"""The pages that people look at: the report of a run, and the answers to new photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transect import __version__
from transect.audit import fill_report
from transect.files import write_text
from transect.identify.album import Album, boxed
from transect.identify.evidence import NOBODY, UNKNOWN
from transect.identify.geometry import KeypointFiles, cut_at_full_size
from transect.identify.leakfree import score_without
from transect.identify.scoring import labels_of
from transect.matching import Keypoints, extract, match_one, verify
from transect.metrics.calibration import reliability
from transect.report import charts
from transect.report.card import model_card
from transect.report.page import Page
from transect.report.pictures import INVENTED, RIGHT, matches, side_by_side
from transect.run import RunFolder, recipe_digest

if TYPE_CHECKING:
    from transect.identify.predicting import Answered, Identifier

__all__ = ["write_answers", "write_report"]

_WORDS = {
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
_SHOWN = 24  # pictures of confusions and answers on one page
_RELATED = 5  # candidates shown beside a query


def write_report(run: RunFolder) -> Path:
    """Write ``report.html`` and ``card.md`` from what is in the run folder.

    Returns:
        The path of the page.
    """
    recipe = run.recipe()
    metrics, data = run.read_json("metrics.json"), run.data()
    compared = run.read_json("oof/compared.json")
    facts = run.read_json("facts.json")
    answers = _answers(run)
    folder = str(data.get("folder", ""))
    page = Page(
        f"Which one is it: {folder}",
        subtitle=f"Recipe {recipe.name} ({recipe_digest(recipe)}), seed {recipe.seed}",
        footer=f"transect {__version__}. This page needs no network and runs no script.",
    )
    page.facts(
        [
            (
                name,
                f"{metrics[name]['value']:.3f}",
                f"95 % interval {metrics[name]['interval'][0]:.3f} to "
                f"{metrics[name]['interval'][1]:.3f}",
            )
            for name in (next(iter(metrics)), "known_top1", "false_new", "false_match")
            if name in metrics
        ]
    )
    _survey(page, facts, data, compared)
    _scores(page, metrics, answers)
    _sources(page, compared, facts)
    _confusions(page, answers, facts, Album(run.path / "album"))
    fill_report(page, run.path, metrics, score_without)
    for line in recipe.why:
        page.text(line)
    page.section("Doing it again", lead="The resolved recipe holds every number.")
    page.code(
        f"transect train {folder} --recipe {run.path.name}/recipe.json --out again\n"
        f"transect predict {run.path.name} NEW_PHOTOS --out OUT"
    )
    packages = run.read_json("environment.json")["packages"]
    page.table(["package", "version"], sorted(packages.items()), folded="Versions used")
    write_text(run.path / "card.md", _card(recipe.name, metrics, facts, compared))
    return page.write(run.path / "report.html")


def _answers(run: RunFolder) -> dict[str, NDArray[Any]]:
    """The arrays of the out-of-fold answers."""
    path = run.oof() / "answers.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _survey(
    page: Page, facts: dict[str, Any], data: dict[str, Any], compared: dict[str, Any]
) -> None:
    """What the survey is."""
    page.section("The survey", lead="Photos, individuals, encounters, and what was left out.")
    page.text(
        f"{facts['photos']} photos of {len(facts['people'])} individuals in "
        f"{facts['encounters']} encounters; {facts['once']} individuals were met once, "
        f"{facts['unnamed']} photos show none that has a name."
    )
    for problem in data.get("problems", []):
        page.note(f"Left out: {problem['name']}: {problem['what']}", kind="warn")
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


def _scores(page: Page, metrics: dict[str, Any], answers: dict[str, NDArray[Any]]) -> None:
    """Every metric, and whether the probabilities can be believed."""
    page.section(
        "Score",
        lead="Out of fold: each photo was asked of models and decisions that had seen neither it "
        "nor its encounter. The interval resamples encounters.",
    )
    rows = [
        [
            name,
            f"{record['value']:.4f}",
            f"{record['interval'][0]:.4f} to {record['interval'][1]:.4f}",
            _WORDS.get(name, ""),
        ]
        for name, record in metrics.items()
    ]
    page.table(["metric", "value", "95 % interval", "meaning"], rows, best=0)
    dots = {n: r["folds"] for n, r in metrics.items() if len(r["folds"]) > 1}
    if dots:
        page.figure(charts.fold_dots(dots, title="Score of every fold"), "One dot per fold.")
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


def _confusions(
    page: Page, answers: dict[str, NDArray[Any]], facts: dict[str, Any], album: Album
) -> None:
    """The wrong answers that were given most surely."""
    right = answers["ranked"][:, 0] == answers["truth"]
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-answers["probability"][wrong, 0], kind="stable")][:_SHOWN]
    page.section(
        "Surest mistakes",
        lead="The query, then its candidates' nearest photos; a green frame marks the true "
        "individual. Mistakes in the table of identities show up here first.",
    )
    if not len(wrong):
        page.text("There is no mistake among the out-of-fold answers.")
        return
    page.key([(RIGHT, "the true individual"), (INVENTED, "the answer that was given")])
    people, keys, owner = facts["people"], facts["keys"], facts["identities"]
    pictures = []
    for query in wrong.tolist():
        row = int(answers["rows"][query])
        shown = album(keys[row])
        if shown is None:
            continue
        truth, first = int(answers["truth"][query]), int(answers["ranked"][query, 0])
        parts: list[NDArray[Any]] = [shown]
        frames: list[tuple[int, int, int] | None] = [None]
        near = [int(r) for r in answers["image_rows"][query] if r >= 0]
        for name in answers["identities"][query][:_RELATED].tolist():
            if name == NOBODY:
                continue
            best = next((r for r in near if owner[r] == people[name]), None)
            if best is None:
                best = next((i for i, o in enumerate(owner) if o == people[name]), None)
            picture = None if best is None else album(keys[best])
            if picture is None:
                continue
            parts.append(picture)
            frames.append(RIGHT if name == truth else INVENTED if name == first else None)
        real = "unknown" if truth == UNKNOWN else people[truth]
        said = "new" if first == UNKNOWN else people[first]
        chance = float(answers["probability"][query, 0])
        pictures.append(
            (
                side_by_side(parts, frames=frames, height_px=120),
                f"{keys[row]}: is {real}, was called {said} ({chance:.2f})",
            )
        )
    page.pictures(pictures, large=True)


def _card(
    name: str, metrics: dict[str, Any], facts: dict[str, Any], compared: dict[str, Any]
) -> str:
    """The run on one page of text."""
    return model_card(
        f"Recognising individuals: {name}",
        {
            "Survey": {
                "photos": facts["photos"],
                "individuals": len(facts["people"]),
                "encounters": facts["encounters"],
            },
            "Decision": {
                "sources": compared["fusion"],
                "policy": compared["policy"],
                "expected share of unknown": compared["share_new"],
            },
            "Scores, out of fold": {k: round(v["value"], 4) for k, v in metrics.items()},
        },
        summary="Answers are for photos of the same kind of animal, view and camera as the "
        "survey's; new encounters of known individuals are what the scores stand for.",
    )


def write_answers(path: Path, identifier: Identifier, found: Answered) -> Path:
    """Write the answers side by side, the least sure ones first, matched keypoints drawn in.

    Args:
        path: The ``.html`` file.
        identifier: The run and its catalogue.
        found: The answers.

    Returns:
        The path.
    """
    decision, photos = found.decision, found.photos
    album = Album(identifier.run.path / "album")
    names = [p.image for p in identifier.book.photos]
    owner = [p.identity for p in identifier.book.photos]
    labels = labels_of(decision.ranked, identifier.people, identifier.unknown)
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
        ["photo", "answer", "probability", "runner-up", "probability of new", "why"],
        [
            [
                s.key,
                labels[i][0] if labels[i] else identifier.unknown,
                f"{decision.probability[i, 0]:.2f}",
                labels[i][1] if len(labels[i]) > 1 else "",
                f"{decision.new[i]:.2f}",
                found.why[i],
            ]
            for i, s in enumerate(photos.subjects)
        ],
        folded="All answers",
    )
    page.section(
        "A second look",
        lead="The least sure answers first: the photo, then its five candidates by their nearest "
        "photos. Below, keypoints that one view of the same animal explains.",
    )
    files = KeypointFiles.of(identifier.run.path / "keypoints", identifier.decide)
    for i in np.argsort(decision.probability[:, 0], kind="stable")[:_SHOWN].tolist():
        parts: list[NDArray[Any]] = [boxed(photos, i)]
        words = []
        near = [int(r) for r in found.near_rows[i] if r >= 0]
        for place, name in enumerate(found.evidence.identities[i][:_RELATED].tolist()):
            if name == NOBODY:
                continue
            who = str(identifier.people[name])
            best = next((r for r in near if owner[r] == who), None)
            picture = None if best is None else album(names[best])
            if picture is not None:
                parts.append(picture)
                words.append(f"{place + 1}: {who}")
        answer = labels[i][0] if labels[i] else identifier.unknown
        caption = f"{photos.subjects[i].key}: {answer} ({decision.probability[i, 0]:.2f})"
        page.heading(caption)
        page.text(f"{found.why[i]}. Candidates {'; '.join(words)}.")
        pictures = [(side_by_side(parts, height_px=140), caption)]
        drawn = _explained(identifier, files, found, i, names, album)
        page.pictures(pictures + ([drawn] if drawn is not None else []), large=True)
    return page.write(path)


def _explained(
    identifier: Identifier,
    files: KeypointFiles,
    found: Answered,
    i: int,
    names: Sequence[str],
    album: Album,
) -> tuple[NDArray[np.uint8], str] | None:
    """The matched keypoints of the best verified pair, drawn; None if there is none."""
    if found.proof_rows is None or found.proof_rows[i] < 0:
        return None
    key = names[int(found.proof_rows[i])]
    right = album(key)
    if right is None or not files.path(key).is_file():
        return None
    left, other = boxed(found.photos, i), files.read(key)
    mine = extract(cut_at_full_size(found.photos.subjects[i]), files.spec)
    pairs = match_one(mine, other)
    checked = verify(mine, other, pairs, min_matches=identifier.decide.min_matches)
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
    )
    return drawn, f"{checked.unique} places agree with {key}"


def _placed(found: Keypoints, picture: NDArray[np.generic]) -> NDArray[np.floating]:
    """Keypoints where they lie on a smaller picture of the same."""
    height, width = found.size_hw
    factor = np.array([picture.shape[1] / width, picture.shape[0] / height])
    return (found.points + 0.5) * factor - 0.5
