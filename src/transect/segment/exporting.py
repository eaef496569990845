"""The networks of a run on masks, for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transect.data.inputs import Inputs
from transect.predict.dense import load_weights
from transect.recipe import Member
from transect.run import RunFolder
from transect.segment.blending import answering
from transect.segment.oof import Choice, snapshots_of, trained_folds
from transect.segment.training import build_member
from transect.task import TrainedNetwork

__all__ = ["networks_of"]


def networks_of(run: RunFolder) -> list[TrainedNetwork]:
    """Every snapshot that answers on new images.

    Args:
        run: A trained run.

    Returns:
        The networks, their shares those of members, folds and snapshots together.
    """
    recipe, facts = run.recipe(), run.read_json("inputs.json")
    choice = Choice.from_json(run.read_json("views.json"))
    folds = trained_folds(recipe)
    members = answering(recipe)
    whole = sum(member.weight for member in members) * len(folds)
    found = []
    for member in members:
        inputs = Inputs.from_json(facts["members"][member.name], member.geometry)
        stages = choice.stages.get(member.name, ())
        for fold in folds:
            snapshots = snapshots_of(run, member.name, [fold], stages=stages)
            total = sum(weight for _, weight in snapshots)
            for path, weight in snapshots:
                found.append(
                    TrainedNetwork(
                        name=f"{member.name}-fold{fold}-{path.stem}",
                        build=_built(member, inputs, len(facts["planes"]), path),
                        in_channels=inputs.network_channels,
                        size_hw=member.geometry.size_hw,
                        activation="softmax" if facts["mask_kind"] == "classes" else "sigmoid",
                        weight=member.weight / whole * weight / total,
                        inputs=inputs.to_json(),
                        planes=tuple(facts["planes"]),
                    )
                )
    return found


def _built(member: Member, inputs: Inputs, planes: int, path: Path) -> Callable[[], Any]:
    """A function that makes a network with the weights of a snapshot."""

    def build() -> Any:
        model = build_member(member, inputs, planes, pretrained=False)
        load_weights(model, path)
        return model

    return build
