"""Networks as ONNX files, for other programs and faster prediction on some CPUs (``[onnx]``)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.errors import TransectError
from transect.files import atomic_path
from transect.predict.forward import ACTIVATIONS

__all__ = ["export_onnx", "onnx_forward"]

_MISSING = "ONNX files need the extra 'onnx'. Install it: pip install 'transect[onnx]'."


class _Probabilities(nn.Module):
    """The network's maps, activated; a file should not leave that to its reader."""

    def __init__(self, model: nn.Module, activation: str) -> None:
        super().__init__()
        self.model, self.activation = model, activation

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to (N, T, H, W)."""
        found = self.model(x)
        logits = found["logits"] if isinstance(found, dict) else found
        return ACTIVATIONS[self.activation](logits)


def export_onnx(
    model: nn.Module,
    path: Path,
    *,
    in_channels: int,
    tile_hw: tuple[int, int],
    activation: str = "sigmoid",
) -> float:
    """Write a network as an ONNX file and check that it gives the same maps.

    Args:
        model: A dense network.
        path: The file.
        in_channels: Channels of its input.
        tile_hw: Sides of the input, fixed in the file; the batch size is free.
        activation: Put into the file, so that it gives probabilities.

    Returns:
        The largest difference between ONNX Runtime's probabilities and ours on noise.

    Raises:
        TransectError: If the extra is missing, or the file's maps differ by more than .001.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise TransectError(_MISSING) from error
    wrapped = _Probabilities(model, activation).eval().cpu()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, in_channels, *tile_hw, generator=generator)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # The TorchScript exporter warns that it is old; the new one needs another package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped,
            (x,),
            str(temporary),
            input_names=["pixels"],
            output_names=["maps"],
            dynamic_axes={"pixels": {0: "batch"}, "maps": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        with torch.inference_mode():
            expected = wrapped(x).numpy()
        found = onnx_forward(temporary)(x.permute(0, 2, 3, 1).numpy())
        difference = float(np.abs(found - expected).max())
        if difference > 1e-3:
            raise TransectError(
                f"the ONNX file of this network gives maps that differ by {difference:.4f}, so it "
                "was not written. Predict without --engine onnx."
            )
    return difference


def onnx_forward(
    path: Path, *, threads: int = 0
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Open an ONNX file as a function for ``predict_bands``.

    Args:
        path: Written by ``export_onnx``. An ONNX file is a graph of known operators; custom
            operator libraries are not loaded, so it executes nothing of its own.
        threads: On the CPU; 0 lets the runtime decide.

    Returns:
        From (N, h, w, C) float32 to (N, T, h, w) float32 probabilities.

    Raises:
        TransectError: If the extra is missing or the file is damaged.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise TransectError(_MISSING) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # the runtime raises types of its own
        short = json.dumps(str(error)[:200])
        raise TransectError(
            f"{path} is no ONNX file that can be run: {short}. Export it again."
        ) from error

    def forward(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        x = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        maps: NDArray[np.float32] = session.run(["maps"], {"pixels": x})[0]
        return maps

    return forward
