"""Pictures to look at: clusters, contact sheets, and which images to annotate next."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.audit.fingerprints import Prints

__all__ = ["cluster", "contact_sheet", "next_images", "png"]

_CELL = 48


def look_vectors(prints: Prints) -> NDArray[np.float32]:
    """(N, D) standardised vectors of how pictures look: cheap features and small colours."""
    features = np.sign(prints.features) * np.log1p(np.abs(prints.features))
    small = prints.colour.reshape(len(prints), COLOUR_CELLS, 4, COLOUR_CELLS, 4, 3)
    colours = small.mean(axis=(2, 4)).reshape(len(prints), -1) / 32.0
    both = []
    for part, weight in ((features, 1.0), (colours, 0.5)):
        centred = part - part.mean(axis=0)
        both.append(weight * centred / np.maximum(centred.std(axis=0), 1e-3))
    return np.asarray(np.concatenate(both, axis=1), np.float32)


COLOUR_CELLS = 4


def cluster(prints: Prints, *, count: int | None = None, seed: int = 0) -> NDArray[np.int64]:
    """Cluster pictures by how they look.

    Args:
        prints: Of N pictures.
        count: Number of clusters; None takes about the square root of N / 2, at most 12.
        seed: Of the start.

    Returns:
        (N,) cluster, 0 the largest.
    """
    from sklearn.cluster import MiniBatchKMeans

    if len(prints) == 0:
        return np.zeros(0, np.int64)
    wanted = count or max(1, min(12, round(np.sqrt(len(prints) / 2))))
    vectors = look_vectors(prints)
    wanted = min(wanted, len(np.unique(vectors, axis=0)))
    model = MiniBatchKMeans(wanted, random_state=seed, n_init=3, batch_size=1024)
    labels = model.fit_predict(vectors)
    order = np.argsort(-np.bincount(labels, minlength=wanted), kind="stable")
    rank = np.empty(wanted, np.int64)
    rank[order] = np.arange(wanted)
    return rank[labels]


def contact_sheet(
    prints: Prints, rows: Sequence[int] | NDArray[np.int64], *, columns: int = 16, most: int = 64
) -> bytes:
    """A sheet of small pictures as PNG.

    Args:
        prints: Of the pictures.
        rows: Which of them, in the order of the sheet.
        columns: Pictures in a row.
        most: Pictures at most.

    Returns:
        PNG bytes.
    """
    picked = list(rows)[:most]
    columns = min(columns, max(len(picked), 1))
    high = -(-max(len(picked), 1) // columns)
    sheet = np.full((high * (_CELL + 2), columns * (_CELL + 2), 3), 255, np.uint8)
    for i, row in enumerate(picked):
        grey = prints.grey[row].astype(np.float32)
        colour = prints.colour[row].astype(np.float32)
        # Detail from the grey thumbnail, hue from the smaller coloured one.
        tint = cv2.resize(colour, (_CELL, _CELL))
        fine = cv2.resize(grey, (_CELL, _CELL))[..., None]
        cell = np.clip(tint - tint.mean(axis=2, keepdims=True) + fine, 0, 255)
        y, x = (i // columns) * (_CELL + 2), (i % columns) * (_CELL + 2)
        sheet[y : y + _CELL, x : x + _CELL] = cell
    return png(sheet)


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture, (H, W) or (H, W, 3) RGB uint8, as PNG bytes."""
    shown = picture if picture.ndim == 2 else np.ascontiguousarray(picture[..., ::-1])
    _, data = cv2.imencode(".png", shown)
    return bytes(data)


def next_images(
    prints: Prints,
    *,
    count: int,
    done: Sequence[int] = (),
    disagreement: NDArray[np.floating] | None = None,
) -> list[int]:
    """Which images to annotate next: unlike those that are done, and doubted by the models.

    Args:
        prints: Of N pictures.
        count: How many to name.
        done: Rows that are annotated already.
        disagreement: (N,) of ensemble members or views, >= 0; None counts all alike.

    Returns:
        Rows, best first. Each is the one with the largest product of its distance from all that
        are done or chosen (k-centre greedy, Sener and Savarese 2018) and its disagreement.
    """
    vectors = look_vectors(prints)
    doubt = np.ones(len(prints)) if disagreement is None else np.asarray(disagreement, np.float64)
    doubt = np.where(prints.flat, 0.0, np.maximum(doubt, 0.0))
    if len(done):
        away = np.full(len(prints), np.inf)
        for start in range(0, len(done), 64):
            part = vectors[np.asarray(done[start : start + 64])]
            gaps = (vectors**2).sum(1)[:, None] - 2 * vectors @ part.T + (part**2).sum(1)[None]
            away = np.minimum(away, np.sqrt(np.clip(gaps, 0, None)).min(axis=1))
    else:
        away = np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1)
        away = 1.0 / (1.0 + away)  # begin with what is typical
    chosen: list[int] = []
    blocked = np.zeros(len(prints), np.bool_)
    blocked[list(done)] = True
    for turn in range(min(count, len(prints) - int(blocked.sum()))):
        value = np.where(blocked, -1.0, away * doubt)
        best = int(value.argmax())
        chosen.append(best)
        blocked[best] = True
        gap = np.linalg.norm(vectors - vectors[best], axis=1)
        away = gap if turn == 0 and not len(done) else np.minimum(away, gap)
    return chosen
