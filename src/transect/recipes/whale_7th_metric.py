"""Hard triplets at rising sizes (A. Mishchuk's part of the 7th place, humpback competition).

GeM and a unit vector, trained by the hardest triplets of each batch at 256, 384, 448 and last
360 x 720 pixels. It was not submitted: its weights began the classifiers of ``whale-7th``.

Where we differ: slides give networks (SE-ResNeXt-50 among them), sizes, loss and the kinds of
augmentation; the multiplier after the norm is left out, because a triplet loss on unit vectors with
a margin has none to learn. Lengths, rates, margin and amounts are our guess.
"""

from __future__ import annotations

from transect.recipe import (
    Augment,
    Embedding,
    Folds,
    Geometry,
    IdentifyDecide,
    Member,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
)
from transect.recipes._short_identify import short_identify

NETWORK = Embedding(
    backbone="seresnext50_32x4d",  # 7th place: the one that was finetuned in the end
    pooling="gem",  # 7th place
    neck="none",  # 7th place: GeM and L2
    head="none",
)
AUGMENT = Augment(
    cutout=0.25,  # the kinds are the 7th place's, the amounts our guess
    cutout_p=0.5,
    shift=0.05,
    scale=(0.9, 1.1),
    shear=0.1,
    affine_p=0.5,
    brightness=0.1,
    contrast=0.2,
    valid=(),
)
SIZES_HW = ((256, 256), (384, 384), (448, 448), (360, 720))  # 7th place

STAGES = tuple(
    Stage(
        name=f"triplets-{height}x{width}",
        epochs=20,  # our guess
        batch=32,  # our guess: 8 individuals with 4 photos each
        loss="triplet(margin=0.3)",  # hard triplets: 7th place; the margin is our guess
        optimizer=Optimizer(name="adam", lr=1e-4, weight_decay=1e-4),  # our guess
        schedule=Schedule(name="cosine", warmup=0.05, floor=0.01),
        sampler="identity",
        per_identity=4,
        size_hw=(height, width),
    )
    for height, width in SIZES_HW
)

recipe = Recipe(
    name="whale-7th-metric",
    question="identify",
    members=(
        Member(
            name="metric",
            network=NETWORK,
            geometry=Geometry(size_hw=SIZES_HW[-1], margin=0.1),  # 7th place: the box and 10 %
            augment=AUGMENT,
            stages=STAGES,
        ),
    ),
    folds=Folds(count=5, use=1),
    decide=IdentifyDecide(
        sources=("embedding",),
        to_identity="max",
        policies=("constant", "quantile"),
        share_new=0.276,  # share of the competition's test photos
    ),
    notes="Whale 7th place, metric part (2019): GeM and hard triplets at rising sizes.",
)

quick = short_identify(recipe)
