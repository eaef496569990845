"""Geometry as a source of scores: keypoints kept in files, pairs matched, views judged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.folder import in_threads
from transect.data.images import read_image
from transect.errors import TransectError
from transect.identify.photos import Subject
from transect.matching import (
    Keypoints,
    KeypointSpec,
    ListedPairs,
    MatchSpec,
    PairTable,
    Validity,
    extract,
    fit_validity,
    load_validity,
    read_keypoints,
    run_pairs,
    save_validity,
    write_keypoints,
)
from transect.matching.validity import validity_features
from transect.openset.evidence import FAR, NOBODY
from transect.recipe import IdentifyDecide
from transect.types import Progress

__all__ = [
    "GeometryModel",
    "KeypointFiles",
    "best_proof",
    "cores",
    "cut_at_full_size",
    "fit_geometry",
    "match_rows",
    "pair_scores",
]

NOTHING = -8.0  # score of a pair without any match
UNVERIFIED = -4.85  # -8 + log(1 + 500) / 2: no pair without a homography scores higher
MOST_NEGATIVES = 4000  # pairs of different individuals that a validity classifier sees


def cores() -> int:
    """CPU cores that this process may use, which a scheduler may have made fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class KeypointFiles:
    """Keypoints of animals, one file each, taken once.

    Attributes:
        folder: Where they are.
        spec: How they are taken.
    """

    folder: Path
    spec: KeypointSpec

    @staticmethod
    def of(folder: Path, decide: IdentifyDecide) -> KeypointFiles:
        """As a recipe wants them."""
        return KeypointFiles(
            folder,
            KeypointSpec(
                max_keypoints=decide.keypoints,
                size_limit=decide.keypoint_side,
                # A thumbnail has next to no keypoints; half of the side is our guess.
                enlarge_below=decide.keypoint_side // 2,
                clahe=decide.keypoint_clahe,
            ),
        )

    def path(self, key: str) -> Path:
        """The file of one animal; any name will do for a key."""
        name = hashlib.sha256(f"{self.spec}|{key}".encode()).hexdigest()[:24]
        return self.folder / name[:2] / f"{name}.npz"

    def read(self, key: str) -> Keypoints:
        """Keypoints of one animal."""
        return read_keypoints(self.path(key))

    def take(self, subjects: Sequence[Subject], progress: Progress) -> NDArray[np.int64]:
        """Take the keypoints of animals that have no file yet.

        Returns:
            (N,) number of keypoints of each.
        """

        def work(subject: Subject) -> int:
            path = self.path(subject.key)
            if path.is_file():
                try:
                    return len(read_keypoints(path))
                except TransectError:
                    path.unlink()  # half a file of an older kind: it is made again
            found = extract(cut_at_full_size(subject), self.spec)
            write_keypoints(path, found)
            return len(found)

        counts = in_threads(
            work, subjects, lambda done, total: progress.step("keypoints", done, total)
        )
        return np.array(counts, np.int64)


def cut_at_full_size(subject: Subject) -> NDArray[np.generic]:
    """The animal's box in its photo, at full size."""
    pixels: NDArray[np.generic] = read_image(subject.image.path)
    if subject.box is None:
        return pixels
    x0, y0, x1, y1 = subject.box
    height, width = pixels.shape[:2]
    top, left = max(0, int(y0)), max(0, int(x0))
    return pixels[top : min(height, int(y1) + 2), left : min(width, int(x1) + 2)]


def match_rows(
    query: Callable[[int], Keypoints],
    gallery: Callable[[int], Keypoints],
    pairs: NDArray[np.int64],
    *,
    decide: IdentifyDecide,
    folder: Path | None,
    data: str,
    workers: int,
    progress: Progress,
) -> PairTable:
    """Match pairs of (query number, gallery number); resumable where a folder is given.

    Args:
        query: Keypoints of a query by number.
        gallery: Keypoints of a gallery photo by number.
        pairs: (P, 2).
        decide: ``min_matches`` is used.
        folder: Where chunks are kept, or None.
        data: What the numbers stand for: chunks of other photos are not used again.
        workers: Threads.
        progress: Told what happens.
    """
    return run_pairs(
        ListedPairs(pairs),
        query,
        gallery,
        folder,
        spec=MatchSpec(min_matches=decide.min_matches),
        workers=workers,
        data=hashlib.sha256(data.encode()).hexdigest(),
        progress=lambda done, total: progress.step("matching pairs", done, total),
    )


@dataclass(frozen=True)
class GeometryModel:
    """What judges a pair.

    Attributes:
        validity: Of homographies.
    """

    validity: Validity

    def save(self, path: Path) -> None:
        """Write it."""
        save_validity(path, self.validity)

    @staticmethod
    def load(path: Path) -> GeometryModel:
        """Read it; nothing in the file is executed."""
        return GeometryModel(load_validity(path))

    def scores(self, table: PairTable) -> NDArray[np.float64]:
        """(P,) one score per pair; see ``pair_scores``."""
        found = np.isfinite(table.homographies[:, 0, 0])
        chance = np.zeros(len(table))
        chance[found] = self.validity.probability(_features(table, found))
        return pair_scores(table, chance)


def pair_scores(table: PairTable, chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds that the view is possible, plus the logarithm of the places that it explains.

    Without a homography a pair stands, by its matches, below every one whose view is not all but
    impossible.
    """
    found = np.isfinite(table.homographies[:, 0, 0])
    clipped = np.clip(chance, 1e-3, 1 - 1e-3)
    verified = np.log(clipped / (1 - clipped)) + np.log1p(table.unique)
    return np.where(found, verified, NOTHING + np.log1p(table.matches) / 2)


def fit_geometry(table: PairTable, same: NDArray[np.bool_], *, seed: int) -> GeometryModel:
    """Learn to judge the views of pairs.

    Args:
        table: Pairs between different encounters.
        same: (P,) whether a pair is one individual.
        seed: Of the sample of negatives and of the trees.
    """
    found = np.isfinite(table.homographies[:, 0, 0])
    features, truth = _features(table, found), same[found]
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    if len(negative) > MOST_NEGATIVES:
        rng = np.random.default_rng(seed)
        negative = np.sort(rng.permutation(negative)[:MOST_NEGATIVES])
    chosen = np.concatenate([positive, negative])
    return GeometryModel(
        fit_validity(features[chosen], truth[chosen], np.zeros(len(chosen)), seed=seed, folds=0)
    )


def _features(table: PairTable, found: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What the validity classifier looks at, of the pairs that have a homography."""
    return validity_features(
        table.homographies[found], table.matches[found], table.inliers[found], table.unique[found]
    )


def best_proof(
    scores: NDArray[np.floating], owners: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The best pair of every query, if it was verified by a homography.

    Args:
        scores: (Q, G) of ``pair_scores``.
        owners: (G,) identities.
        rows: (G,) the gallery photos.

    Returns:
        (Q,) score, (Q,) whose, ``NOBODY`` if no pair was verified, and (Q,) the photo, or -1.
    """
    if not scores.shape[1]:
        none = np.full(len(scores), NOBODY, np.int64)
        return np.full(len(scores), -FAR), none, np.full(len(scores), -1, np.int64)
    top = scores.argmax(axis=1)
    value = scores[np.arange(len(scores)), top].astype(np.float64)
    real = value > UNVERIFIED
    return (
        np.where(np.isfinite(value), value, -FAR),
        np.where(real, owners[top], NOBODY),
        np.where(real, rows[top], -1),
    )
