"""Dense CRF with two labels: the reference library where it is installed, and ours."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.hot_paths import Row, absent, interleaved
from transect.postprocess.crf import Crf, dense_crf, exact_crf

__all__ = ["run"]


def run(quick: bool = True) -> list[Row]:
    """Measure grey patches of 101 x 101, five steps; error on a corner against the exact field.

    Args:
        quick: One patch, and 3 rounds; else 8 patches, and 15 rounds.

    Returns:
        One row per contender; ratios to ours.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:101, :101]
    pictures, guesses = [], []
    for i in range(1 if quick else 8):
        inside = np.hypot(y - 50, x - 40 - 3 * i) < 28
        grey = np.clip(80 + 90 * inside + rng.normal(0, 8, inside.shape), 0, 255)
        pictures.append(grey.astype(np.uint8))
        shifted = np.hypot(y - 50, x - 46 - 3 * i) < 30
        guess = 0.3 + 0.4 * shifted + rng.normal(0, 0.15, inside.shape)
        guesses.append(np.clip(guess, 0.02, 0.98).astype(np.float32))
    # One grey channel counts once; the library takes three, so widths are made equal.
    crf = Crf()
    forms: dict[str, Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[np.float32]]] = {
        "ours": lambda p, image: dense_crf(p, np.repeat(image[..., None], 3, 2), crf)
    }
    if importlib.util.find_spec("pydensecrf") is not None:
        forms["pydensecrf2"] = _reference

    def over(form: Callable[..., NDArray[np.float32]]) -> Callable[[], object]:
        return lambda: [form(p, image) for p, image in zip(guesses, pictures, strict=True)]

    seconds = interleaved({name: over(form) for name, form in forms.items()}, 3 if quick else 15)
    p = np.ascontiguousarray(guesses[0][20:80, 5:75])
    image = np.ascontiguousarray(pictures[0][20:80, 5:75])
    exact = exact_crf(p, np.repeat(image[..., None], 3, 2), crf)
    path = f"dense CRF, {len(guesses)} patches of 101^2"
    return [
        Row(
            path,
            name,
            seconds[name],
            seconds[name] / seconds["ours"],
            f"mean error {np.abs(form(p, image) - exact).mean():.1g} of the exact field",
        )
        for name, form in forms.items()
    ] + absent(path, "pydensecrf2", "pydensecrf", "pip install pydensecrf2 (needs a C++ compiler)")


def _reference(p: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The same field by the C++ library."""
    densecrf = importlib.import_module("pydensecrf.densecrf")
    field = densecrf.DenseCRF2D(p.shape[1], p.shape[0], 2)
    field.setUnaryEnergy(-np.log(np.stack([1 - p, p])).reshape(2, -1).astype(np.float32))
    field.addPairwiseGaussian(sxy=3, compat=3)
    rgb = np.ascontiguousarray(np.repeat(image[..., None], 3, 2))
    field.addPairwiseBilateral(sxy=80, srgb=13, rgbim=rgb, compat=10)
    return np.array(field.inference(5), np.float32)[1].reshape(p.shape)
