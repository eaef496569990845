"""One label an image: the last layer first, then all (a digest of 39 competitions, 2020).

Two networks with ImageNet weights learn their last layers alone, with dropout, augmentation and
draws that give every class its share, under cross-validation; then everything follows at a tenth of
the rate. A third is not trained: logistic regression on its vectors, to judge the others by.

Where we differ, and what it still lacks:

* The digest lists tricks of many entries; that they stand together here is our choice, and so are
  the second network, sizes, rates, lengths and the amounts of augmentation.
* "30 repeats" of five folds: train with ``--seeds 30``; the mean over seeds is not shipped.
"""

from __future__ import annotations

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

_GEOMETRY = Geometry(fit="whole", size_hw=(224, 224))
_AUGMENT = Augment(
    hflip=0.5,  # digest: horizontal, vertical or both flips
    rotate=45,  # digest: a random angle from 0 to 45 degrees
    scale=(0.8, 1.2),  # digest
    brightness=0.1,
    contrast=0.1,
    hue=0.02,  # digest: random hue, saturation and value
    saturation=0.2,
    noise=0.02,  # digest: Gaussian noise
    noise_p=0.2,
    valid=("hflip", "rotate"),
)
_STAGES = (
    Stage(
        name="last",
        epochs=10,
        batch=32,
        loss="ce",
        freeze="all_but_head",  # digest: freeze all layers except the last one
        sampler="class_aware",  # digest
        augment_rare=0.5,  # digest: augmentation based on class frequency
        optimizer=Optimizer(name="adam", lr=1e-3, weight_decay=0.0),
        schedule=Schedule(name="plateau", warmup=0.0, factor=0.5, patience=2),  # digest
        keep="best",
    ),
    Stage(
        name="all",
        epochs=30,
        batch=32,
        loss="ce",
        sampler="class_aware",
        mixup=0.2,
        start="best",
        optimizer=Optimizer(name="adam", lr=1e-4, weight_decay=0.0, encoder_lr=0.3),
        schedule=Schedule(name="plateau", warmup=0.0, factor=0.5, patience=2),
        keep="best",
    ),
)

recipe = Recipe(
    name="labels-last-layer",
    question="classify",
    members=(
        Member("frozen", Embedding(head="linear", neck="none", pooling="layout"), _GEOMETRY,
               stages=()),
        Member(
            "resnet",
            # digest: a ResNet-152 and three connected layers with dropout
            Embedding(backbone="resnet152", head="linear", neck="three_fc", pooling="avg",
                      dropout=0.5),
            _GEOMETRY,
            _AUGMENT,
            _STAGES,
        ),
        Member(
            "efficientnet",
            Embedding(backbone="tf_efficientnet_b4", head="linear", neck="none",  # digest: B4
                      pooling="gem", dropout=0.3),  # digest: generalised mean pooling
            _GEOMETRY,
            _AUGMENT,
            _STAGES,
        ),
    ),
    folds=Folds(count=5, stratify=("class",)),  # digest: stratified, five folds
    views=("identity", "hflip"),
    decide=ClassifyDecide(),
    notes="One label an image: last layer first, then all (digest of 39 competitions, 2020).",
)  # fmt: skip

quick = short_classify(recipe)
