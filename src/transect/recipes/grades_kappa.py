"""Ordered grades: focal and kappa loss beside a regressed number (a digest of competitions, 2020).

One network learns classes by the sum of focal and kappa loss, another the grade itself by smooth
L1; where grades part on the scale of the expected grade is tuned out of fold.

Where we differ, and what it still lacks:

* The digest names the losses; networks, sizes, rates, lengths and augmentation are our choice.
* Our kappa loss is one minus the soft kappa, so that it can be added to the focal loss as it is.
"""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import (
    Augment,
    ClassifyDecide,
    Embedding,
    Folds,
    Geometry,
    Member,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
)
from transect.recipes._short_classify import short_classify

_GEOMETRY = Geometry(fit="whole", size_hw=(256, 256))
_AUGMENT = Augment(
    hflip=0.5,
    rotate=20,
    scale=(0.85, 1.15),
    brightness=0.1,
    contrast=0.1,
    valid=("hflip", "rotate"),
)
_STAGE = Stage(
    name="main",
    epochs=25,
    batch=16,
    loss="focal + kappa",  # digest
    sampler="frequency",
    optimizer=Optimizer(name="adamw", lr=3e-4, encoder_lr=0.3),
    schedule=Schedule(name="cosine", warmup=0.05),
    average="ema",
)
_NETWORK = Embedding(
    backbone="tf_efficientnet_b4", head="linear", neck="none", pooling="gem", dropout=0.3
)

recipe = Recipe(
    name="grades-kappa",
    question="classify",
    members=(
        Member("frozen", Embedding(head="linear", neck="none", pooling="layout"), _GEOMETRY,
               stages=()),
        Member("classes", _NETWORK, _GEOMETRY, _AUGMENT, (_STAGE,)),
        Member("number", _NETWORK, _GEOMETRY, _AUGMENT, (replace(_STAGE, loss="smooth_l1"),)),
    ),
    folds=Folds(count=5, stratify=("class",)),
    views=("identity", "hflip"),
    decide=ClassifyDecide(metric="weighted_kappa"),
    notes="Ordered grades: focal and kappa loss beside a regressed number (digest, 2020).",
)  # fmt: skip

quick = short_classify(recipe)
