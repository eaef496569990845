"""Siamese and margin-loss branches, and a stack for "new" (10th place, humpback competition).

A Siamese network through three sizes and an embedding under the margin loss look at the same crops;
whether the first candidates are new is decided by a blend of logistic regression, support vectors,
neighbours and boosted trees.

Where we differ, and what it still lacks:

* Not yet: the division of the embedding into sub-spaces by k-means, re-drawn every two epochs; a
  classifier on the features of all branches; flips as pairs of other identities.
* Two branches stand for many: ResNet-18, 34 and 50 and crops in grey were others of theirs.
* Only the method of the margin branch is published, so the Siamese lengths and rates are our guess.
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

_AUGMENT = Augment(
    hflip=0.5, rotate=10, shift=0.05, scale=(0.9, 1.1), shear=0.1, brightness=0.1, contrast=0.2,
    valid=("hflip", "rotate"),
)  # flips: 10th place; else our guess  # fmt: skip

_siamese = Member(
    name="siamese",
    network=Embedding(
        backbone="seresnext50_32x4d", pooling="max", neck="none", head="siamese"
    ),  # 10th place
    geometry=Geometry(size_hw=(512, 512), margin=0.05),
    augment=_AUGMENT,
    stages=tuple(
        Stage(
            name=f"pairs-{size}",
            epochs=60,  # our guess
            batch=32,
            loss="bce",
            optimizer=Optimizer(name="adam", lr=lr, weight_decay=0.0),
            schedule=Schedule(name="constant", warmup=0.0),
            size_hw=(size, size),  # 10th place: 299, 384, 512
            mining="lap_blocks",
            mining_noise=(1.0, 0.25),
            mining_reuse=5,
        )
        for size, lr in ((299, 8e-5), (384, 4e-5), (512, 2e-5))
    ),
)
_margin = Member(
    name="margin",
    network=Embedding(backbone="resnet50", pooling="avg", dim=128, neck="fc_bn", head="none"),
    geometry=Geometry(size_hw=(512, 512), margin=0.05),
    augment=_AUGMENT,
    stages=(
        Stage(
            name="margin",
            epochs=100,  # our guess
            batch=80,  # method's code
            loss="margin(margin=0.2, beta=1.2, cutoff=0.5)",  # method's code
            optimizer=Optimizer(name="adam", lr=1e-5, weight_decay=1e-4),  # method's code
            schedule=Schedule(name="constant", warmup=0.0),
            sampler="identity",
            per_identity=4,  # method's code
        ),
    ),
)

recipe = Recipe(
    name="whale-10th",
    question="identify",
    members=(_siamese, _margin),
    folds=Folds(count=5, use=1),
    decide=IdentifyDecide(
        sources=("siamese", "embedding"),
        fuse="mean",
        to_identity="max",
        policies=("stack",),  # 10th place
    ),
    notes="Whale 10th place (2019): Siamese and margin-loss branches, a stack for new ones.",
)

quick = short_identify(recipe)
