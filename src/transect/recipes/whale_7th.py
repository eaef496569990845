"""Classifiers warmed by metric learning, verified by keypoints (7th place, humpback competition).

One network goes through the triplets of ``whale-7th-metric`` and is then trained as a classifier of
known individuals with centre and ring loss; "new" comes in by a constant after a softmax whose
temperature is searched; keypoints that agree in a homography take the first place.

Where we differ, and what it still lacks:

* Scores are cosines of embeddings. Theirs were class probabilities of four heads on stripes of the
  map and of a detached fifth, in part blended with the likeness to training photos.
* The classifier pools by GeM, as its metric stages must; theirs put mean and maximum side by side.
* Keypoints are SIFT's; theirs Hessian corners with affine shape and HardNet.
* Weight of the centre loss, lengths, rates and amounts are our guess; the ring loss (.01, radius
  1.5), centres' step (.5), dropout (.3) and one-cycle are from the published VGG branch.
"""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import (
    Folds,
    Geometry,
    IdentifyDecide,
    Member,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
)
from transect.recipes import whale_7th_metric
from transect.recipes._short_identify import short_identify

recipe = Recipe(
    name="whale-7th",
    question="identify",
    members=(
        Member(
            name="classifier",
            network=replace(
                whale_7th_metric.NETWORK,
                dim=512,  # 7th place
                neck="dropout_fc_bn",  # 7th place: norm, dropout, connected, norm
                dropout=0.3,
                head="softmax",
            ),
            geometry=Geometry(size_hw=(360, 720), margin=0.1),
            augment=whale_7th_metric.AUGMENT,
            stages=(
                *whale_7th_metric.STAGES,
                Stage(
                    name="classes",
                    epochs=100,  # 7th place, VGG branch
                    batch=32,
                    loss="ce + 0.01 * center(alpha=0.5) + ring(weight=0.01, radius=1.5)",
                    optimizer=Optimizer(
                        name="adam", lr=2e-3, weight_decay=0.0, encoder_lr=0.1
                    ),  # 7th place
                    schedule=Schedule(name="one_cycle", warmup=0.0),  # 7th place
                ),
            ),
        ),
    ),
    folds=Folds(count=5, use=1),
    decide=IdentifyDecide(
        sources=("embedding", "geometry"),
        fuse="best",
        to_identity="max",
        policies=("temperature", "constant", "override"),
        known_first="geometry",  # verification by local features
        share_new=0.276,  # share of the competition's test photos
    ),
    notes="Whale 7th place (2019): a classifier warmed by hard triplets, verified by keypoints.",
)

quick = short_identify(recipe)
