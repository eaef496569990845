"""Do rates of "new" hold for individuals and sightings kept aside? One frozen network, many splits.

    python -m benchmarks.open_rates SURVEY --folds 5 --splits 20

Of every split, a share of the individuals are strangers, a share of the sightings of the others is
kept aside. The level is fitted out of fold on what is left, and asked about what was kept aside,
against the whole gallery. Embeddings are made once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.survey import open_survey
from transect.identify import auto
from transect.identify.embedding import embed_with, unit
from transect.identify.folds import identity_folds
from transect.identify.looks import geometry_of
from transect.identify.photos import Photos, subjects_of
from transect.identify.projection import fit_projection
from transect.identify.sides import comparable, reachable
from transect.identify.training import build_recogniser, inputs_of
from transect.metrics.identify import auroc
from transect.openset.aggregation import to_identity
from transect.openset.evidence import UNKNOWN, FitOptions, evidence_from_scores
from transect.openset.rates import Rates
from transect.recipe import Embedding, Member

ASKED = (0.05, 0.1, 0.2)
Vectors = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("survey", type=Path)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--strangers", type=float, default=0.4)
    parser.add_argument("--aside", type=float, default=1 / 3)
    parser.add_argument("--project", action="store_true")
    options = parser.parse_args()
    survey = open_survey(options.survey)
    photos = Photos(subjects_of(survey), unknown=survey.unknown)
    vectors = embedded(photos, options.backbone, options.side)
    found = [
        one_split(photos, vectors, np.random.default_rng(seed), options)
        for seed in range(options.splits)
    ]
    for name in found[0]:
        values = np.array([row[name] for row in found])
        print(f"{name:<22} {values.mean():.3f} ({values.std():.3f})")


def embedded(photos: Photos, backbone: str, side: int) -> Vectors:
    """(N, 2, D): each photo as it is, and one random view."""
    network = Embedding(backbone=backbone, head="none", neck="none", pooling="layout")
    member = Member("frozen", network, geometry_of(photos, side), auto.augment(photos), ())
    model = build_recogniser(member, inputs_of(photos, member.geometry), ())
    rows = np.arange(len(photos))
    return embed_with(
        model, photos, rows, member.geometry, device="cpu", jitter=1, augment=member.augment
    )[:, 0]


def one_split(
    photos: Photos, vectors: Vectors, rng: np.random.Generator, options: argparse.Namespace
) -> dict[str, float]:
    """What came of each rate that was asked for."""
    names, sides = photos.named(), photos.sides()
    groups = np.array([s.group or s.key for s in photos.subjects], dtype=np.str_)
    everybody = np.unique(names)
    strangers = rng.permutation(everybody)[: int(options.strangers * len(everybody))]
    known = ~np.isin(names, strangers)
    sightings = np.unique(groups[known])
    aside = rng.permutation(sightings)[: int(options.aside * len(sightings))]
    kept = known & ~np.isin(groups, aside)
    train, asked = np.flatnonzero(kept), np.flatnonzero(~kept)
    people = np.unique(names[train])
    own = np.where(np.isin(names, people), np.searchsorted(people, names), UNKNOWN)
    how = "separate" if len(set(sides.tolist())) > 1 else "together"
    labels = np.unique(photos.parted(how == "separate").classes(), return_inverse=True)[1]

    def scored(
        queries: NDArray[np.int64], gallery: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Scores of individuals, by a projection of the gallery, and the truth."""
        joined = unit(vectors.mean(axis=1))
        if options.project:
            joined = fit_projection(vectors[gallery], labels[gallery])(joined)
        table = np.full((len(queries), len(people)), -np.inf)
        for mine, theirs in comparable(sides[queries], sides[gallery], how):
            likeness = joined[queries[mine]] @ joined[gallery[theirs]].T
            table[mine] = to_identity(likeness, own[gallery[theirs]], len(people), how="max")
        truth = reachable(own[queries], sides[queries], own[gallery], sides[gallery], how)
        return table, truth

    folds = identity_folds(
        names[train].tolist(), groups[train].tolist(), count=options.folds, seed=0
    )
    parts = [scored(train[folds == f], train[folds != f]) for f in range(options.folds)]
    held_out = evidence_from_scores(np.concatenate([table for table, _ in parts]))
    truth = np.concatenate([part for _, part in parts])
    table, real = scored(asked, train)
    new = evidence_from_scores(table)
    found = {
        "known, first": float((new.identities[:, 0] == real)[real != UNKNOWN].mean()),
        "AUROC of new": auroc(-new.scores[:, 0], real == UNKNOWN),
    }
    for rate in ASKED:
        for kind in ("false_new", "false_match"):
            new_rate, match_rate = (rate, None) if kind == "false_new" else (None, rate)
            wanted = FitOptions(np.ones(len(truth)), false_new=new_rate, false_match=match_rate)
            policy = Rates.fit(held_out, truth, wanted)
            called = policy.rank(new)[:, 0] == UNKNOWN
            wrong = called[real != UNKNOWN] if kind == "false_new" else ~called[real == UNKNOWN]
            found[f"{kind} {rate}"] = float(wrong.mean())
    return found


if __name__ == "__main__":
    main()
