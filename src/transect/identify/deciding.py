"""From out-of-fold scores to the run's decision: sources fused, policy chosen, figures written."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import spreadsheet_safe, write_json, write_text
from transect.identify.duplicate_identities import likely_twins
from transect.identify.oof import OutOfFold
from transect.identify.photos import Photos, Subject
from transect.identify.predictor import QueryScores
from transect.identify.scorers import EXTRA, write_arrays
from transect.identify.scoring import labels_of, named, rows_of, scores_of
from transect.metrics.score import scores_to_json
from transect.openset.decider import Decider, Decision, choose_decider, share_weights
from transect.openset.evidence import FAR, NOBODY, UNKNOWN, Evidence
from transect.openset.fusion import Fusion, fuse_out_of_fold, ordered
from transect.openset.rates import Rates, holds_rates, rates_sentence
from transect.recipe import IdentifyDecide, Recipe
from transect.run import RunFolder
from transect.task import Rows
from transect.types import Progress

__all__ = ["Decisions", "answers_table", "decide_out_of_fold", "evidence_of", "expected_share"]

KEPT = 50  # candidates per query after fusion


@dataclass(frozen=True)
class Decisions:
    """What a run answers with.

    Attributes:
        fusion: Of the sources.
        decider: Where "none we know" stands, and how sure an answer is.
        share_new: Expected share of unknown queries, or None.
    """

    fusion: Fusion
    decider: Decider
    share_new: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "fusion": self.fusion.to_json(),
            "decider": self.decider.to_json(),
            "share_new": self.share_new,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Decisions:
        """Read back what ``to_json`` gave.

        Raises:
            TransectError: If it is no decision of a run.
        """
        if not isinstance(values, dict) or not {"fusion", "decider"} <= set(values):
            raise TransectError("decide.json holds no decision about individuals. Train again.")
        share = values.get("share_new")
        return Decisions(
            Fusion.from_json(values["fusion"]),
            Decider.from_json(values["decider"]),
            None if share is None else float(share),
        )


def expected_share(decide: IdentifyDecide, names: NDArray[np.str_], unknown: str) -> float | None:
    """Share of unknown among new photos: the recipe's, else that of the table, else None."""
    if decide.share_new is not None:
        return decide.share_new
    share = float((names == unknown).mean()) if len(names) else 0.0
    return share or None


def evidence_of(
    scores: QueryScores,
    fused: NDArray[np.float64],
    sources: Sequence[str],
    sides: NDArray[np.str_],
) -> Evidence:
    """What a decision looks at, out of fold and for new photos alike.

    Args:
        scores: Of Q queries.
        fused: (Q, K) scores of the candidates.
        sources: Those that were fused: photos count where a network is among them, proofs where
            geometry is.
        sides: (Q,) flanks, for thresholds of their own; '' where nobody said.
    """
    identities, values = ordered(scores.candidates.identities, fused)
    seen = not set(sources) <= set(EXTRA) or set(sources) == set(scores.candidates.sources)
    proven = "geometry" in sources
    return Evidence(
        identities[:, :KEPT],
        np.where(np.isfinite(values), values, -FAR)[:, :KEPT],
        scores.image_identities if seen else None,
        scores.image_scores if seen else None,
        scores.proof if proven else None,
        scores.proof_identity if proven else None,
        scores.quality,
        None,
        sides if len(set(sides.tolist())) > 1 else None,
    )


def decide_out_of_fold(
    run: RunFolder,
    recipe: Recipe,
    photos: Photos,
    oof: OutOfFold,
    people: NDArray[np.str_],
    progress: Progress,
) -> Rows:
    """Fuse and choose; write ``decide.json`` and ``oof/answers.csv``.

    Returns:
        What every held-out photo was answered by decisions that were fitted without it.

    Raises:
        TransectError: If no held-out photo shows an individual that the others know.
    """
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    if not (oof.truth != UNKNOWN).any():
        raise TransectError(
            "no individual has photos of two encounters, so nothing can be learned about "
            "recognising one. Add photos of further encounters, or correct the column group."
        )
    share = expected_share(decide, photos.named(), photos.unknown)
    weights = share_weights(oof.truth, share)
    subjects = [photos.subjects[i] for i in oof.rows]
    groups = np.array([s.group or s.key for s in subjects], dtype=np.str_)
    parts = oof.folds
    if len(np.unique(parts)) < 2:
        # One trained fold: its queries are divided anew, by individual and encounter.
        keys = np.unique(groups, return_inverse=True)[1]
        parts = np.random.default_rng(recipe.seed).permutation(int(keys.max()) + 1)[keys] % 5
    fused, fusion, compared = fuse_out_of_fold(
        oof.scores.candidates,
        oof.truth,
        parts,
        decide.fuse,
        weights=weights,
        groups=groups,
        power=decide.power,
        top_k=decide.top_k,
        closed=holds_rates(decide),
        seed=recipe.seed,
    )
    for name, value in compared.items():
        of = "known photos" if holds_rates(decide) else "all photos"
        progress.say(f"out of fold: {name} reaches map{decide.top_k} {value:.4f} on {of}")
    twins = likely_twins(oof.scores.candidates, fused, fusion, oof.truth, people)
    for twin in twins[:5]:
        progress.say(f"one animal? {twin.keep} and {twin.other}: {twin.why}")
    sides = photos.sides()[oof.rows]
    evidence = evidence_of(oof.scores, fused, oof.scores.candidates.sources, sides)
    if decide.known_first == "geometry" and "override" not in decide.policies:
        decide = replace(decide, policies=(*decide.policies, "override"))
    decider, honest = choose_decider(
        evidence,
        oof.truth,
        decide,
        groups=groups,
        share_new=share,
        per_group=20 if evidence.groups is not None else 0,
        seed=recipe.seed,
    )
    run.write_json("decide.json", Decisions(fusion, decider, share).to_json())
    write_json(
        run.oof() / "compared.json",
        {"sources": compared, "fusion": fusion.how, "policies": dict(decider.compared),
         "policy": decider.chosen, "share_new": share, "twins": [asdict(t) for t in twins]},
    )  # fmt: skip
    truth = [photos.unknown if t == UNKNOWN else str(people[t]) for t in oof.truth.tolist()]
    write_text(
        run.oof() / "answers.csv",
        answers_table(subjects, honest, people, photos.unknown, truth=truth, folds=oof.folds),
    )
    write_answers_file(run, oof, fused, honest)
    progress.say(f"decision: {fusion.how} scores, policy {decider.chosen}")
    named_keys = [subject.key for subject in subjects]
    answers = named(named_keys, groups.tolist(), oof.folds, honest, people, photos.unknown)
    rows = rows_of(answers, truth, unknown=photos.unknown, share=share)
    if isinstance(decider.policy, Rates):
        asked = (decide.false_new, decide.false_match)
        found = scores_to_json(scores_of(rows, unknown=photos.unknown, top_k=decide.top_k))
        progress.say(rates_sentence(decider.policy, asked, found))
    return rows


def write_answers_file(
    run: RunFolder, oof: OutOfFold, fused: NDArray[np.float64], answer: Decision
) -> None:
    """Keep what the report and later steps need, as plain arrays."""
    scores = oof.scores
    identities, values = ordered(scores.candidates.identities, fused)
    arrays: dict[str, NDArray[np.generic]] = {
        "rows": oof.rows,
        "folds": oof.folds,
        "truth": oof.truth,
        "identities": identities[:, :KEPT],
        "scores": values[:, :KEPT],
        "image_rows": scores.image_rows[:, :20],
        "image_scores": scores.image_scores[:, :20],
        "ranked": answer.ranked,
        "probability": answer.probability,
        "known": answer.known,
        "new": answer.new,
        "margin": answer.margin,
    }
    if scores.proof is not None and scores.proof_rows is not None:
        arrays |= {"proof": scores.proof, "proof_rows": scores.proof_rows}
    write_arrays(run.oof() / "answers.npz", **arrays)


def answers_table(
    subjects: Sequence[Subject],
    answer: Decision,
    people: NDArray[np.str_],
    unknown: str,
    *,
    truth: Sequence[str] | None = None,
    folds: NDArray[np.int64] | None = None,
    why: Sequence[str] | None = None,
) -> str:
    """Answers as CSV text: what was decided, then the known individuals in order.

    ``identity`` may be "none we know"; ``identity_1``, ``identity_2``, ... never are: how likely a
    photo shows none of them is ``new_probability``.
    """
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    places = range(1, answer.known.shape[1] + 1)
    head = ["image", "identity", "probability", "new_probability", "cannot_tell"]
    head += [f"{what}_{k}" for k in places for what in ("identity", "probability")]
    head += (["truth"] if truth is not None else []) + (["fold"] if folds is not None else [])
    rows.writerow(head + (["why"] if why is not None else []))
    labels = labels_of(answer.ranked[:, :1], people, unknown)
    for number, subject in enumerate(subjects):
        own = labels[number]
        cells: list[Any] = [
            spreadsheet_safe(subject.key),
            spreadsheet_safe(own[0] if own else unknown),
            f"{answer.probability[number, 0]:.4f}",
            f"{answer.new[number]:.4f}",
            int(answer.cannot_tell[number]),
        ]
        for name, chance in zip(
            answer.known[number], answer.known_probability[number], strict=True
        ):
            there = name != NOBODY
            cells += [spreadsheet_safe(str(people[name])), f"{chance:.4f}"] if there else ["", ""]
        if truth is not None:
            cells.append(spreadsheet_safe(truth[number]))
        if folds is not None:
            cells.append(int(folds[number]))
        if why is not None:
            cells.append(spreadsheet_safe(why[number]))
        rows.writerow(cells)
    return stream.getvalue()
