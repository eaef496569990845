"""Several sources of scores become one: calibrated, joined or stacked, by what wins out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.openset.aggregation import power_mean
from transect.openset.evidence import (
    FAR,
    NOBODY,
    clearly_better,
    evidence_from_scores,
    insert_unknown,
    place_of_truth,
    rewards,
    sweep,
)
from transect.tabular.binary import LEAST_FOR, fit_binary, platt, predict_binary, sigmoid

__all__ = ["HOWS", "Candidates", "Fusion", "fit_fusion", "fuse_out_of_fold", "gather"]
__all__ += ["joined", "ordered"]

STACKERS = ("logistic", "svm", "knn", "lightgbm", "xgboost")
HOWS = ("best", "mean", "power", "stack", *STACKERS)
COMPARED = (
    "mean",
    "power",
    "logistic",
    "lightgbm",
    "stack",
)  # what ``best`` tries beside single sources
LEARNED_FROM = 10  # best candidates per source and query that the fits see
MOST_QUERIES = 4000  # that the fits see
TIE = 1e-6  # log-odds; far below what tells anything


@dataclass(frozen=True)
class Candidates:
    """The identities that any source thinks of, with what every source says of them.

    Attributes:
        identities: (Q, K) int, no repeats; ``NOBODY`` where there are fewer.
        scores: (Q, K, S) float64, one plane per source; -inf where a source says nothing.
        sources: The S names.
    """

    identities: NDArray[np.int64]
    scores: NDArray[np.float64]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.identities)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Candidates:
        """The same for some of the queries."""
        return Candidates(self.identities[rows], self.scores[rows], self.sources)


def gather(sources: Mapping[str, NDArray[np.floating]], *, keep: int = 50) -> Candidates:
    """Join the best candidates of every source.

    Args:
        sources: Name to (Q, N) scores of identities; -inf where an identity is no candidate.
        keep: Candidates taken per source and query.

    Returns:
        The union, by identity number.

    Raises:
        TransectError: If there is no source, or shapes differ.
    """
    if not sources or len({np.shape(s) for s in sources.values()}) != 1:
        shapes = {name: np.shape(s) for name, s in sources.items()}
        raise TransectError(
            f"sources must be (queries, identities) tables of one shape; got {shapes}."
        )
    tables = [np.asarray(s, np.float64) for s in sources.values()]
    count, width = tables[0].shape
    chosen = np.zeros((count, width), bool)
    for table in tables:
        found = evidence_from_scores(table, keep=keep).identities
        rows, columns = np.nonzero(found >= 0)
        chosen[rows, found[rows, columns]] = True
    most = max(int(chosen.sum(axis=1).max(initial=0)), 1)
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :most].astype(np.int64)
    real = np.take_along_axis(chosen, order, axis=1)
    scores = np.stack([np.take_along_axis(t, order, axis=1) for t in tables], axis=-1)
    scores[~real] = -np.inf
    return Candidates(np.where(real, order, NOBODY), scores, tuple(sources))


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Queries of several parts (folds) one after another."""
    widest = max(p.identities.shape[1] for p in parts)
    identities = [
        np.pad(p.identities, ((0, 0), (0, widest - p.identities.shape[1])), constant_values=NOBODY)
        for p in parts
    ]
    scores = [
        np.pad(
            p.scores,
            ((0, 0), (0, widest - p.scores.shape[1]), (0, 0)),
            constant_values=-np.inf,
        )
        for p in parts
    ]
    return Candidates(np.concatenate(identities), np.concatenate(scores), parts[0].sources)


@dataclass(frozen=True)
class Fusion:
    """A fitted way of joining sources.

    Attributes:
        how: A single source's name, mean, power, or a stacker.
        sources: Those it was fitted for.
        floors: Score per source that stands for "says nothing".
        curves: Slope and offset of the logistic curve of each source.
        shares: Weight of each source in mean and power.
        power: Of the power mean.
        model: Of a stacker, else empty.
    """

    how: str
    sources: tuple[str, ...]
    floors: tuple[float, ...]
    curves: tuple[tuple[float, float], ...]
    shares: tuple[float, ...]
    power: float = 0.5
    model: Mapping[str, Any] | None = None

    @property
    def used(self) -> tuple[str, ...]:
        """The sources whose scores count: one alone, or all that were fitted together."""
        return (self.how,) if self.how in self.sources else self.sources

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        """One score per candidate.

        Args:
            candidates: With at least the sources that are used.

        Returns:
            (Q, K) log-odds of being the same individual (for a single source: its own score);
            -inf where there is nobody.
        """
        missing = set(self.used) - set(candidates.sources)
        if missing:
            raise TransectError(
                f"scores of {', '.join(sorted(missing))} are missing. Give what the run was "
                "trained with."
            )
        planes = [candidates.sources.index(name) for name in self.used]
        floors = [self.floors[self.sources.index(name)] for name in self.used]
        filled = _filled(candidates.scores[..., planes], floors)
        real = candidates.identities >= 0
        if self.how in self.sources:
            value = filled[..., 0]
        elif self.how in ("mean", "power"):
            chance = self._calibrated(filled)
            blended = power_mean(
                [chance[..., s] for s in range(len(self.sources))],
                weights=self.shares,
                power=1.0 if self.how == "mean" else self.power,
            )
            if self.how == "power":
                blended = blended ** (1 / self.power)
            value = _logit(blended)
        else:
            assert self.model is not None
            features = _features(filled, real)
            flat = np.full(real.shape, 0.5)
            if real.any():
                flat[real] = predict_binary(self.model, features[real])
            # Trees give many candidates one score: among those the calibrated mean decides.
            value = _logit(flat) + TIE * self._calibrated(filled).mean(axis=-1)
        return np.where(real, value, -np.inf)

    def _calibrated(self, filled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of all sources."""
        slopes, offsets = (np.array(c) for c in zip(*self.curves, strict=True))
        return sigmoid(np.clip(filled * slopes + offsets, -30, 30))

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "how": self.how,
            "sources": list(self.sources),
            "floors": list(self.floors),
            "curves": [list(c) for c in self.curves],
            "shares": list(self.shares),
            "power": self.power,
            "model": None if self.model is None else dict(self.model),
        }

    @staticmethod
    def from_json(values: Any) -> Fusion:
        """Read back what ``to_json`` gave; nothing is executed.

        Raises:
            TransectError: If it is no fusion.
        """
        try:
            fusion = Fusion(
                how=str(values["how"]),
                sources=tuple(str(s) for s in values["sources"]),
                floors=tuple(float(f) for f in values["floors"]),
                curves=tuple((float(a), float(b)) for a, b in values["curves"]),
                shares=tuple(float(s) for s in values["shares"]),
                power=float(values["power"]),
                model=None if values["model"] is None else dict(values["model"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TransectError(
                f"a stored fusion is incomplete ({error}). Train again to make it anew."
            ) from error
        if fusion.how not in (*fusion.sources, *HOWS[1:]):
            raise unknown_name("the way of a stored fusion", fusion.how, HOWS)
        if fusion.how in ("stack", *STACKERS) and fusion.model is None:
            raise TransectError("a stored fusion has no model. Train again to make it anew.")
        return fusion


def fit_fusion(
    candidates: Candidates,
    truth: NDArray[np.integer],
    how: str,
    *,
    weights: NDArray[np.floating] | None = None,
    power: float = 0.5,
    seed: int = 0,
) -> Fusion:
    """Fit one way of joining on out-of-fold candidates.

    Every source is calibrated by a logistic curve on its best candidates. A stacker sees, for each
    source, the score and how far it stands above the best other candidate of the query.

    Args:
        candidates: Of Q queries.
        truth: (Q,) identity, or -1 for none we know.
        how: A source's name, mean, power, logistic, svm, knn, lightgbm, xgboost, or stack (the
            mean of logistic and LightGBM, the steadiest in our measurements).
        weights: (Q,) weight of each query, or None.
        power: Of the power mean.
        seed: Of what is random.

    Returns:
        The fusion. A stacker that needs more candidates than there are gives way to logistic.
    """
    names = candidates.sources
    if how not in (*names, *HOWS[1:]):
        raise unknown_name("fuse", how, (*names, *HOWS))
    finite = np.where(np.isfinite(candidates.scores), candidates.scores, np.nan)
    floors = []
    for plane in range(len(names)):
        values = finite[..., plane]
        values = values[np.isfinite(values)]
        floors.append(float(values.min()) if len(values) else 0.0)
    filled = _filled(candidates.scores, floors)
    real = candidates.identities >= 0
    right = real & (candidates.identities == np.asarray(truth)[:, None])
    weight = np.ones(len(candidates)) if weights is None else np.asarray(weights, np.float64)
    seen = _learned_from(filled, real, right)
    if len(candidates) > MOST_QUERIES:
        rng = np.random.default_rng(seed)
        left_out = np.ones(len(candidates), bool)
        left_out[rng.permutation(len(candidates))[:MOST_QUERIES]] = False
        seen[left_out] = False
    pair_weight = np.broadcast_to(weight[:, None], seen.shape)[seen]
    curves, shares = [], []
    for plane in range(len(names)):
        slope, offset = platt(filled[..., plane][seen], right[seen], pair_weight)
        curves.append((max(slope, 0.0), offset))
        shares.append(1.0 / len(names))
    model = None
    if how == "stack" or how in STACKERS:
        kinds: tuple[str, ...] = ("logistic", "lightgbm") if how == "stack" else (how,)
        kinds = tuple(k for k in kinds if int(seen.sum()) >= LEAST_FOR[k]) or ("logistic",)
        model = fit_binary(
            _features(filled, real)[seen], right[seen], pair_weight, models=kinds, seed=seed
        )
    return Fusion(how, names, tuple(floors), tuple(curves), tuple(shares), power, model)


def fuse_out_of_fold(
    candidates: Candidates,
    truth: NDArray[np.integer],
    folds: NDArray[np.integer],
    how: str = "best",
    *,
    weights: NDArray[np.floating] | None = None,
    groups: NDArray[np.generic] | None = None,
    power: float = 0.5,
    top_k: int = 5,
    closed: bool = False,
    seed: int = 0,
) -> tuple[NDArray[np.float64], Fusion, dict[str, float]]:
    """Join sources so that no query is scored by a fit that saw it.

    Args:
        candidates: Of Q queries.
        truth: (Q,) identity, or -1 for none we know.
        folds: (Q,) fold of each query; a fit never sees the fold it scores.
        how: As in ``fit_fusion``, or ``best``: single sources, mean, power, logistic, LightGBM
            and the stack of these two are compared.
        weights: (Q,) or None.
        groups: (Q,) encounters, or None; their queries count together in the comparison.
        power: Of the power mean.
        top_k: Places that count in the comparison.
        closed: Compare by the ranking of known queries alone, for decisions that keep the
            ranking and "none we know" apart.
        seed: Of what is random.

    Returns:
        (Q, K) out-of-fold scores; the fusion fitted on all; and MAP@k of what was compared, each
        with its own best constant for "none we know" (none if ``closed``). A single source stays
        unless a way of joining is clearly better than the best of them.
    """
    truths = np.asarray(truth, np.int64)
    weight = np.ones(len(candidates)) if weights is None else np.asarray(weights, np.float64)
    names = list(candidates.sources)
    tried = [how]
    if how == "best":
        tried = names + [x for x in COMPARED if len(names) > 1]
    keys = np.arange(len(candidates)) if groups is None else np.asarray(groups)
    scored: dict[str, NDArray[np.float64]] = {}
    worth: dict[str, NDArray[np.float64]] = {}
    for name in tried:
        scores = np.full(candidates.identities.shape, -np.inf)
        for fold in np.unique(folds):
            test = folds == fold
            train = ~test if (~test).any() else test
            fusion = fit_fusion(
                candidates.take(train),
                truths[train],
                name,
                weights=weight[train],
                power=power,
                seed=seed,
            )
            scores[test] = fusion.score(candidates.take(test))
        scored[name] = scores
        worth[name] = _rewards(candidates.identities, scores, truths, weight, top_k, closed)
    counted = np.where(truths >= 0, weight, 0.0) if closed else weight
    compared = {name: float(np.average(w, weights=counted)) for name, w in worth.items()}
    simple = max((n for n in tried if n in names), key=compared.__getitem__, default=tried[0])
    best = simple
    for name in tried:
        if compared[name] > compared[best] and clearly_better(
            worth[name], worth[simple], counted, keys
        ):
            best = name
    fitted = fit_fusion(candidates, truths, best, weights=weight, power=power, seed=seed)
    return scored[best], fitted, compared


def ordered(
    identities: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Candidates and scores, best first; equal scores keep their order."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(identities, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _rewards(
    identities: NDArray[np.int64],
    scores: NDArray[np.float64],
    truth: NDArray[np.int64],
    weights: NDArray[np.float64],
    top_k: int,
    closed: bool,
) -> NDArray[np.float64]:
    """(Q,) what each query earns, at the constant that is best for all or without one."""
    names, values = ordered(identities, scores)
    if closed:
        return rewards(names, truth, top_k=top_k)
    values = np.where(np.isfinite(values), values, -FAR)
    levels, at = sweep(values, place_of_truth(names, truth), weights, top_k=top_k)
    before = (values >= levels[int(at.argmax())]).sum(axis=1)
    return rewards(insert_unknown(names, before, top_k), truth, top_k=top_k)


def _filled(scores: NDArray[np.float64], floors: Sequence[float]) -> NDArray[np.float64]:
    """Replace "says nothing" by each source's floor."""
    return np.where(np.isfinite(scores), scores, np.asarray(floors))


def _learned_from(
    filled: NDArray[np.float64], real: NDArray[np.bool_], right: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(Q, K) the candidates that fits see: the best of every source.

    The right one is not added where no source ranks it so high. Where sources are weak, most of
    the right ones would then be far down among wrong ones that were chosen for being high, every
    curve would fall, and joining would be worse than the worst source.
    """
    seen = np.zeros_like(real)
    keep = min(LEARNED_FROM, filled.shape[1])
    for plane in range(filled.shape[2]):
        table = np.where(real, filled[..., plane], -np.inf)
        rank = np.argsort(np.argsort(-table, axis=1, kind="stable"), axis=1)
        seen |= real & (rank < keep)
    return seen if (seen & right).any() else seen | right


def _features(filled: NDArray[np.float64], real: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(Q, K, 2 S): each source's score, and how far it stands above the best other candidate."""
    out = []
    for plane in range(filled.shape[2]):
        table = np.where(real, filled[..., plane], -np.inf)
        if table.shape[1] > 1:
            two = -np.partition(-table, 1, axis=1)[:, :2]
        else:
            two = np.concatenate([table, np.full_like(table, -np.inf)], axis=1)
        other = np.where(table >= two[:, :1], two[:, 1:], two[:, :1])
        lead = np.where(np.isfinite(other) & real, table - other, 0.0)
        out += [np.where(real, table, 0.0), lead]
    return np.stack(out, axis=-1)


def _logit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds, kept finite."""
    clipped = np.clip(x, 1e-9, 1 - 1e-9)
    return np.log(clipped / (1 - clipped))
