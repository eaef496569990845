"""ArcFace with prototypes over several boxes (pudae, 3rd place of the humpback competition).

Mirrored flukes are individuals of their own, and the mirrored twin takes no part in the softmax.
At test time several boxes per photo and its mirror image are averaged, and each individual is the
trimmed mean of all its photos and views.

Where we differ:

* No landmark network and no alignment by four points, which need annotated points: his six sets of
  boxes and their aligned twins are here three scales of the one box.
* Features are averaged over the map; his 10 x 10 map was flattened.
* The ten best snapshots vote; he averaged their weights and measured batch norms anew.
* One network instead of three; the third of his had duplicate identities merged.
* The box is x 1.3; in training he drew x 1.2 to 1.4 and moved the centre, which zoom and shift do.
  Grey pictures replace colour ones; he mixed them in at .8 to 1.
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

member = Member(
    name="arcface",
    network=Embedding(
        backbone="densenet121",  # 3rd place
        pooling="avg",  # ours: 3rd place flattened the 10 x 10 map
        dim=512,  # 3rd place
        neck="dropout_fc_bn",  # 3rd place: norm, dropout, connected, norm
        dropout=0.5,  # 3rd place
        head="arcface",
        scale=65.0,  # 3rd place
        margin=0.5,  # 3rd place
        flip_labels=True,  # 3rd place: 2 x 5,005 outputs
        neutral_twin=True,  # 3rd place
    ),
    geometry=Geometry(
        size_hw=(320, 320),  # 3rd place
        margin=0.15,  # 3rd place: the box x 1.3
    ),
    augment=Augment(
        rotate=10,  # 3rd place
        shift=0.05,  # 3rd place
        scale=(0.9, 1.1),  # 3rd place, and the box drawn from x 1.2 to 1.4
        shear=0.176,  # tangent of 10 degrees: 3rd place
        affine_p=0.5,  # 3rd place
        blur=1.0,
        blur_p=0.5,  # 3rd place: average of 3 pixels
        motion_blur=5.0,
        motion_blur_p=0.5,  # 3rd place
        brightness=0.04,  # +- 10 of 255: 3rd place
        contrast=0.1,  # multiply by 0.9 to 1.1: 3rd place
        grey=0.5,  # 3rd place, there mixed in at 0.8 to 1
        valid=("rotate",),
    ),
    stages=(
        Stage(
            name="main",
            epochs=300,  # 3rd place, about
            batch=32,  # 3rd place
            loss="ce",
            optimizer=Optimizer(name="adam", lr=5e-4, weight_decay=5e-4),  # 3rd place
            schedule=Schedule(
                name="step", warmup=0.0, factor=0.5, step_epochs=(150, 200)
            ),  # 3rd place
            sampler="uniform",
            keep="best_k",
            keep_k=10,  # 3rd place averaged the weights of the 10 best; here they vote
            keep_decay=1.0,
        ),
    ),
)

recipe = Recipe(
    name="whale-3rd",
    question="identify",
    members=(member,),
    folds=Folds(count=5, use=1),
    decide=IdentifyDecide(
        sources=("embedding",),
        to_identity="prototype",  # 3rd place
        policies=("quantile", "constant"),  # 3rd place: 2,197 of 7,960, or cosine 0.385
        share_new=0.276,  # 3rd place
        views=(0.92, 1.0, 1.08),  # ours; 3rd place: boxes of five landmark models and their mean
    ),
    notes=(
        "Whale 3rd place (pudae, 2019): ArcFace with prototypes. Not kept: the landmark network."
    ),
)

quick = short_identify(recipe)
