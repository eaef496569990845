"""Networks as files for other programs: ONNX (``[onnx]``) and TorchScript, checked when written."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.errors import TransectError, unknown_name
from transect.files import atomic_path
from transect.predict.forward import ACTIVATIONS

__all__ = ["FORMATS", "TOLERANCE", "export_network", "onnx_forward"]

TOLERANCE = 1e-3  # largest difference of probabilities; thresholds are searched in steps of .05
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


def export_network(
    model: nn.Module,
    path: Path,
    *,
    to: str,
    in_channels: int,
    tile_hw: tuple[int, int],
    activation: str = "sigmoid",
) -> float:
    """Write a network for other programs and check that the file gives the same maps.

    Args:
        model: A dense network.
        path: The file.
        to: ``onnx`` or ``torchscript``.
        in_channels: Channels of its input.
        tile_hw: Sides of the input, fixed in the file; the batch size is free.
        activation: Put into the file, so that it gives probabilities.

    Returns:
        The largest difference between the file's maps and ours on noise.

    Raises:
        TransectError: On another format, without the extra, or if the maps differ by more than
            ``TOLERANCE``; then no file is left.
    """
    if to not in FORMATS:
        raise unknown_name("to", to, FORMATS)
    wrapped = _Probabilities(model, activation).eval().cpu()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, in_channels, *tile_hw, generator=generator)
    more = torch.randn(3, in_channels, *tile_hw, generator=generator)  # not the traced batch size
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Both exporters warn that they are old; the new ones need another package or a compiler.
        warnings.simplefilter("ignore")
        run = FORMATS[to](wrapped, x, temporary)
        with torch.inference_mode():
            expected = wrapped(more).numpy()
        difference = float(np.abs(run(more.permute(0, 2, 3, 1).numpy()) - expected).max())
        if difference > TOLERANCE:
            raise TransectError(
                f"the {to} file of this network gives maps that differ by {difference:.4f}, so it "
                f"was not written. Export to {'onnx' if to == 'torchscript' else 'torchscript'}."
            )
    return difference


def _write_onnx(wrapped: nn.Module, x: Tensor, path: Path) -> _Run:
    """An ONNX file, and what runs it."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise TransectError(_MISSING) from error
    torch.onnx.export(
        wrapped,
        (x,),
        str(path),
        input_names=["pixels"],
        output_names=["maps"],
        dynamic_axes={"pixels": {0: "batch"}, "maps": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    return onnx_forward(path)


def _write_torchscript(wrapped: nn.Module, x: Tensor, path: Path) -> _Run:
    """A TorchScript file, and what runs it."""
    written = io.BytesIO()  # torch refuses names that begin with a dot
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(wrapped, x), written)
    path.write_bytes(written.getvalue())
    written.seek(0)
    read = torch.jit.load(written)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            maps: NDArray[np.float32] = read(
                torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
            ).numpy()
        return maps

    return run


_Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]

FORMATS: dict[str, Callable[[nn.Module, Tensor, Path], _Run]] = {
    "onnx": _write_onnx,
    "torchscript": _write_torchscript,
}


def onnx_forward(
    path: Path, *, threads: int = 0
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Open an ONNX file as a function for ``predict_bands``.

    Args:
        path: Written by ``export_network``. An ONNX file is a graph of known operators; custom
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
