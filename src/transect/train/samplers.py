"""Which items an epoch draws, and at which of their objects to look: pure numpy, by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.recipe import Stage
from transect.types import Image

__all__ = [
    "SAMPLERS",
    "Draws",
    "Items",
    "Sampler",
    "class_aware",
    "coverage",
    "curriculum",
    "foreground",
    "frequency",
    "identity",
    "mixed",
    "objects",
    "oversample",
    "sampler_for",
    "uniform",
    "weighted",
    "weights_of",
]

T = TypeVar("T")
_BINS = (1e-9, 0.1, 0.25, 0.5, 0.75)  # of coverage: empty, then as the salt winners binned it
_SHARE_AT_START = 0.3  # of the items in a curriculum; our guess
_ALL_FROM = 0.5  # of the stage, all items take part; our guess


Pool = NDArray[np.int64]


@dataclass(frozen=True)
class Draws:
    """What an epoch draws, in order.

    Attributes:
        index: (N,) int64, the items.
        focus: (N,) int64, the object of that item which the window shall show, -1 for anywhere.
    """

    index: NDArray[np.int64]
    focus: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.index[part], self.focus[part])

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Item and object of every draw."""
        return zip(self.index.tolist(), self.focus.tolist(), strict=True)


@dataclass(frozen=True)
class Items:
    """What samplers may know of the items of a fold.

    Attributes:
        count: Number of items.
        classes: Per item the classes of its objects, (K_i,) int; for foreground, object and
            class_aware. Without them, class_aware uses ``labels``; oversample uses them where there
            are no ``labels``.
        coverage: (N,) share of foreground in [0, 1]; for coverage.
        labels: (N,) class or identity; for identity, oversample and class_aware.
        weights: (N,) chances, for weighted; None is evenly.
        image_weights: (N,) at least 0, how much each item counts by the survey; None is evenly. All
            samplers that draw items by chance follow them.
        difficulty: (N,) for a curriculum: the low ones come first. For ``large_first``, minus the
            size.
        windows: (N,) at least 1: windows that show an item whole, the tiles of a large image. One
            pass draws an item so often, and where items are drawn evenly their windows are. None
            is one each.
    """

    count: int
    classes: Sequence[NDArray[np.int64]] | None = None
    coverage: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    image_weights: NDArray[np.float64] | None = None
    difficulty: NDArray[np.float64] | None = None
    windows: NDArray[np.float64] | None = None

    def windows_of(self, pool: Pool) -> NDArray[np.float64]:
        """Windows of the items of a pool."""
        return np.ones(len(pool)) if self.windows is None else self.windows[pool]

    def chances_of(self, pool: Pool) -> NDArray[np.float64]:
        """How often the items of a pool come beside each other: by windows and weights."""
        own = 1.0 if self.image_weights is None else self.image_weights[pool]
        return self.windows_of(pool) * own

    @property
    def one_pass(self) -> int:
        """Draws that show everything once."""
        everything = np.arange(self.count, dtype=np.int64)
        return int(np.rint(self.windows_of(everything)).sum())


def weights_of(images: Sequence[Image]) -> NDArray[np.float64] | None:
    """The weights of images as ``Items`` holds them: (N,), or None where all count alike."""
    weights = np.array([image.weight for image in images], np.float64)
    return None if (weights == 1).all() else weights


Sampler = Callable[[int], Draws]
"""From an epoch (from 0) to its draws, the same at every call."""


def uniform(items: Items, pool: Pool, draws: int, rng: np.random.Generator) -> Draws:
    """Shuffled passes: no window is drawn again before all have been; by chance with weights."""
    if items.image_weights is not None:
        return weighted(replace(items, weights=None), pool, draws, rng)
    windows = np.repeat(pool, np.rint(items.windows_of(pool)).astype(np.int64))
    passes = [rng.permutation(windows) for _ in range(math.ceil(draws / len(windows)))]
    return _anywhere(np.concatenate(passes)[:draws])


def weighted(items: Items, pool: Pool, draws: int, rng: np.random.Generator) -> Draws:
    """With replacement, by the weights, the survey's and those of ``Items``, and by windows."""
    own = 1.0 if items.weights is None else items.weights[pool]
    return _anywhere(rng.choice(pool, draws, p=_chances(items.chances_of(pool) * own, "weighted")))


def foreground(items: Items, pool: Pool, draws: int, rng: np.random.Generator) -> Draws:
    """Items with any object, evenly; then one of the item's objects."""
    chances = items.chances_of(pool)
    return _by_objects(items, pool, draws, rng, lambda count: (count > 0) * chances)


def objects(items: Items, pool: Pool, draws: int, rng: np.random.Generator) -> Draws:
    """Every object of the fold with the same chance (sea lions 2nd place, 20 % of its draws)."""
    own = np.ones(len(pool)) if items.image_weights is None else items.image_weights[pool]
    return _by_objects(items, pool, draws, rng, lambda count: count * own)


def class_aware(items: Items, pool: Pool, draws: int, rng: np.random.Generator) -> Draws:
    """Classes evenly, then an item that has the class, then an object of it (Shen 2016)."""
    if items.classes is None:
        labels = _known(items.labels, "class_aware", "classes")[pool]
        place = np.unique(labels, return_inverse=True)[1]
        own = items.chances_of(pool)
        return _anywhere(rng.choice(pool, draws, p=_evenly(own, place, "class_aware")))
    having: dict[int, list[int]] = {}
    for item in pool.tolist():
        for name in np.unique(items.classes[item]).tolist():
            having.setdefault(name, []).append(item)
    if not having:
        return uniform(items, pool, draws, rng)
    names = sorted(having)
    owners = {name: np.array(items_having) for name, items_having in having.items()}
    every = items.image_weights
    shares = {
        name: None if every is None else _chances(every[own], "class_aware")
        for name, own in owners.items()
    }
    index, focus = np.empty(draws, np.int64), np.empty(draws, np.int64)
    for k, name in enumerate(rng.integers(len(names), size=draws).tolist()):
        index[k] = rng.choice(owners[names[name]], p=shares[names[name]])
        focus[k] = rng.choice(np.flatnonzero(items.classes[index[k]] == names[name]))
    return Draws(index, focus)


def frequency(items: Items, pool: Pool, draws: int, rng: np.random.Generator) -> Draws:
    """By one over the root of how many items have the label: between evenly and as it comes.

    References:
        Mahajan et al. 2018, "Exploring the limits of weakly supervised pretraining", section 2.2.
    """
    labels = _known(items.labels, "frequency", "labels")[pool]
    _, place, count = np.unique(labels, return_inverse=True, return_counts=True)
    chances = items.chances_of(pool) / np.sqrt(count[place])
    return _anywhere(rng.choice(pool, draws, p=_chances(chances, "frequency")))


def coverage(items: Items, pool: Pool, draws: int, rng: np.random.Generator) -> Draws:
    """Bins of coverage (empty, to .1, .25, .5, .75, 1) evenly."""
    bins = np.digitize(_known(items.coverage, "coverage", "coverage")[pool], _BINS)
    chances = _evenly(items.chances_of(pool), bins, "coverage")
    return _anywhere(rng.choice(pool, draws, p=chances))


def identity(
    items: Items,
    pool: Pool,
    draws: int,
    rng: np.random.Generator,
    *,
    per_identity: int = 4,
    batch: int = 16,
) -> Draws:
    """P identities with K items each in every batch, P = batch / K.

    An identity with fewer than K items repeats some; no batch has an identity twice unless there
    are fewer than P. Over an epoch every identity comes equally often, to within one.

    Raises:
        TransectError: If the batch is not a multiple of K.
    """
    if batch % per_identity:
        raise TransectError(
            f"batch must be a multiple of per_identity for the sampler identity; got {batch} and "
            f"{per_identity}. Take batch={max(1, batch // per_identity) * per_identity}."
        )
    labels = _known(items.labels, "identity", "labels")[pool]
    names, starts = np.unique(np.sort(labels), return_index=True)
    members = np.split(pool[np.argsort(labels, kind="stable")], starts[1:])
    people = batch // per_identity
    order: list[int] = []
    wanted = math.ceil(draws / batch) * people
    while len(order) < wanted:
        fresh = rng.permutation(len(names)).tolist()
        open_places = (people - len(order) % people) % people
        taken = set(order[len(order) - len(order) % people :])
        # A batch that the last pass left unfinished takes identities it does not have yet.
        first = [n for n in fresh if n not in taken][:open_places]
        order += first + [n for n in fresh if n not in first]
    chosen = [
        rng.choice(members[n], per_identity, replace=len(members[n]) < per_identity)
        for n in order[:wanted]
    ]
    return _anywhere(np.concatenate(chosen)[:draws])


def oversample(
    items: Items, pool: Pool, draws: int, rng: np.random.Generator, *, least: int = 10
) -> Draws:
    """Every item once, those of rare labels again until the label has ``least`` draws.

    yu4u's whales repeated identities up to 10. Items with objects of several classes are repeated
    for their rarest class first, and count for all of theirs. Passes follow each other until there
    are ``draws``; the last one is whole.
    """
    if items.labels is None:
        classes = _known(items.classes, "oversample", "labels or classes")
        labels = [np.unique(classes[item]).tolist() for item in pool.tolist()]
    else:
        labels = [[label] for label in items.labels[pool].tolist()]
    having: dict[int, list[int]] = {}
    for place, own in enumerate(labels):
        for label in own:
            having.setdefault(label, []).append(place)
    times = np.ones(len(pool), np.int64)
    for label in sorted(having, key=lambda label: (len(having[label]), label)):
        members = np.array(having[label])
        missing = least - int(times[members].sum())
        if missing > 0:
            whole, rest = divmod(missing, len(members))
            times[members] += whole
            times[rng.permutation(members)[:rest]] += 1
    once = np.repeat(pool, times)
    passes = [rng.permutation(once) for _ in range(max(1, math.ceil(draws / len(once))))]
    return _anywhere(np.concatenate(passes))


SAMPLERS: dict[str, Callable[..., Draws]] = {
    "uniform": uniform,
    "foreground": foreground,
    "object": objects,
    "class_aware": class_aware,
    "frequency": frequency,
    "coverage": coverage,
    "identity": identity,
    "oversample": oversample,
    "weighted": weighted,
}


def curriculum(difficulty: NDArray[np.float64], fraction: float) -> Pool:
    """Items that take part so far: the easiest 30 % at first, all from half of the stage.

    Args:
        difficulty: (N,) low is easy; equal ones in the order of the items.
        fraction: Progress of the stage in [0, 1].

    Returns:
        Numbers of the items, ascending, at least one.

    Example:
        >>> curriculum(np.array([3.0, 1.0, 2.0, 4.0]), 0.0)
        array([1, 2])
    """
    share = _SHARE_AT_START + (1 - _SHARE_AT_START) * min(1.0, fraction / _ALL_FROM)
    easiest = np.argsort(difficulty, kind="stable")[: max(1, math.ceil(share * len(difficulty)))]
    return np.sort(easiest).astype(np.int64)


def sampler_for(stage: Stage, items: Items, *, seed: int, draws: int | None = None) -> Sampler:
    """The sampler of a stage.

    Args:
        stage: ``sampler``, ``sampler_share``, ``per_identity``, ``batch``, ``curriculum``.
        items: What is known of the items.
        seed: Of the draws.
        draws: Items per epoch; None is ``steps * batch``, or one pass (longer for oversample).

    Returns:
        Draws by epoch. With ``sampler_share`` below 1 each draw is uniform with the rest of the
        probability.

    Raises:
        TransectError: On unknown names, no items, or something that the sampler needs and the
            items lack.
    """
    if items.count < 1:
        raise TransectError("there is nothing to draw from: the fold has no training items.")
    if stage.sampler not in SAMPLERS:
        raise unknown_name(f"sampler of stage {stage.name}", stage.sampler, SAMPLERS)
    if stage.curriculum not in {"none", "easy_first", "large_first"}:
        raise unknown_name(
            f"curriculum of stage {stage.name}", stage.curriculum,
            ["none", "easy_first", "large_first"],
        )  # fmt: skip
    fixed = stage.sampler in {"identity", "oversample"}
    if fixed and stage.sampler_share < 1:
        raise TransectError(
            f"sampler {stage.sampler} of stage {stage.name} composes whole batches or epochs and "
            f"needs sampler_share=1; got {stage.sampler_share}."
        )
    if fixed and items.image_weights is not None:
        raise TransectError(
            f"sampler {stage.sampler} of stage {stage.name} draws by individuals or classes and "
            "cannot follow the column weight of images.csv. Take the sampler uniform or weighted, "
            "or remove the column."
        )
    if draws is None and stage.steps:
        draws = stage.steps * stage.batch * stage.accumulate
    wanted = items.one_pass if draws is None else draws
    more = {
        "identity": {"per_identity": stage.per_identity, "batch": stage.batch},
        "oversample": {"least": stage.per_identity},
    }.get(stage.sampler, {})

    def sample(epoch: int) -> Draws:
        rng = np.random.default_rng([seed, epoch])
        pool = np.arange(items.count, dtype=np.int64)
        if stage.curriculum != "none":
            difficulty = _known(items.difficulty, stage.curriculum, "difficulty")
            pool = curriculum(difficulty, epoch / max(1, stage.epochs))
        chosen = SAMPLERS[stage.sampler](items, pool, wanted, rng, **more)[:draws]
        if stage.sampler == "uniform" or stage.sampler_share >= 1:
            return chosen
        other = uniform(items, pool, wanted, rng)
        follow = rng.random(wanted) < stage.sampler_share
        return Draws(
            np.where(follow, chosen.index, other.index), np.where(follow, chosen.focus, other.focus)
        )

    sample(0)  # what is missing is said now, not in the first epoch
    return sample


def mixed(labelled: Sampler, pseudo: Sampler, *, offset: int, share: float, batch: int) -> Sampler:
    """Batches of labelled items with a fixed share of pseudo-labelled ones.

    Args:
        labelled: Gives the length of the epoch.
        pseudo: Is drawn as often as needed.
        offset: Added to the numbers of the pseudo-labelled items.
        share: Of each batch that is pseudo-labelled, in [0, 1); rounded to whole items.
        batch: Items per batch; in each the labelled ones come first.

    Returns:
        Draws of both kinds. Every labelled item that ``labelled`` drew is among them once.
    """
    of_pseudo = min(batch - 1, round(share * batch))
    of_labelled = batch - of_pseudo

    def sample(epoch: int) -> Draws:
        own = labelled(epoch)
        batches = math.ceil(len(own) / of_labelled)
        wanted = batches * of_pseudo
        parts, have, turn = [], 0, 0
        while have < wanted:
            parts.append(pseudo(epoch * 1000 + turn))
            have += len(parts[-1])
            turn += 1
        index, focus = [], []
        other = np.concatenate([p.index for p in parts]) + offset if parts else own.index[:0]
        aims = np.concatenate([p.focus for p in parts]) if parts else own.focus[:0]
        for k in range(batches):
            mine = slice(k * of_labelled, (k + 1) * of_labelled)
            theirs = slice(k * of_pseudo, (k + 1) * of_pseudo)
            index += [own.index[mine], other[theirs]]
            focus += [own.focus[mine], aims[theirs]]
        return Draws(np.concatenate(index), np.concatenate(focus))

    return sample


def _by_objects(
    items: Items,
    pool: Pool,
    draws: int,
    rng: np.random.Generator,
    weight: Callable[[NDArray[np.int64]], NDArray[np.float64]],
) -> Draws:
    """Items by a weight of their number of objects, then any of these; uniform without any."""
    classes = _known(items.classes, "foreground or object", "objects")
    count = np.array([len(classes[item]) for item in pool.tolist()], np.int64)
    if not count.any():
        return uniform(items, pool, draws, rng)
    chances = weight(count)
    place = rng.choice(len(pool), draws, p=chances / chances.sum())
    focus = (rng.random(draws) * count[place]).astype(np.int64)
    return Draws(pool[place], focus)


def _anywhere(index: NDArray[np.int64]) -> Draws:
    return Draws(index.astype(np.int64), np.full(len(index), -1, np.int64))


def _chances(weights: NDArray[np.float64], sampler: str) -> NDArray[np.float64]:
    total = weights.sum()
    if not np.isfinite(total) or total <= 0 or (weights < 0).any():
        raise TransectError(
            f"sampler {sampler} needs weights that are finite, not negative and not all zero; got "
            f"a sum of {total}."
        )
    return weights / total


def _evenly(own: NDArray[np.float64], bins: NDArray[np.int64], sampler: str) -> NDArray[np.float64]:
    """Chances that make bins come evenly, and the items of a bin by their own."""
    total = np.bincount(bins, own)[bins]
    return _chances(np.divide(own, total, out=np.zeros_like(own), where=total > 0), sampler)


def _known(value: T | None, sampler: str, what: str) -> T:
    if value is None:
        raise TransectError(
            f"sampler or curriculum {sampler} needs the {what} of the items, which this survey "
            "does not have. Choose sampler=uniform and curriculum=none."
        )
    return value
