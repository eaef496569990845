"""A recipe of one's own: a small U-Net in two stages, as the segmentation tutorial explains it.

    transect train my_survey --recipe examples/my_recipe.py

Every number that is not said here keeps the default that the reference lists.
"""

from dataclasses import replace

from transect.recipe import (
    Augment,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    Recipe,
    Schedule,
    SegmentDecide,
    Stage,
)

# First a loss with a gentle slope, so that the network finds the objects at all ...
first = Stage(
    name="find",
    epochs=20,
    batch=16,
    loss="bce + dice",
    optimizer=Optimizer(name="adamw", lr=1e-3, encoder_lr=0.3),
    schedule=Schedule(name="cosine", warmup=0.05),
    sampler="foreground",  # a part of the tiles is centred on an object ...
    sampler_share=0.33,  # ... namely a third of them
)

# ... then one that goes after the overlap itself, at a tenth of the rate.
second = replace(
    first,
    name="sharpen",
    epochs=10,
    loss="0.1 * bce + 0.9 * lovasz",
    optimizer=replace(first.optimizer, lr=1e-4),
    average="ema",
)

member = Member(
    name="unet",
    network=Network(encoder="efficientnet_lite0", decoder="unet", decoder_attention="scse"),
    geometry=Geometry(fit="tile", size_hw=(256, 256), overlap=0.5),
    augment=Augment(
        hflip=0.5,
        vflip=0.5,  # leave this out if up is not down in your pictures
        rot90=0.5,
        scale=(0.8, 1.25),
        brightness=0.1,
        contrast=0.2,
    ),
    stages=(first, second),
)

recipe = Recipe(
    name="my_recipe",
    question="segment",
    members=(member,),
    folds=Folds(count=5, stratify=("coverage",)),
    views=("identity", "hflip", "vflip"),
    decide=SegmentDecide(metric="dice"),  # threshold, small pieces and holes are found out of fold
    notes="A small U-Net in two stages: BCE and Dice, then Lovász. An example for users.",
)

# The short twin, for --quick: the same ingredients, done in about a minute.
quick = replace(
    recipe,
    members=(
        replace(
            member,
            geometry=replace(member.geometry, size_hw=(64, 64)),
            stages=tuple(replace(stage, epochs=1, steps=5, batch=4) for stage in member.stages),
        ),
    ),
    folds=Folds(count=2),
)
