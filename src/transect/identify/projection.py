"""A linear map on vectors that shrinks what differs between photos of one individual.

Fitted in a second, it lifts vectors of a network that was never trained on the survey by more than
a short training does (see ``docs/experiments.md``).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import atomic_path

__all__ = ["Projection", "fit_projection", "load_projection", "save_projection"]

SHRINK = 0.05  # towards the round covariance, beside Ledoit and Wolf's; our measurement
MOST = 96  # length of the result; 48 did as well in our measurements
FEW_PEOPLE = 24  # below, the directions between individuals are not trusted; our guess


@dataclass(frozen=True)
class Projection:
    """The map: subtract, multiply, bring to length 1.

    Attributes:
        centre: (D,) float32.
        matrix: (D, d) float32.
    """

    centre: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __call__(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """(..., D) of length 1 to (..., d) of length 1."""
        moved = (np.asarray(vectors, np.float32) - self.centre) @ self.matrix
        length = np.linalg.norm(moved, axis=-1, keepdims=True)
        projected: NDArray[np.float32] = moved / np.maximum(length, 1e-12)
        return projected


def fit_projection(copies: NDArray[np.floating], label: NDArray[np.integer]) -> Projection:
    """Linear discriminant analysis with shrinkage, on photos and random views of them.

    The covariance within individuals, of all their photos and views, is made round; of what is
    left, the directions in which individuals differ most are kept. Views of one photo count as
    photos of its individual, so that individuals on a single photo take part.

    Args:
        copies: (N, C, D) vectors of C views of each photo, of length 1.
        label: (N,) individual, -1 for photos that nobody named: each is its own.

    Returns:
        The map.

    References:
        Fisher 1936; Ledoit and Wolf 2004. Whitening of retrieval vectors: Jegou and Chum 2012.
    """
    from sklearn.covariance import ledoit_wolf

    data = np.asarray(copies, np.float64)
    owner = np.asarray(label, np.int64).copy()
    alone = owner < 0
    owner[alone] = owner.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    people, person = np.unique(owner, return_inverse=True)
    means = data.mean(axis=1)
    centre = means.mean(axis=0)
    count = np.bincount(person)
    middle = np.zeros((len(people), data.shape[2]))
    np.add.at(middle, person, means)
    middle /= count[:, None]
    rest = (data - middle[person][:, None]).reshape(-1, data.shape[2])
    several = np.repeat(count[person] * data.shape[1] > 1, data.shape[1])
    within = ledoit_wolf(rest[several] if several.any() else rest, assume_centered=True)[0]
    size = np.trace(within) / len(within)
    within = (1 - SHRINK) * within + SHRINK * size * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    white = vectors * np.maximum(values, 1e-12) ** -0.5
    named = ~alone
    known = np.unique(person[named]) if named.any() else np.arange(len(people))
    if len(known) >= FEW_PEOPLE:
        spread, keep = (middle[known] - centre) @ white, min(MOST, len(known) - 1)
    else:
        spread, keep = (means - centre) @ white, min(MOST, len(means) - 1)
    axes = np.linalg.eigh(np.atleast_2d(np.cov(spread.T)))[1][:, ::-1][:, : max(keep, 1)]
    # The sign of an axis is arbitrary: fix it, so that the same data give the same bytes.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return Projection(centre.astype(np.float32), (white @ axes).astype(np.float32))


def save_projection(path: Path, projection: Projection) -> None:
    """Write the two arrays."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, centre=projection.centre, matrix=projection.matrix)


def load_projection(path: Path) -> Projection:
    """Read the two arrays; nothing in the file is executed.

    Raises:
        TransectError: If the file is missing or holds something else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            projection = Projection(
                stored["centre"].astype(np.float32), stored["matrix"].astype(np.float32)
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TransectError(
            f"{path} holds no projection ({error}). Restore it, or train again."
        ) from error
    if projection.matrix.ndim != 2 or len(projection.centre) != len(projection.matrix):
        raise TransectError(f"{path} holds a projection of a wrong shape. Train again.")
    return projection
