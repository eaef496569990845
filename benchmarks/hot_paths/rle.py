"""Run-length codes of salt-like masks: the forum's loops, pycocotools and ours."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.hot_paths import Row, absent, interleaved
from transect.data import rle

__all__ = ["run"]

_SIDE = 101


def run(quick: bool = True) -> list[Row]:
    """Measure encoding to and decoding from text on masks of 101 x 101 pixels.

    Args:
        quick: 3,000 masks; else 18,000, as the salt competition's test set has.

    Returns:
        One row per contender; ratios to the usual numpy loop.
    """
    masks = _masks(3_000 if quick else 18_000)
    texts = rle.encode_many(masks)
    assert texts[:50] == _loop_encode(masks[:50])
    assert np.array_equal(_loop_decode(texts[:50]), masks[:50])
    encoders: dict[str, Callable[[], object]] = {
        "usual numpy loop": functools.partial(_loop_encode, masks),
        "ours": functools.partial(rle.encode_many, masks),
        "limit: read the pixels once": functools.partial(np.count_nonzero, masks),
    }
    decoders: dict[str, Callable[[], object]] = {
        "usual numpy loop": functools.partial(_loop_decode, texts),
        "ours": functools.partial(rle.decode_many, texts, (_SIDE, _SIDE)),
        "limit: write the pixels once": functools.partial(np.ones, masks.shape, np.bool_),
    }
    if (coco := _pycocotools()) is not None:
        codes = _coco_encode(coco, masks)
        encoders["pycocotools, other format"] = functools.partial(_coco_encode, coco, masks)
        decoders["pycocotools, other format"] = functools.partial(coco.decode, codes)
    rows = []
    for path, contenders in (("rle encode", encoders), ("rle decode", decoders)):
        seconds = interleaved(contenders, 3)
        reference = seconds["usual numpy loop"]
        rows += [Row(f"{path} {len(masks)}", n, s, s / reference) for n, s in seconds.items()]
        rows += absent(path, "pycocotools", "pycocotools", "pip install pycocotools")
    return rows


def _masks(count: int) -> NDArray[np.bool_]:
    """Smooth bodies of every coverage; two in five are empty, as in the salt set."""
    import cv2

    rng = np.random.default_rng(0)
    few = np.zeros((300, _SIDE, _SIDE), np.bool_)
    for i in range(len(few)):
        if i % 5 > 1:
            noise = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
            field = cv2.GaussianBlur(noise, (0, 0), 6 + 10 * rng.random())
            few[i] = field > np.quantile(field, rng.random())
    return np.tile(few, (-(-count // len(few)), 1, 1))[:count]


def _loop_encode(masks: NDArray[np.bool_]) -> list[str]:
    """The loop that everyone copies from the forum."""
    texts = []
    for mask in masks:
        pixels = np.concatenate([[0], mask.T.flatten(), [0]])
        runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
        runs[1::2] -= runs[::2]
        texts.append(" ".join(str(x) for x in runs))
    return texts


def _loop_decode(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Its inverse, also from the forum."""
    masks = []
    for text in texts:
        numbers = np.array(text.split(), dtype=np.int64)
        flat = np.zeros(_SIDE * _SIDE, np.uint8)
        for start, length in zip(numbers[::2], numbers[1::2], strict=True):
            flat[start - 1 : start - 1 + length] = 1
        masks.append(flat.reshape(_SIDE, _SIDE).T)
    return np.stack(masks)


def _pycocotools() -> Any:
    """The peer, if it is installed."""
    try:
        return importlib.import_module("pycocotools.mask")
    except ImportError:
        return None


def _coco_encode(coco: Any, masks: NDArray[np.bool_]) -> Any:
    """Encode with pycocotools, the change of memory order included."""
    return coco.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
