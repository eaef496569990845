"""Are new photos seen at the scale of the training? Texture and objects compared, a rescale found.

The best documented failure in counting animals from the air is a camera or an altitude that was
not that of the training (sea lion 37th place: 8.4 RMSE in validation, 19.5 on the test). Two
things are compared at several resamplings of the new photos: the share of contrast in bands from
fine to coarse, over whole crops, and the same around the objects that the networks find there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.count.pictures import CountPictures
from transect.data.images import open_reader
from transect.data.tiff import ArrayReader
from transect.errors import TransectError
from transect.predict.scaling import ScaledReader
from transect.run import RunFolder
from transect.types import Image, Progress

__all__ = ["SCALES", "ScaleLook", "look_at_new", "texture_of", "write_training_look"]

SCALES = (0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0, 2.8)
"""Resamplings that are tried; our choice."""

# Of the bands, in network pixels. Finer ones hold the sensor's noise, which resampling takes away.
_SIGMAS = (1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.3, 16.0)
_SIDE = 256  # of a crop in network pixels
_PHOTOS = 10  # new photos that are looked at
_CROPS = 2  # of each
_LEAST_GAIN = 0.8  # a rescale must bring the distance below this share of the present one
_STRANGE = 1.5  # times what training photos differ among themselves


class _Counts(Protocol):
    network_scale: float

    def points_of(
        self, reader: Any, image: Image, *, scale: float = 1.0
    ) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class ScaleLook:
    """What the check found.

    Attributes:
        curve: Scale to distance from the training; empty if the ground size of a pixel is known.
        best: The scale with the least distance.
        usual: Distance that training photos have from one another (95 % quantile).
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
        present, best = self.curve[1.0], self.curve[self.best]
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
        present, best = self.curve[1.0], self.curve[self.best]
        if not self.strange:
            if present > 2 * _STRANGE * self.usual:
                return [
                    f"scale: these photos look unlike the training at every scale (distance "
                    f"{present:.1f}, usual {self.usual:.1f}). Dot a few and run transect calibrate."
                ]
            return [f"scale: photos look like those of the training (distance {present:.1f})"]
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


def write_training_look(run: RunFolder, pictures: CountPictures) -> None:
    """Write ``look.json``: texture of training crops, contrast around dots, spread among photos."""
    scale = float(run.read_json("inputs.json")["scale"])
    rng = np.random.default_rng(0)
    chosen = np.linspace(0, len(pictures.photos) - 1, min(40, len(pictures.photos))).astype(int)
    textures, profiles, owners = [], [], []
    for number in np.unique(chosen):
        reader: Any = ArrayReader(pictures.cache.image(int(number)))
        source: Any = reader if scale == 1 else ScaledReader(reader, scale)
        points, _ = pictures.photo_dots(int(number))
        for top, left, grey in _crops(source, rng, max(_CROPS, 40 // len(chosen))):
            textures.append(_texture(grey))
            at = (points + 0.5) * scale - 0.5 - (left, top)
            inside = ((at > 4) & (at < np.array(grey.shape[::-1]) - 5)).all(axis=1)
            profiles.append(_profile(grey, at[inside]))
            owners.append(int(number))
    texture, profile = np.array(textures), np.array([p for p in profiles if p is not None])
    look = {
        "texture": np.round(texture, 4).tolist(),
        "owners": owners,
        "profile": np.round(profile.mean(axis=0), 5).tolist() if len(profile) else None,
        "scale": float(np.median([p.scale for p in pictures.photos if p.scale]))
        if any(photo.scale for photo in pictures.photos)
        else None,
    }
    spread = texture.std(axis=0) + 0.1
    differences = []
    for _ in range(60):  # how far a handful of training crops lies from the others
        photos = rng.permutation(np.unique(owners))
        held = np.isin(owners, photos[: max(1, min(_PHOTOS, len(photos) // 2))])
        if held.all():
            held = rng.random(len(owners)) < 0.5
        if not held.any() or held.all():
            continue
        gap = (texture[held].mean(axis=0) - texture[~held].mean(axis=0)) / spread
        differences.append(float(np.sqrt((gap**2).mean())))
    look["usual"] = float(np.quantile(differences, 0.95)) if differences else 1.0
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
    if known["scale"] and all(image.scale for image in listed):
        ground = {i.name: float(i.scale or 1) / float(known["scale"]) for i in listed}
        return ScaleLook({}, 1.0, float(known["usual"]), 0.5, ground)
    texture = np.array(known["texture"], np.float64)
    mean, spread = texture.mean(axis=0), texture.std(axis=0) + 0.1
    profile = None if known["profile"] is None else np.array(known["profile"], np.float64)
    places = np.linspace(0, len(listed) - 1, min(_PHOTOS, len(listed))).astype(int)
    readers = []
    for i in np.unique(places):
        try:
            readers.append((listed[int(i)], open_reader(listed[int(i)].path)))
        except TransectError:  # told when the photo itself is counted
            continue
    curve: dict[float, float] = {}
    adversarial = 0.5
    for done, scale in enumerate(SCALES):
        found, around = [], []
        rng = np.random.default_rng(1)
        for image, reader in readers:
            factor = scale * predictor.network_scale
            source: Any = reader if factor == 1 else ScaledReader(reader, factor)
            for top, left, grey in _crops(source, rng, _CROPS):
                found.append(_texture(grey))
                side = (round(grey.shape[0] / factor), round(grey.shape[1] / factor))
                place = (round(top / factor), round(left / factor))
                points = _points(predictor, reader, image, place, side, scale)
                at = (points + 0.5) * factor - 0.5
                inside = ((at > 4) & (at < np.array(grey.shape[::-1]) - 5)).all(axis=1)
                own = _profile(grey, at[inside])
                if own is not None:
                    around.append(own)
        if not found:
            break
        gap = (np.array(found).mean(axis=0) - mean) / spread
        distance = float(np.sqrt((gap**2).mean()))
        if profile is not None:
            # No object at all is as strange as objects of another shape.
            own_profile = np.mean(around, axis=0) if around else np.full(len(profile), np.nan)
            shift = np.abs(own_profile - profile).sum() if around else 1.0
            distance += float(shift)
        curve[scale] = distance
        if scale == 1.0:
            adversarial = _adversarial(texture, np.array(found))
        progress.step("checking the scale", done + 1, len(SCALES))
    best = min(curve, key=lambda s: curve[s]) if curve else 1.0
    return ScaleLook(curve, best, float(known["usual"]), adversarial, {})


def texture_of(reader: Any, scale: float) -> NDArray[np.float64]:
    """Mean texture of a few crops of one photo, at the networks' scale: (bands,)."""
    source: Any = reader if scale == 1 else ScaledReader(reader, scale)
    crops = _crops(source, np.random.default_rng(1), 2 * _CROPS)
    return np.asarray(np.mean([_texture(grey) for _, _, grey in crops], axis=0))


def _points(
    predictor: _Counts, reader: Any, image: Image, place: tuple[int, int],
    side: tuple[int, int], scale: float,
) -> NDArray[np.float64]:  # fmt: skip
    """Objects that the networks find in a crop, x, y in pixels of the crop."""
    top = max(0, min(place[0], reader.shape[0] - 1))
    left = max(0, min(place[1], reader.shape[1] - 1))
    height = max(1, min(side[0], reader.shape[0] - top))
    width = max(1, min(side[1], reader.shape[1] - left))
    crop = ArrayReader(reader.window(top, left, height, width))
    return predictor.points_of(crop, image, scale=scale)


def _crops(
    source: Any, rng: np.random.Generator, count: int
) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Grey crops of a (resampled) photo with their first row and column."""
    height, width, _ = source.shape
    side_h, side_w = min(_SIDE, height), min(_SIDE, width)
    crops = []
    for _ in range(count):
        top, left = (int(rng.uniform() * (a - b)) for a, b in ((height, side_h), (width, side_w)))
        pixels = source.window(top, left, side_h, side_w).astype(np.float32)
        grey = pixels[..., :3].mean(axis=2) if pixels.shape[2] >= 3 else pixels[..., 0]
        crops.append((top, left, np.ascontiguousarray(grey)))
    return crops


def _bands(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Differences of Gaussians from fine to coarse: (bands, h, w)."""
    blurred = [
        cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for sigma in _SIGMAS
    ]
    return np.stack([a - b for a, b in itertools.pairwise(blurred)])


def _texture(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithm of every band's share of the contrast, by its median size: objects count little."""
    energy = np.median(np.abs(_bands(grey)), axis=(1, 2)).astype(np.float64) + 1e-3
    return np.asarray(np.log(energy / energy.sum()))


def _profile(grey: NDArray[np.float32], points: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """Share of contrast in every band at some points, or None without points."""
    if not len(points):
        return None
    size = np.abs(_bands(grey))
    rows = np.clip(np.rint(points[:, 1]).astype(int), 0, grey.shape[0] - 1)
    columns = np.clip(np.rint(points[:, 0]).astype(int), 0, grey.shape[1] - 1)
    mean = size[:, rows, columns].mean(axis=1).astype(np.float64) + 1e-6
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
