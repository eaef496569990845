"""Which test-time views pay: chosen on held-out pictures, written down, then kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transect.recipe import Recipe
from transect.run import RunFolder
from transect.segment.blending import answering
from transect.segment.oof import loaded_member
from transect.segment.pictures import Pictures
from transect.segment.targets import planes_of
from transect.types import Progress

__all__ = ["LOOKED_AT", "choose_views"]

LOOKED_AT = 24
"""Pictures that views are compared on: our choice, enough pixels to rank views."""


def choose_views(
    run: RunFolder,
    recipe: Recipe,
    pictures: Pictures,
    folds: NDArray[np.int64],
    *,
    device: str,
    progress: Progress,
) -> tuple[str, ...]:
    """Leave out views that make the held-out cross-entropy worse.

    The choice is made on a few pictures of the first fold by the first member, for pixels'
    cross-entropy, not for the reported score. A view is added to the identity alone and stays
    if the mean of both is better than the identity.

    Returns:
        The views that stay, the identity first; read back from ``views.json`` on a resumed run.
    """
    if (run.path / "views.json").is_file():
        return tuple(run.read_json("views.json")["kept"])
    others = [name for name in recipe.views if name != "identity"]
    kept, gains = ["identity"], {}
    if others and recipe.drop_views:
        held_out = np.flatnonzero(folds == 0)
        chosen = held_out[:: max(1, len(held_out) // LOOKED_AT)][:LOOKED_AT].tolist()
        member = answering(recipe)[0]
        maps = {}
        for done, name in enumerate(["identity", *others]):
            model = loaded_member(run, recipe, member, [0], device=device, views=(name,))
            maps[name] = [model.maps(pictures.cache.image(i), pictures.images[i]) for i in chosen]
            progress.step("comparing views", done + 1, len(others) + 1)
        truth = [_truth(pictures, i) for i in chosen]
        alone = _cross_entropy(maps["identity"], truth)
        for name in others:
            both = [
                np.mean([a, b], axis=0) for a, b in zip(maps["identity"], maps[name], strict=True)
            ]
            gains[name] = alone - _cross_entropy(both, truth)
            if gains[name] > 0:
                kept.append(name)
    else:
        kept += others
    dropped = [name for name in others if name not in kept]
    run.write_json("views.json", {"kept": kept, "dropped": dropped, "gain": gains})
    if dropped:
        progress.say(f"views that do not pay out of fold: {', '.join(dropped)}")
    return tuple(kept)


def _truth(pictures: Pictures, i: int) -> NDArray[np.float32]:
    """Target planes of a picture: (T, H, W) in [0, 1]."""
    planes = planes_of(pictures.labels(i), pictures.kind, len(pictures.survey.classes))
    return np.moveaxis(planes, -1, 0).astype(np.float32) / np.float32(255)


def _cross_entropy(maps: list[NDArray[np.float32]], truth: list[NDArray[np.float32]]) -> float:
    """Mean binary cross-entropy over planes and pixels of some pictures."""
    values = []
    for raw, y in zip(maps, truth, strict=True):
        p = np.clip(raw, 1e-4, 1 - 1e-4)
        values.append(float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean()))
    return float(np.mean(values))
