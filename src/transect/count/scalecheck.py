"""Are new photos seen at the scale of the training? Texture and objects compared, a rescale found.

The best documented failure in counting animals from the air is a camera or an altitude that was
not that of the training (sea lion 37th place: 8.4 RMSE in validation, 19.5 on the test). Held-out
training photos are looked at through one network at several resamplings: the share of contrast
in bands from fine to coarse over crops, the same around the objects that are found, and how many
are found with confidence. New photos are looked at in the same way, and the rescale is the shift
between the two series, so that what a network prefers by itself cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transect.count.pictures import CountPictures
from transect.count.texture import SIGMAS, crops_of, profile_at, scaled, texture
from transect.data.images import open_reader
from transect.data.tiff import ArrayReader
from transect.errors import TransectError
from transect.run import RunFolder
from transect.types import Image, Progress

__all__ = ["SCALES", "ScaleLook", "look_at_new", "write_training_look"]

_STEP = math.sqrt(2)
SCALES = tuple(_STEP**k for k in range(-3, 4))
"""Resamplings that are looked at; our choice."""

_CROPS = 12  # of photos that a network looks at, at every scale
_TEXTURES = 40  # training crops whose texture is kept
_LEAST_GAIN = 0.7  # a rescale must bring the distance below this share of the present one
_STRANGE = 1.3  # times what training photos differ among themselves
_TOLD_APART = 0.8  # an AUC worth telling; our choice
_CONFIDENCE = 0.5  # weight of a factor e in the number of sure objects; our choice


class _Counts(Protocol):
    network_scale: float

    def sure_points(
        self, reader: Any, image: Image, *, scale: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...


@dataclass(frozen=True)
class _Seen:
    """What was seen in crops at every scale: rows are crops, the same at all scales.

    Attributes:
        texture: (scales, crops, bands) log shares of contrast.
        profile: (scales, crops, bands) shares around objects; nan where none was found.
        sure: (scales, crops) objects, each by its confidence cubed, per 10,000 network pixels.
    """

    texture: NDArray[np.float64]
    profile: NDArray[np.float64]
    sure: NDArray[np.float64]

    def of(self, crops: NDArray[np.bool_]) -> _Seen:
        """Some of the crops."""
        return _Seen(self.texture[:, crops], self.profile[:, crops], self.sure[:, crops])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "texture": np.round(self.texture, 4).tolist(),
            "profile": np.where(np.isnan(self.profile), -1, np.round(self.profile, 5)).tolist(),
            "sure": np.round(self.sure, 5).tolist(),
        }

    @staticmethod
    def from_json(value: Any) -> _Seen:
        """Read back."""
        profile = np.array(value["profile"], np.float64)
        return _Seen(
            np.array(value["texture"], np.float64),
            np.where(profile < 0, np.nan, profile),
            np.array(value["sure"], np.float64),
        )


@dataclass(frozen=True)
class ScaleLook:
    """What the check found.

    Attributes:
        curve: Scale to distance from the training; empty if the ground size of a pixel is known.
        best: The scale with the least distance, between those of the curve.
        usual: Distance that training photos have from one another.
        adversarial: How well crops of new photos can be told from training crops, AUC; 0.5 is
            not at all.
        ground: Image name to the factor that follows from its ground size of a pixel.
    """

    curve: dict[float, float]
    best: float
    usual: float
    adversarial: float
    ground: dict[str, float]

    @property
    def strange(self) -> bool:
        """Whether photos as they are look unlike the training and a rescale mends it."""
        if not self.curve:
            return any(abs(np.log(f)) > np.log(1.25) for f in self.ground.values())
        present, best = self.curve[1.0], min(self.curve.values())
        return self.best != 1.0 and present > _STRANGE * self.usual and best < _LEAST_GAIN * present

    def factor(self, image: Image) -> float:
        """The resampling for a photo: from the ground, else the best scale if it is needed."""
        if image.name in self.ground:
            return self.ground[image.name]
        return self.best if self.strange else 1.0

    def lines(self, *, repair: bool) -> list[str]:
        """What to tell the user."""
        if self.ground:
            low, high = min(self.ground.values()), max(self.ground.values())
            what = "are resampled" if repair else "should be resampled"
            return [
                f"scale: by the ground size of a pixel photos {what} by {low:.2f} to {high:.2f}"
            ]
        if not self.curve:
            return []
        present, best = self.curve[1.0], min(self.curve.values())
        if not self.strange:
            if present > 2 * _STRANGE * self.usual:
                return [
                    f"scale: these photos look unlike the training at every scale (distance "
                    f"{present:.1f}, usual {self.usual:.1f}). Dot a few and run transect calibrate."
                ]
            told = f", crops are told apart with an AUC of {self.adversarial:.2f}"
            return [
                f"scale: photos look like those of the training (distance {present:.1f}"
                f"{told if self.adversarial > _TOLD_APART else ''})"
            ]
        found = (
            f"scale: objects and texture look {1 / self.best:.2g} times the training's size "
            f"(distance {present:.1f} as they are, {best:.1f} resampled by {self.best:g})"
        )
        if repair:
            return [f"{found}; photos are resampled"]
        return [f"{found}. Counts will be wrong: pass --scale {self.best:g}, or --scale auto."]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "curve": {f"{scale:g}": value for scale, value in self.curve.items()},
            "best": self.best,
            "usual": self.usual,
            "adversarial_auc": self.adversarial,
            "strange": self.strange,
            "ground": self.ground,
        }


def write_training_look(
    run: RunFolder, pictures: CountPictures, predictor: _Counts, held_out: Sequence[int]
) -> None:
    """Write ``look.json``: what training photos look like, and how much they differ.

    Args:
        run: Gets the file.
        pictures: The training photos.
        predictor: Networks that have not seen the photos ``held_out``.
        held_out: Numbers of photos.
    """
    scale = predictor.network_scale
    rng = np.random.default_rng(0)
    chosen = np.linspace(0, len(pictures.photos) - 1, min(_TEXTURES, len(pictures.photos)))
    numbers = np.unique(chosen.astype(int)).tolist()
    textures, owners = [], []
    for number in numbers:
        source = scaled(ArrayReader(pictures.cache.image(number)), scale)
        for _, _, grey in crops_of(source, rng, max(2, _TEXTURES // len(numbers))):
            textures.append(texture(grey))
            owners.append(number)
    photos = [(pictures.photos[i], ArrayReader(pictures.cache.image(i))) for i in held_out]
    seen, of = _look(predictor, photos, None)
    scales = [photo.scale for photo in pictures.photos if photo.scale]
    look = {
        "texture": np.round(np.array(textures), 4).tolist(),
        "owners": owners,
        "seen": seen.to_json(),
        "usual": _usual(seen, of),
        "shifted": {f"{r:.3g}": value for r, value in _curve(seen, seen).items()},
        "scale": float(np.median(scales)) if scales else None,
    }
    run.write_json("look.json", look)


def look_at_new(
    run: RunFolder, predictor: _Counts, listed: Sequence[Image], progress: Progress
) -> ScaleLook:
    """Compare new photos with the training, at several scales.

    Args:
        run: With ``look.json``.
        predictor: Networks of the run.
        listed: The new photos; an even sample of them is looked at.
        progress: Told how far.

    Returns:
        The distance at every scale, the best one, and how strange the photos are.
    """
    known = run.read_json("look.json")
    usual = float(known["usual"])
    if known["scale"] and all(image.scale for image in listed):
        ground = {i.name: float(i.scale or 1) / float(known["scale"]) for i in listed}
        return ScaleLook({}, 1.0, usual, 0.5, ground)
    photos = []
    for i in np.unique(np.linspace(0, len(listed) - 1, min(_CROPS, len(listed))).astype(int)):
        try:
            photos.append((listed[int(i)], open_reader(listed[int(i)].path)))
        except TransectError:  # told when the photo itself is counted
            continue
    if not photos:
        return ScaleLook({}, 1.0, usual, 0.5, {})
    seen, _ = _look(predictor, photos, progress)
    curve = _curve(seen, _Seen.from_json(known["seen"]))
    adversarial = _adversarial(
        np.array(known["texture"], np.float64), seen.texture[SCALES.index(1.0)]
    )
    return ScaleLook(curve, _lowest(curve), usual, adversarial, {})


def _look(
    predictor: _Counts, photos: Sequence[tuple[Image, Any]], progress: Progress | None
) -> tuple[_Seen, NDArray[np.int64]]:
    """Look at crops of photos at every scale; also the number of the photo of every crop."""
    each = -(-_CROPS // len(photos))
    textures, profiles, sure = [], [], []
    for done, scale in enumerate(SCALES):
        rng = np.random.default_rng(1)
        rows: list[tuple[Any, Any, float]] = []
        for image, reader in photos:
            factor = scale * predictor.network_scale
            for top, left, grey in crops_of(scaled(reader, factor), rng, each):
                points, heights = predictor.sure_points(
                    _cut(reader, top, left, grey.shape, factor), image, scale=scale
                )
                at = (points + 0.5) * factor - 0.5
                inside = ((at > 4) & (at < np.array(grey.shape[::-1]) - 5)).all(axis=1)
                own = profile_at(grey, at[inside], heights[inside])
                density = float((heights[inside] ** 3).sum()) / grey.size * 1e4
                rows.append((texture(grey), own, density))
        textures.append([row[0] for row in rows])
        profiles.append([row[1] for row in rows])
        sure.append([row[2] for row in rows])
        if progress is not None:
            progress.step("checking the scale", done + 1, len(SCALES))
    of = np.repeat(np.arange(len(photos)), each)
    return _Seen(np.array(textures), np.array(profiles), np.array(sure)), of


def _curve(new: _Seen, old: _Seen) -> dict[float, float]:
    """Distance of new photos from the training for every rescale of the new ones."""
    return {
        1.0 if shift == 0 else _STEP**-shift: _distance(new, old, shift) for shift in range(-3, 4)
    }


def _distance(new: _Seen, old: _Seen, shift: int) -> float:
    """How unlike new photos at each scale are old ones seen ``shift`` steps larger."""
    texture, profile, more = [], [], []
    for i in range(max(0, -shift), min(len(SCALES), len(SCALES) - shift)):
        j = i + shift
        first = max(_first_band(SCALES[i]), _first_band(SCALES[j]))
        usual, found = _kept(old.texture[j], first), _kept(new.texture[i], first)
        gap = (found.mean(axis=0) - usual.mean(axis=0)) / (usual.std(axis=0) + 0.1)
        texture.append(float(np.sqrt((gap**2).mean())))
        one, other = _mean_profile(new.profile[i], first), _mean_profile(old.profile[j], first)
        # No object at all is as strange as objects of another shape.
        profile.append(1.0 if one is None or other is None else float(np.abs(one - other).sum()))
        more.append(np.log(new.sure[i].mean() + 0.02) - np.log(old.sure[j].mean() + 0.02))
    return float(np.mean(texture) + np.mean(profile) + _CONFIDENCE * np.std(more))


def _lowest(curve: dict[float, float]) -> float:
    """The rescale with the least distance, between the ones that were tried."""
    scales = sorted(curve)
    values = [curve[scale] for scale in scales]
    k = int(np.argmin(values))
    if k in (0, len(values) - 1):
        return float(scales[k])
    left, middle, right = values[k - 1 : k + 2]
    aside = 0.5 * (left - right) / max(left - 2 * middle + right, 1e-9)
    found = scales[k] * _STEP ** float(np.clip(aside, -0.5, 0.5))
    return 1.0 if abs(math.log2(found)) < 0.25 else round(float(found), 2)


def _usual(seen: _Seen, of: NDArray[np.int64]) -> float:
    """Usual distance of so many crops from as many others: that of halves, twice as large."""
    rng = np.random.default_rng(0)
    units = of if of.max() > 0 else np.arange(len(of))
    found = []
    for _ in range(40):
        order = rng.permutation(int(units.max()) + 1)
        half = np.isin(units, order[: len(order) // 2])
        if half.any() and not half.all():
            found.append(_distance(seen.of(half), seen.of(~half), 0))
    return float(np.median(found) / _STEP) if found else 1.0


def _cut(reader: Any, top: int, left: int, shape: tuple[int, ...], factor: float) -> ArrayReader:
    """The pixels of the photo below a crop of the resampled one."""
    row, column = round(top / factor), round(left / factor)
    row, column = min(row, reader.shape[0] - 1), min(column, reader.shape[1] - 1)
    height = max(1, min(round(shape[0] / factor), reader.shape[0] - row))
    width = max(1, min(round(shape[1] / factor), reader.shape[1] - column))
    return ArrayReader(reader.window(row, column, height, width))


def _first_band(enlarged: float) -> int:
    """The finest band that is not empty when photos are enlarged by a factor: others are blur."""
    return int(np.searchsorted(SIGMAS[: len(SIGMAS) - 3], SIGMAS[0] * max(1.0, enlarged) - 0.05))


def _kept(texture: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Log shares of the bands from ``first`` on among themselves: (crops, bands left)."""
    share = np.exp(texture[:, first:])
    return np.asarray(np.log(share / share.sum(axis=1, keepdims=True)))


def _mean_profile(rows: NDArray[np.float64], first: int) -> NDArray[np.float64] | None:
    """Mean share of the bands from ``first`` on around objects, or None without objects."""
    found = rows[~np.isnan(rows[:, 0]), first:]
    if not len(found):
        return None
    mean = found.mean(axis=0)
    return np.asarray(mean / mean.sum())


def _adversarial(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """AUC with which new crops are told from training crops, cross-validated."""
    if min(len(old), len(new)) < 4:
        return 0.5
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([old, new])
    labels = np.r_[np.zeros(len(old)), np.ones(len(new))]
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    said = cross_val_predict(model, rows, labels, cv=4, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, said))
