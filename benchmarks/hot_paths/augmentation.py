"""Augmentation: one composed warp and one table against chains of single changes."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.hot_paths import Row, absent, interleaved
from transect.augment import augment_sample
from transect.recipe import Augment
from transect.types import Sample

__all__ = ["run"]

_COUNT, _SIDE = 64, 128
_ROTATE, _SHIFT, _SCALE, _TONE, _ELASTIC, _SIGMA = 30.0, 0.1, (0.8, 1.2), 0.2, 5.0, 12.0

Pictures = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def run(quick: bool = True) -> list[Row]:
    """Measure 64 RGB pictures of 128 px with a mask, on one thread: the same work for all.

    Flip, turn, shift, zoom, brightness, contrast and gamma on every picture; then the same with
    an elastic field.

    Args:
        quick: Three repeats instead of fifteen.

    Returns:
        One row per contender and path; ratios to ours.
    """
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for elastic in (False, True):
                seconds = interleaved(_contenders(elastic), 3 if quick else 15)
                path = f"augment {_COUNT} x {_SIDE} px" + (", elastic" if elastic else "")
                ours = seconds["ours"]
                rows += [Row(path, name, s, s / ours, _NOTES[name]) for name, s in seconds.items()]
                rows += absent(
                    path, "albumentations", "albumentations", "pip install albumentations"
                )
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
    return rows


_NOTES = {
    "ours": "one warp, one table",
    "limit: bare OpenCV": "the same calls with fixed numbers",
    "chain in OpenCV": "one resampling per kind",
    "albumentations": "2.x, unmaintained",
    "torchvision v2": "picture by picture, its advised form",
    "kornia": "whole batch",
}


def _contenders(elastic: bool) -> dict[str, Callable[[], object]]:
    """What is run, by name."""
    rng = np.random.default_rng(0)
    pictures: Pictures = []
    for _ in range(_COUNT):
        noise = rng.random((_SIDE, _SIDE, 3), dtype=np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), 3)
        picture = cv2.normalize(smooth, smooth.copy(), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        pictures.append((picture, (picture[..., 0] > 127).astype(np.uint8)))
    contenders = {
        "ours": _ours(pictures, elastic),
        "limit: bare OpenCV": _limit(pictures, elastic),
        "chain in OpenCV": _chain(pictures, elastic),
        "torchvision v2": _torchvision(pictures, elastic),
        "kornia": _kornia(pictures, elastic),
    }
    if importlib.util.find_spec("albumentations"):
        contenders["albumentations"] = _albumentations(pictures, elastic)
    return contenders


def _spec(elastic: bool) -> Augment:
    """The work as a recipe says it."""
    return Augment(
        hflip=0.5,
        rotate=_ROTATE,
        shift=_SHIFT,
        scale=_SCALE,
        brightness=_TONE,
        contrast=_TONE,
        gamma=_TONE,
        colour_p=1.0,
        elastic=_ELASTIC if elastic else 0.0,
        elastic_sigma=_SIGMA,
        elastic_p=1.0,
    )


def _ours(pictures: Pictures, elastic: bool) -> Callable[[], object]:
    """Sample by sample, the form for processors."""
    spec, rng = _spec(elastic), np.random.default_rng(0)
    samples = [Sample(image, labels=mask) for image, mask in pictures]
    return lambda: [augment_sample(s, spec, rng, out_hw=(_SIDE, _SIDE)) for s in samples]


def _limit(pictures: Pictures, elastic: bool) -> Callable[[], object]:
    """What the OpenCV calls alone cost, with nothing drawn and nothing decided."""
    matrix = cv2.getRotationMatrix2D((_SIDE / 2, _SIDE / 2), 17.0, 1.1)
    y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32)
    x, y = x + 3 * np.sin(y / 9), y + 3 * np.cos(x / 9)
    table = np.arange(255, -1, -1, dtype=np.uint8)
    size, border = (_SIDE, _SIDE), cv2.BORDER_REFLECT_101

    def read(array: NDArray[np.uint8], how: int) -> Any:
        if elastic:
            return cv2.remap(array, x, y, how, borderMode=border)
        return cv2.warpAffine(array, matrix, size, flags=how, borderMode=border)

    return lambda: [
        (cv2.LUT(read(image, cv2.INTER_LINEAR), table), read(mask, cv2.INTER_NEAREST))
        for image, mask in pictures
    ]


def _chain(pictures: Pictures, elastic: bool) -> Callable[[], object]:
    """One OpenCV or numpy call per kind, as scripts do it."""
    rng = np.random.default_rng(0)
    size, border = (_SIDE, _SIDE), cv2.BORDER_REFLECT_101
    y0, x0 = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32)

    def changed(image: Any, mask: Any) -> Any:
        if rng.random() < 0.5:
            image, mask = cv2.flip(image, 1), cv2.flip(mask, 1)
        middle = (_SIDE / 2, _SIDE / 2)
        turn = cv2.getRotationMatrix2D(middle, rng.uniform(-_ROTATE, _ROTATE), 1.0)
        zoom = cv2.getRotationMatrix2D(middle, 0.0, rng.uniform(*_SCALE))
        shift = np.eye(2, 3)
        shift[:, 2] = rng.uniform(-_SHIFT, _SHIFT, 2) * _SIDE
        for matrix in (turn, zoom, shift):
            image = cv2.warpAffine(image, matrix, size, borderMode=border)
            mask = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST, borderMode=border)
        if elastic:
            dx, dy = (
                cv2.GaussianBlur(rng.uniform(-1, 1, size).astype(np.float32), (0, 0), _SIGMA)
                * (_ELASTIC * _SIGMA)
                for _ in range(2)
            )
            image = cv2.remap(image, x0 + dx, y0 + dy, cv2.INTER_LINEAR, borderMode=border)
            mask = cv2.remap(mask, x0 + dx, y0 + dy, cv2.INTER_NEAREST, borderMode=border)
        gain, offset = 1 + rng.uniform(-_TONE, _TONE), rng.uniform(-_TONE, _TONE) * 255
        image = cv2.convertScaleAbs(image, alpha=gain)
        image = np.clip(image.astype(np.float32) + offset, 0, 255).astype(np.uint8)
        share = (image / np.float32(255)) ** np.float32(math.exp(rng.uniform(-0.18, 0.18)))
        return (share * 255).astype(np.uint8), mask

    return lambda: [changed(image, mask) for image, mask in pictures]


def _albumentations(pictures: Pictures, elastic: bool) -> Callable[[], object]:
    """The usual composition of albumentations 2."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks a server when imported
    album = importlib.import_module("albumentations")

    border = cv2.BORDER_REFLECT_101
    steps: list[Any] = [
        album.HorizontalFlip(p=0.5),
        album.Affine(
            scale=_SCALE,
            translate_percent=(-_SHIFT, _SHIFT),
            rotate=(-_ROTATE, _ROTATE),
            border_mode=border,
            p=1.0,
        ),
    ]
    if elastic:
        amplitude = _ELASTIC * _SIGMA
        steps.append(
            album.ElasticTransform(alpha=amplitude, sigma=_SIGMA, border_mode=border, p=1.0)
        )
    steps += [
        album.RandomBrightnessContrast(_TONE, _TONE, p=1.0),
        album.RandomGamma((80, 120), p=1.0),
    ]
    pipeline = album.Compose(steps, seed=0)
    return lambda: [pipeline(image=image, mask=mask) for image, mask in pictures]


def _torchvision(pictures: Pictures, elastic: bool) -> Callable[[], object]:
    """Torchvision's second transforms on its image and mask types."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    steps: list[Any] = [
        v2.RandomHorizontalFlip(0.5),
        v2.RandomAffine(
            _ROTATE, (_SHIFT, _SHIFT), _SCALE, interpolation=v2.InterpolationMode.BILINEAR
        ),
    ]
    if elastic:
        steps.append(v2.ElasticTransform(alpha=_ELASTIC * _SIGMA, sigma=_SIGMA))
    gamma = v2.Lambda(
        lambda x: v2.functional.adjust_gamma(x, 1.1) if isinstance(x, tv_tensors.Image) else x
    )
    steps += [v2.ColorJitter(_TONE, _TONE), gamma]
    pipeline = v2.Compose(steps)
    images, masks = _tensors(pictures, raw=True)
    pairs = [(tv_tensors.Image(i), tv_tensors.Mask(m)) for i, m in zip(images, masks, strict=True)]
    return lambda: [pipeline(image, mask) for image, mask in pairs]


def _kornia(pictures: Pictures, elastic: bool) -> Callable[[], object]:
    """Kornia's augmentation of a whole batch."""
    import kornia.augmentation as ka

    steps: list[Any] = [
        ka.RandomHorizontalFlip(p=0.5),
        ka.RandomAffine(_ROTATE, (_SHIFT, _SHIFT), _SCALE, padding_mode="reflection", p=1.0),
    ]
    if elastic:
        window = 2 * math.ceil(3 * _SIGMA) + 1
        share = 2 * _ELASTIC / _SIDE
        steps.append(
            ka.RandomElasticTransform((window, window), (_SIGMA, _SIGMA), (share, share), p=1.0)
        )
    steps += [
        ka.RandomBrightness((1 - _TONE, 1 + _TONE), p=1.0),
        ka.RandomContrast((1 - _TONE, 1 + _TONE), p=1.0),
        ka.RandomGamma((1 - _TONE, 1 + _TONE), p=1.0),
    ]
    pipeline = ka.AugmentationSequential(*steps, data_keys=["input", "mask"])
    images, masks = _tensors(pictures)
    return lambda: pipeline(images.float() / 255, masks.float())


def _tensors(pictures: Pictures, *, raw: bool = False) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W) and (N, 1, H, W) uint8."""
    images = torch.from_numpy(np.stack([image for image, _ in pictures])).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.stack([mask for _, mask in pictures]))[:, None]
    return (images.contiguous() if raw else images), masks
