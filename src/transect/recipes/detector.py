"""Objects found as boxes by one detector (FCOS), for surveys of boxes, dots or numbered objects.

No write-up names it: it is the plain member of what ``detector-ensemble`` joins, for those who want
boxes and not maps. Dots get squares of the usual size, and numbered objects their own boxes.

Where we differ: from Tian et al. 2019 in the encoder and in the pyramid, which here begins at
stride 4 and is half as wide, for small objects and small machines. All numbers are our guess.
"""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import (
    Augment,
    CountDecide,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
)

_NETWORK = Network(encoder="efficientnet_lite0", decoder="fcos", decoder_channels=(128,))

recipe = Recipe(
    name="detector",
    question="count",
    members=(
        Member(
            name="fcos",
            network=_NETWORK,
            geometry=Geometry(fit="tile", size_hw=(256, 256), overlap=0.25),
            augment=Augment(
                hflip=0.5,
                vflip=0.5,
                rot90=0.5,
                scale=(0.75, 1.35),
                brightness=0.1,
                contrast=0.2,
                border="zero",
            ),
            stages=(
                Stage(
                    name="main",
                    epochs=40,
                    batch=8,
                    loss="detector",
                    optimizer=Optimizer(
                        name="adamw", lr=1e-3, weight_decay=1e-2, encoder_lr=0.3, clip=5.0
                    ),
                    schedule=Schedule(name="cosine", warmup=0.05, floor=0.01),
                    sampler="object",
                    sampler_share=0.7,  # the rest anywhere, so that empty ground is seen
                    average="ema",
                ),
            ),
        ),
    ),
    folds=Folds(count=5, stratify=("count",)),
    decide=CountDecide(target="boxes", methods=("peaks", "sum", "line", "mean")),
    notes="One anchor-free detector on the survey's own boxes.",
)

quick = replace(
    recipe,
    members=tuple(
        replace(
            member,
            network=replace(_NETWORK, decoder_channels=(32,)),
            geometry=replace(member.geometry, size_hw=(128, 128)),
            stages=tuple(
                replace(
                    stage, epochs=2, steps=12, batch=4, optimizer=replace(stage.optimizer, lr=2e-3)
                )
                for stage in member.stages
            ),
        )
        for member in recipe.members
    ),
    folds=replace(recipe.folds, count=3, use=1),
)  # our numbers
