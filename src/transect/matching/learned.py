"""Keypoints with learned affine shape and descriptor (AffNet, OriNet, HardNet), from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["load_learned"]

Found = tuple[NDArray[np.float32], ...]
PARTS = ("affnet", "orinet", "hardnet")


def load_learned(
    folder: Path, *, device: str = "cpu"
) -> Callable[[NDArray[np.uint8], NDArray[np.uint8] | None, int], Found]:
    """Read the three networks from a folder that the user gives; nothing is fetched.

    Args:
        folder: Holds ``affnet.*``, ``orinet.*`` and ``hardnet.*``, each ``.safetensors``, or
            ``.pth`` / ``.pt`` of plain tensors as their authors publish them.
        device: Where they run.

    Returns:
        A function of (grey (H, W) uint8, mask or None, most keypoints) for ``extract``.

    Raises:
        TransectError: If a file is missing, does not fit, or holds more than tensors.

    References:
        Whale 7th place: Hessian-AffNet with HardNet. Mishkin et al. 2018, Mishchuk et al. 2017.
    """
    paths = [_weights_of(folder, name) for name in PARTS]  # before the slow imports
    import kornia.feature as features
    import torch

    shape = features.LAFAffNetShapeEstimator(pretrained=False)
    turn = features.OriNet(pretrained=False)
    describe = features.HardNet(pretrained=False)
    for path, module in zip(paths, (shape, turn, describe), strict=True):
        _fill(module, path)
    detector = features.ScaleSpaceDetector(
        num_features=1,
        resp_module=features.BlobHessian(),
        scale_pyr_module=None,
        ori_module=features.LAFOrienter(32, angle_detector=turn),
        aff_module=shape,
        mr_size=6.0,
    )
    descriptor = features.LAFDescriptor(describe, patch_size=32, grayscale_descriptor=True)
    detector.eval().to(device)
    descriptor.eval().to(device)

    def find(grey: NDArray[np.uint8], allowed: NDArray[np.uint8] | None, most: int) -> Found:
        picture = torch.from_numpy(grey).float().div(255)[None, None].to(device)
        mask = None
        if allowed is not None:
            mask = torch.from_numpy(allowed).float().div(255)[None, None].to(device)
        with torch.inference_mode():
            detector.num_features = most
            frames, responses = detector(picture, mask)
            described = descriptor(picture, frames)[0]  # (K, 128)
        centres = features.get_laf_center(frames)[0]
        scales = features.get_laf_scale(frames)[0].ravel()
        angles = features.get_laf_orientation(frames)[0].ravel()
        strength = responses[0].cpu().numpy().astype(np.float32)
        order = np.lexsort((np.arange(len(strength)), -strength))
        order = order[strength[order] > 0]
        vectors = described.cpu().numpy().astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return (
            centres.cpu().numpy().astype(np.float32)[order],
            vectors[order],
            scales.cpu().numpy().astype(np.float32)[order],
            angles.cpu().numpy().astype(np.float32)[order],
            strength[order],
        )

    return find


def _weights_of(folder: Path, name: str) -> Path:
    """The file of one network."""
    paths = [folder / f"{name}{end}" for end in (".safetensors", ".pth", ".pt")]
    path = next((p for p in paths if p.is_file()), None)
    if path is None:
        raise TransectError(
            f"{folder} has no {name}.safetensors, .pth or .pt. Put the weights of "
            f"{', '.join(PARTS)} there, or use kind='rootsift'."
        )
    return path


def _fill(module: Any, path: Path) -> None:
    """Fill one network from its file, tensors only."""
    from transect.weight_file import read_weights

    try:
        module.load_state_dict(read_weights(path), strict=True)
    except (TransectError, RuntimeError) as error:
        raise TransectError(
            f"{path} is not a file of {path.stem} weights ({type(error).__name__}). Take the "
            "file that kornia uses."
        ) from error
