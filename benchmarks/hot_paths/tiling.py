"""Tiled inference: bare model time, a simple loop, MONAI's sliding window if there is one, ours."""

from __future__ import annotations

import functools
import resource
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.hot_paths import Row, absent, interleaved, work_of
from transect.data.images import ArrayReader
from transect.models import build
from transect.predict.forward import cpu_has_bf16, network_forward
from transect.predict.tiling import predict_bands, tile_starts
from transect.recipe import Network

__all__ = ["run"]

_TILE, _BATCH, _OVERLAP = 128, 4, 0.5


def run(quick: bool = True) -> list[Row]:
    """Measure one picture, tiled with overlap .5.

    Args:
        quick: 384 x 384 and three rounds; else 1536 x 1536 and five.

    Returns:
        One row per contender; ratios to the bare float32 model on as many tiles, the limit.
        Notes say how much memory grew while it ran first; later runs reuse it.
    """
    side = 384 if quick else 1536
    torch.manual_seed(0)
    network = Network(encoder="resenc", weights=None, width=16, levels=4)
    model = build(network, in_channels=3, outputs=2, pretrained_allowed=False).eval()
    model.to(memory_format=torch.channels_last)
    picture = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    contenders: dict[str, Callable[[], object]] = {
        "limit: model on the tiles": functools.partial(_bare, model, side),
        "simple loop": functools.partial(_simple, model, picture),
        "ours": functools.partial(_ours, model, picture, "fp32"),
    }
    if cpu_has_bf16():
        contenders["ours, bf16"] = functools.partial(_ours, model, picture, "bf16")
    monai = _monai(model, picture)
    if monai is not None:
        contenders["monai"] = monai
    grown = {name: _growth(work) for name, work in contenders.items()}
    seconds = interleaved(contenders, 3 if quick else 5)
    limit = seconds["limit: model on the tiles"]
    tile = torch.zeros(1, 3, _TILE, _TILE)
    tiles = len(tile_starts(side, _TILE, _OVERLAP)) ** 2
    work = f"{tiles} tiles of {work_of(model, tile)}"
    path = f"tiled inference {side}^2"
    return [
        Row(path, name, value, value / limit, f"+{grown[name]:.0f} MiB", work)
        for name, value in seconds.items()
    ] + absent(path, "monai", "monai", "pip install monai")


def _bare(model: nn.Module, side: int) -> None:
    """The network alone, on tiles that are there already."""
    count = len(tile_starts(side, _TILE, _OVERLAP)) ** 2
    x = torch.zeros(_BATCH, 3, _TILE, _TILE).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for start in range(0, count, _BATCH):
            model(x[: min(_BATCH, count - start)])["logits"].sigmoid()


def _ours(model: nn.Module, picture: NDArray[np.uint8], precision: str) -> None:
    forward = network_forward([(model, 1.0)], precision=precision)
    for _ in predict_bands(
        forward,
        ArrayReader(picture),
        outputs=2,
        tile_hw=(_TILE, _TILE),
        overlap=_OVERLAP,
        batch=_BATCH,
        prepare=lambda pixels, _: pixels.astype(np.float32) / np.float32(255),
    ):
        pass


def _simple(model: nn.Module, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What most scripts do: the whole picture as float, one weighted sum of the whole map."""
    side = picture.shape[0]
    x = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    line = torch.exp(-0.5 * ((torch.arange(_TILE) - (_TILE - 1) / 2) / (_TILE / 8)) ** 2)
    weight = line[:, None] * line
    total, weights = torch.zeros(2, side, side), torch.zeros(side, side)
    starts = tile_starts(side, _TILE, _OVERLAP)
    places = [(top, left) for top in starts for left in starts]
    with torch.inference_mode():
        for i in range(0, len(places), _BATCH):
            part = places[i : i + _BATCH]
            tiles = torch.stack([x[:, t : t + _TILE, s : s + _TILE] for t, s in part])
            maps = model(tiles.to(memory_format=torch.channels_last))["logits"].sigmoid()
            for (t, s), one in zip(part, maps, strict=True):
                total[:, t : t + _TILE, s : s + _TILE] += one * weight
                weights[t : t + _TILE, s : s + _TILE] += weight
    result: NDArray[np.float32] = (total / weights).numpy()
    return result


def _monai(model: nn.Module, picture: NDArray[np.uint8]) -> Callable[[], object] | None:
    """MONAI's sliding window with the same tiles and weights, if MONAI is installed."""
    try:
        from monai.inferers import sliding_window_inference
    except ImportError:
        return None

    def maps(x: Tensor) -> Tensor:
        found: Tensor = model(x.contiguous(memory_format=torch.channels_last))["logits"]
        return found.sigmoid()

    def work() -> object:
        x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            return sliding_window_inference(
                x, (_TILE, _TILE), _BATCH, maps, overlap=_OVERLAP, mode="gaussian"
            )

    return work


def _growth(work: Callable[[], object]) -> float:
    """MiB by which the process's largest memory grows."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
