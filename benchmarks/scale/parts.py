"""The parts that are measured; each makes its data, then yields once, then does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

__all__ = ["PARTS"]

DIM = 128  # numbers in a vector
EACH = 10  # photos per individual


def _unit(rows: np.ndarray) -> np.ndarray:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _animals(folder: Path, count: int, queries: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Photos of individuals in order, as a memory map, and queries that show some of them."""
    rng = np.random.default_rng(0)
    gallery = np.memmap(folder / "gallery.f32", np.float32, "w+", shape=(count, dim))
    step = 10_000
    for first in range(0, count, step):
        size = min(step, count - first)
        centres = rng.normal(size=(size // EACH, dim)).astype(np.float32)
        noise = rng.normal(size=(size, dim)).astype(np.float32)
        gallery[first : first + size] = _unit(np.repeat(centres, EACH, axis=0) + 0.8 * noise)
    chosen = rng.integers(0, count, queries)
    noise = rng.normal(size=(queries, dim)).astype(np.float32)
    asked = _unit(gallery[chosen] + 0.03 * noise)
    _scores(gallery[:100], asked[:1])  # what is imported is imported now
    return gallery, asked


def _features(vectors: np.ndarray, owners: np.ndarray):
    from transect.identify.predictor import Features

    sides = np.full(len(vectors), "", "U1")
    return Features(np.arange(len(vectors)), owners, sides, {("m", 0): vectors}, lambda i: None)


def _scores(gallery: np.ndarray, queries: np.ndarray):
    from transect.identify.predictor import Scorers, score_queries
    from transect.identify.scorers import FoldModel
    from transect.recipe import Embedding, IdentifyDecide, Member
    from transect.types import Quiet

    member = Member("m", Embedding(head="none"), stages=())
    scorers = Scorers(
        ("m",),
        {"m": {0: FoldModel(member, (), ())}},
        len(gallery) // EACH,
        IdentifyDecide(sources=("embedding",)),
        "cpu",
    )
    owners = np.arange(len(gallery)) // EACH
    nobody = np.full(len(queries), -1)
    return score_queries(scorers, _features(queries, nobody), _features(gallery, owners), Quiet())


def gallery(folder: Path, count: int) -> Iterator[None]:
    """500 queries against a gallery, exactly."""
    known, asked = _animals(folder, count, 500, DIM)
    yield
    _scores(known, asked)


def queries(folder: Path, count: int) -> Iterator[None]:
    """Queries against a gallery of 20,000."""
    known, asked = _animals(folder, 20_000, count, DIM)
    yield
    _scores(known, asked)


def wide(folder: Path, count: int) -> Iterator[None]:
    """64 queries against a gallery of vectors of 512 numbers: what it takes of memory."""
    known, asked = _animals(folder, count, 64, 512)
    yield
    _scores(known, asked)


def index(folder: Path, count: int) -> Iterator[None]:
    """500 queries through the index, and how many of the exact five nearest it finds."""
    from transect.identify import blocks

    known, asked = _animals(folder, count, 500, DIM)
    exact = _scores(known, asked)
    blocks.MOST_EXACT = 1
    yield
    found = _scores(known, asked)
    same = [
        len(set(a[:5]) & set(b[:5])) / 5
        for a, b in zip(found.image_rows.tolist(), exact.image_rows.tolist(), strict=True)
    ]
    first = (found.image_identities[:, 0] == exact.image_identities[:, 0]).mean()
    print(f"# recall of five photos {np.mean(same):.4f}, of the first individual {first:.4f}")


def catalogue_list(folder: Path, count: int) -> Iterator[None]:
    """Individuals of a catalogue and their numbers of photos."""
    from transect.catalogue.store import Catalogue

    _catalogue(folder, count)
    yield
    assert len(Catalogue.open(folder / "book").counts()) == count // EACH


def catalogue_open(folder: Path, count: int) -> Iterator[None]:
    """All photos and vectors of a catalogue, checked, as answering needs them."""
    from transect.catalogue.store import Catalogue

    _catalogue(folder, count)
    yield
    book = Catalogue.open(folder / "book")
    assert len(book.photos) == len(book.embeddings())


def catalogue_add(folder: Path, count: int) -> Iterator[None]:
    """A hundred photos added, one after another."""
    from transect.catalogue.store import Catalogue, Photo

    _catalogue(folder, count)
    yield
    book = Catalogue.open(folder / "book")
    for number in range(100):
        book.add([Photo(f"new{number}", "somebody")], np.ones((1, 16), np.float32))


def _catalogue(folder: Path, count: int) -> None:
    from transect.catalogue.store import Catalogue, Photo

    photos = [Photo(f"site/{i:07d}.jpg", f"w{i // EACH:06d}", f"e{i // 3}") for i in range(count)]
    Catalogue.create(folder / "book").add(photos, np.zeros((count, 16), np.float32))


def grouping(folder: Path, count: int) -> Iterator[None]:
    """Photos without a name, grouped by their nearest neighbours."""
    from transect.catalogue.clustering import group_neighbours
    from transect.openset.search import nearest

    known, _ = _animals(folder, count, 1, DIM)
    yield
    rows, alike = nearest(known, known, top=6, most_exact=10**8)
    group_neighbours(rows, alike, 0.5)


def audit(folder: Path, count: int) -> Iterator[None]:
    """The audit of small images with masks."""
    from transect.audit import audit as run_audit
    from transect.data.survey import open_survey

    _survey(folder, count)
    yield
    run_audit(open_survey(folder / "survey"), thorough=False)


def prepare(folder: Path, count: int) -> Iterator[None]:
    """Small images with masks, opened, checked and decoded for training."""
    from transect.data.survey import open_survey
    from transect.pipeline.tasks import task_of
    from transect.types import Quiet

    _survey(folder, count)
    yield
    survey = open_survey(folder / "survey")
    task_of(survey.question).dataset(survey, folder / "scratch", Quiet())


def _survey(folder: Path, count: int) -> None:
    """Images of 32 x 32 pixels with a disc each."""
    import cv2

    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / "survey" / part).mkdir(parents=True)
    (folder / "scratch").mkdir()
    y, x = np.mgrid[:32, :32]
    for number in range(count):
        top, left, radius = rng.integers(8, 24), rng.integers(8, 24), rng.integers(3, 8)
        mask = ((y - top) ** 2 + (x - left) ** 2 <= radius**2).astype(np.uint8) * 255
        image = np.clip(mask // 2 + rng.normal(60, 20, mask.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"survey/images/{number:06d}.png"), image)
        cv2.imwrite(str(folder / f"survey/masks/{number:06d}.png"), mask)


PARTS: dict[str, tuple[Callable[[Path, int], Iterator[None]], tuple[int, ...]]] = {
    "gallery": (gallery, (10_000, 100_000, 1_000_000)),
    "queries": (queries, (100, 1_000, 10_000)),
    "wide": (wide, (1_000_000,)),
    "index": (index, (100_000,)),
    "catalogue-list": (catalogue_list, (10_000, 100_000, 1_000_000)),
    "catalogue-open": (catalogue_open, (10_000, 100_000, 1_000_000)),
    "catalogue-add": (catalogue_add, (1_000, 10_000, 100_000, 1_000_000)),
    "grouping": (grouping, (5_000, 20_000, 80_000)),
    "audit": (audit, (1_000, 4_000, 16_000)),
    "prepare": (prepare, (1_000, 4_000, 16_000)),
}
