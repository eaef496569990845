"""A density map by a U-Net, all classes merged, as the sea lion forum tried it (NOAA 2017).

One map for all classes, because density maps of several classes collapse into one; half of the
tiles hold an object, because with empty ones only the network learns to say nothing.

Where we differ: the comment names the kind of network, the merged classes and the positive tiles;
he trained on these alone. All numbers are our guess.
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

_NETWORK = Network(encoder="efficientnet_lite0", decoder="unet")

_DECIDE = CountDecide(
    target="density",
    target_px=4.0,  # our choice: touching animals stay two hills
    methods=("sum", "peaks", "regressors"),
    merge_classes=True,
    downscale=4,
)

recipe = Recipe(
    name="density-map",
    question="count",
    members=(
        Member(
            name="unet",
            network=_NETWORK,  # our choice
            geometry=Geometry(fit="tile", size_hw=(256, 256), overlap=0.25),
            augment=Augment(hflip=0.5, vflip=0.5, rot90=0.5, scale=(0.8, 1.25), gamma=0.2),
            stages=(
                Stage(
                    name="main",
                    epochs=40,  # our guess
                    batch=16,
                    # Pixels, and the mass of the tile; DM-Count's transport as an option:
                    # --set members.0.stages.0.loss="mse + 0.1 * optimal_transport"
                    loss="mse + 0.001 * density_sum",
                    optimizer=Optimizer(name="adamw", lr=1e-3, weight_decay=1e-2, encoder_lr=0.3),
                    schedule=Schedule(name="cosine", warmup=0.05),
                    sampler="foreground",  # "only for positive tiles": mrgloom, 104th place
                    sampler_share=0.5,
                    average="ema",
                ),
            ),
        ),
    ),
    folds=Folds(count=5, stratify=("count",)),
    decide=_DECIDE,
    notes="Density-map regression with merged classes (comment of the sea lion 104th place, 2017).",
)

quick = replace(
    recipe,
    members=tuple(
        replace(
            member,
            network=replace(_NETWORK, decoder_channels=(32, 24, 16, 16, 16)),
            geometry=replace(member.geometry, size_hw=(128, 128)),
            stages=tuple(
                replace(
                    stage, epochs=2, steps=12, batch=8, optimizer=replace(stage.optimizer, lr=2e-3)
                )
                for stage in member.stages
            ),
        )
        for member in recipe.members
    ),
    folds=replace(recipe.folds, count=3, use=1),
    decide=replace(_DECIDE, target_px=3.0, downscale=2, window=32, stride=16),
)  # our numbers
