"""The held-out photos that were counted worst, with their dots, kept for the report."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.count.pictures import CountPictures
from transect.files import safe_join
from transect.predict.outputs import write_picture
from transect.report.pictures import dots
from transect.run import RunFolder

__all__ = ["FATES", "keep_worst"]

FATES = ("right", "missed", "invented")
_WORST, _SHOWN_PX = 6, 900


def keep_worst(run: RunFolder, pictures: CountPictures) -> None:
    """Draw the blocks with the largest errors, where most went wrong in each.

    A run knows its survey by name only, so what the report shows is kept now.

    Args:
        run: With ``oof/counts.csv`` and ``oof/points.csv``; gets ``oof/worst.json`` and pictures.
        pictures: The training photos.
    """
    table = pd.read_csv(run.oof() / "counts.csv", dtype={"image": str})
    fates = pd.read_csv(run.oof() / "points.csv", dtype={"image": str})
    number = {image.name: i for i, image in enumerate(pictures.images)}
    gap = (table["predicted"] - table["true"]).abs().to_numpy(float)
    kept = []
    for k, place in enumerate(np.argsort(-gap, kind="stable")[:_WORST].tolist()):
        row = table.iloc[place]
        own = fates[fates["image"] == row["image"]]
        pixels = pictures.pixels(number[row["image"]])
        wrong = own.loc[own["fate"] != "right", ["x", "y"]].to_numpy(float)
        top, left = _corner(wrong, (pixels.shape[0], pixels.shape[1]))
        shown = pixels[top : top + _SHOWN_PX, left : left + _SHOWN_PX]
        moved = own.assign(x=own["x"] - left, y=own["y"] - top)
        moved = moved[moved["x"].between(0, shown.shape[1]) & moved["y"].between(0, shown.shape[0])]
        marks = {f: moved.loc[moved["fate"] == f, ["x", "y"]].to_numpy(float) for f in FATES}
        name = f"worst/{k}.jpg"
        write_picture(safe_join(run.oof(), name), dots(shown, **marks))
        caption = f"{row['image']}: true {row['true']:g}, predicted {row['predicted']:.1f} "
        caption += f"[{row['low']:.1f}, {row['high']:.1f}]"
        kept.append({"file": name, "caption": caption})
    run.write_json("oof/worst.json", kept)


def _corner(wrong: NDArray[np.float64], size_hw: tuple[int, int]) -> tuple[int, int]:
    """First row and column of the window that holds most of the points."""
    most = [max(0, side - _SHOWN_PX) for side in size_hw]
    if max(most) == 0 or not len(wrong):
        return 0, 0
    starts = np.clip(wrong[:200] - _SHOWN_PX / 2, 0, [most[1], most[0]]).astype(int)  # x, y
    inside = (wrong[None] >= starts[:, None]) & (wrong[None] < starts[:, None] + _SHOWN_PX)
    left, top = starts[int(inside.all(axis=2).sum(axis=1).argmax())].tolist()
    return top, left
