"""What a run says of images that its networks and decisions did not see."""

from __future__ import annotations

from collections.abc import Iterator

from transect.data.exchange import Instance
from transect.run import RunFolder
from transect.task import Rows

__all__ = ["held_out_labels"]


def held_out_labels(run: RunFolder, name: str) -> Iterator[Instance]:
    """The labels of one image, from the run's out-of-fold rows.

    Args:
        run: Finished.
        name: The image.

    Yields:
        What it was called, with its probability, the likeliest first; nothing if it was not held
        out.
    """
    rows = Rows.load(run.oof() / "rows.npz")
    if name not in rows.names:
        return
    place = rows.names.index(name)
    chance = rows["p"][place]
    said = [k for k in (-chance).argsort(kind="stable").tolist() if rows["said"][place, k]]
    classes = run.data()["classes"]
    yield from (Instance(classes[k], confidence=float(chance[k])) for k in said)
