"""The networks of a run as files for other programs, and a page of facts beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transect.errors import TransectError, unknown_name
from transect.files import write_json
from transect.predict.export import FORMATS, TOLERANCE, export_network
from transect.run import RunFolder
from transect.task import Exportable
from transect.types import Progress

__all__ = ["export_run"]

_SUFFIX = {"onnx": ".onnx", "torchscript": ".pt"}


def export_run(
    task: object, run: RunFolder, out: Path, *, to: str, progress: Progress
) -> dict[str, Any]:
    """Write every network that answers, and ``export.json``: what each reads, shows and weighs.

    The files hold networks, not the run: views, tiles, blending and decisions stay with
    ``transect predict``.

    Args:
        task: Of the run's question.
        run: A trained run.
        out: The folder to write.
        to: ``onnx`` or ``torchscript``.
        progress: Told what happens.

    Returns:
        What ``export.json`` holds: format, tolerance, and per network its file, its share, the
        channels, sides and normalisation of its input, its planes and the largest difference of
        its maps from the run's own on noise.

    Raises:
        TransectError: On another format, a question without masks, or a file whose maps
            differ by more than the tolerance.
    """
    if to not in FORMATS:
        raise unknown_name("to", to, FORMATS)
    if not isinstance(task, Exportable):
        raise TransectError(
            f"{run.path} does not answer with masks, and only networks that draw masks are "
            "exported. Use `transect predict` for this run."
        )
    networks = task.networks(run)
    rows = []
    for done, network in enumerate(networks):
        file = f"{network.name}{_SUFFIX[to]}"
        difference = export_network(
            network.build(),
            out / file,
            to=to,
            in_channels=network.in_channels,
            tile_hw=network.size_hw,
            activation=network.activation,
        )
        rows.append(
            {
                "file": file,
                "weight": network.weight,
                "input": {
                    "channels": network.in_channels,
                    "size_hw": list(network.size_hw),
                    **network.inputs,
                },
                "planes": list(network.planes),
                "activation": network.activation,
                "largest_difference": difference,
            }
        )
        progress.step("exporting", done + 1, len(networks))
    facts = {"format": to, "tolerance": TOLERANCE, "networks": rows}
    write_json(out / "export.json", facts)
    return facts
