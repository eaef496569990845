"""Every source's scores of queries against gallery photos, in training and on new photos alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from transect.data.inputs import Inputs
from transect.errors import TransectError, unknown_name
from transect.files import atomic_path
from transect.identify.classes import asked_one_by_one, check_classes, class_scores
from transect.identify.embedding import embed_with, joined_views, unit
from transect.identify.photos import Photos
from transect.identify.projection import Projection, fit_projection
from transect.identify.training import build_recogniser, embedding_of
from transect.models.siamese import PairHead, pair_score_matrix
from transect.openset.aggregation import to_identity
from transect.recipe import IdentifyDecide, Member, Recipe
from transect.train.checkpoint import load_weights

__all__ = [
    "FoldModel",
    "fit_projections",
    "image_scores",
    "source_names",
    "write_array",
    "write_arrays",
]

EXTRA = ("geometry", "lnbnn")
PROJECTIONS = ("none", "lda")
PROJECTED = 64  # vectors that are projected together
MOST_PROJECTED = 4000  # photos that a projection is fitted on


def source_names(recipe: Recipe) -> tuple[str, ...]:
    """The sources of a recipe, members by name.

    Raises:
        TransectError: On an unknown source, or none.
    """
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    kinds = {m.name: "siamese" if is_siamese(m) else "embedding" for m in recipe.members}
    found: list[str] = []
    for name in decide.sources:
        if name in ("embedding", "siamese"):
            found += [m for m, kind in kinds.items() if kind == name]
        elif name in kinds or name in EXTRA:
            found.append(name)
        else:
            raise unknown_name("a source", name, ("embedding", "siamese", *EXTRA, *kinds))
    names = tuple(dict.fromkeys(found))
    if not names:
        raise TransectError(
            "the recipe has no source of scores: decide.sources names none of its members. Add "
            "geometry, or a member."
        )
    for member in recipe.members:
        if member.name in names:
            check_classes(member, decide)
    return names


@dataclass(frozen=True)
class FoldModel:
    """One member as one fold trained it: its snapshots, loaded one after another.

    Attributes:
        member: The recipe's.
        snapshots: Files and their weights.
        counts: Photos per identity of its training.
        projections: One per snapshot, or none.
        channels: Of the cut-outs that it was trained on.
        classes: Names of the individuals of its training, in the order of its classes.
    """

    member: Member
    snapshots: tuple[tuple[Path, float], ...]
    counts: tuple[int, ...]
    projections: tuple[Projection, ...] = ()
    channels: int = 3
    classes: tuple[str, ...] = ()

    def models(self, device: str) -> list[tuple[torch.nn.Module, float]]:
        """The networks."""
        inputs = Inputs(self.member.geometry, self.channels)
        if not self.snapshots:
            model = build_recogniser(self.member, inputs, self.counts)
            return [(model.to(device).eval(), 1.0)]
        made: list[tuple[torch.nn.Module, float]] = []
        for path, weight in self.snapshots:
            model = build_recogniser(self.member, inputs, self.counts, pretrained=False)
            load_weights(model, path)
            made.append((model.to(device).eval(), weight))
        return made


def raw_vectors(
    fold: FoldModel,
    photos: Photos,
    rows: Sequence[int] | NDArray[np.integer],
    decide: IdentifyDecide,
    *,
    views: Sequence[str],
    device: str,
) -> list[tuple[NDArray[np.float32], float]]:
    """What the networks of a fold say of photos: (N, V, C, D) of every snapshot, and its weight."""
    network = embedding_of(fold.member)
    siamese = is_siamese(fold.member)
    return [
        (
            embed_with(
                model,
                photos,
                rows,
                fold.member.geometry,
                device=device,
                scales=decide.views,
                mirrored=network.flip_labels or "hflip" in views,
                jitter=0 if siamese else network.jitter,
                augment=fold.member.augment,
                output="features" if siamese else "embedding",
            ),
            weight,
        )
        for model, weight in fold.models(device)
    ]


def joined_vectors(
    fold: FoldModel, found: Sequence[tuple[NDArray[np.float32], float]]
) -> NDArray[np.float32]:
    """One vector per photo from ``raw_vectors``: the same in training and afterwards.

    Returns:
        (N, D') of length 1 for an embedding (views and snapshots side by side, so that a product
        is a mean cosine); (N, V, D) features for a Siamese network.
    """
    if is_siamese(fold.member):
        # A pair head fits the features of its own snapshot only: the last one.
        return np.ascontiguousarray(found[-1][0][:, :, 0])
    total = sum(weight for _, weight in found)
    parts = []
    for number, (vectors, weight) in enumerate(found):
        short = unit(vectors).mean(axis=2) if vectors.shape[2] > 1 else vectors[:, :, 0]
        if fold.projections:
            short = _by_blocks(fold.projections[number], unit(short))
        parts.append(joined_views(short) * np.float32(np.sqrt(weight / total)))
    return np.concatenate(parts, axis=1)


def _by_blocks(project: Projection, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Project always as many vectors at once, so that a photo's bytes hang on no other photo."""
    parts = []
    for start in range(0, len(vectors), PROJECTED):
        block = vectors[start : start + PROJECTED]
        missing = ((0, PROJECTED - len(block)), *((0, 0),) * (vectors.ndim - 1))
        parts.append(project(np.pad(block, missing))[: len(block)])
    return np.concatenate(parts) if parts else project(vectors)


def fit_projections(
    fold: FoldModel,
    found: Sequence[tuple[NDArray[np.float32], float]],
    label: NDArray[np.int64],
) -> tuple[Projection, ...]:
    """One projection per snapshot of a fold, fitted on its training photos.

    Args:
        fold: The trained fold.
        found: ``raw_vectors`` of the training photos.
        label: (N,) individuals, -1 for the unnamed.

    Raises:
        TransectError: On an unknown kind of projection.
    """
    kind = embedding_of(fold.member).project
    if kind not in PROJECTIONS:
        raise unknown_name(f"project of member {fold.member.name}", kind, PROJECTIONS)
    if kind == "none" or is_siamese(fold.member):
        return ()
    some = np.arange(len(label))
    if len(label) > MOST_PROJECTED:  # a covariance needs no more
        some = np.sort(np.random.default_rng(0).permutation(len(label))[:MOST_PROJECTED])
    fitted = []
    for vectors, _ in found:
        plain = unit(vectors[some, 0])  # (N, C, D): mirrored views are other individuals
        # The mean of the copies comes back to length 1 when vectors are made: learn on such, too.
        middle = unit(plain.mean(axis=1, keepdims=True))
        fitted.append(fit_projection(np.concatenate([middle, plain], axis=1), label[some]))
    return tuple(fitted)


def image_scores(
    fold: FoldModel,
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    *,
    device: str,
) -> NDArray[np.float32]:
    """(Q, G) scores from vectors of ``vectors_of``: cosines, or probabilities of a pair head."""
    if not is_siamese(fold.member):
        return np.asarray(queries, np.float32) @ np.asarray(gallery, np.float32).T
    model = fold.models(device)[-1][0]
    head = model.head
    assert isinstance(head, PairHead)
    total = np.zeros((len(queries), len(gallery)), np.float32)
    for view in range(queries.shape[1]):
        logits = pair_score_matrix(
            head,
            torch.from_numpy(np.ascontiguousarray(queries[:, view])).to(device),
            torch.from_numpy(np.ascontiguousarray(gallery[:, view])).to(device),
        )
        total += 1 / (1 + np.exp(-logits))
    return total / queries.shape[1]


def identity_scores(
    fold: FoldModel,
    scores: NDArray[np.float32],
    queries: NDArray[np.float32],
    centres: Callable[[], NDArray[np.float32]],
    owners: NDArray[np.int64],
    people: Sequence[str],
    decide: IdentifyDecide,
    *,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """(Q, N) scores of identities from those of photos, as the recipe joins them.

    ``centres`` gives the (N, D) prototypes of the gallery where the recipe asks for them.

    With ``classes`` they are the probabilities of the network's own classes; an individual that
    it was not trained on has none and is no candidate.
    """
    count = len(people)
    if decide.to_identity == "classes" and not is_siamese(fold.member):
        network = embedding_of(fold.member)
        return class_scores(
            fold.models(device),
            queries,
            fold.classes,
            people,
            binary=asked_one_by_one(network),
            mirrored=network.flip_labels,
        )
    if decide.to_identity == "prototype" and not is_siamese(fold.member):
        table = np.asarray(queries @ centres().T, np.float64)
        absent = ~np.isin(np.arange(count), owners)
        table[:, absent] = -np.inf
        return table
    others = {"prototype": "mean", "classes": "max"}  # of a Siamese network, which has neither
    how = others.get(decide.to_identity, decide.to_identity)
    return to_identity(scores, owners, count, how=how)


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write a ``.npy`` file, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_arrays(path: Path, **arrays: NDArray[np.generic]) -> None:
    """Write a ``.npz`` file, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def is_siamese(member: Member) -> bool:
    return embedding_of(member).head == "siamese"
