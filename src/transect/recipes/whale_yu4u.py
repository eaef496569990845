"""ArcFace on wide crops, rare individuals repeated (yu4u, humpback competition).

Known individuals only, duplicates merged, each individual drawn at least ten times per epoch; an
individual's score is the mean cosine of its photos.

Where we differ: slides give the network, the sizes, the kinds of augmentation and the rule of ten
draws; length, rates, scale, dropout, amounts and the level for new ones are our guess. Features are
averaged over the map in place of a pooling by four and 24,576 numbers. Duplicate identities are
merged by the survey.
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


def arcface(name: str, size_hw: tuple[int, int]) -> Member:
    """One ArcFace network; ``whale-yu4u-blend`` has two."""
    return Member(
        name=name,
        network=Embedding(
            backbone="resnext101_32x4d",  # yu4u
            pooling="avg",  # ours: yu4u pooled by 4 and flattened to 24,576
            dim=512,  # yu4u
            neck="dropout_fc_bn",
            dropout=0.5,  # our guess: the slide gives no number
            head="arcface",
            scale=30.0,  # our guess
            margin=0.5,  # ArcFace's own
        ),
        geometry=Geometry(size_hw=size_hw, margin=0.05),
        augment=Augment(  # the kinds are the slide's, the amounts our guess
            grey=0.2,
            noise=0.03,
            noise_p=0.3,
            blur=1.0,
            blur_p=0.3,
            rotate=10,
            shear=0.1,
            affine_p=0.5,
            piecewise=0.03,  # piecewise affine, as all kinds here
            piecewise_p=0.3,
            channel_shift=0.05,
            contrast=0.2,
            crop=0.1,
            crop_p=0.5,
            valid=("rotate",),
        ),
        stages=(
            Stage(
                name="main",
                epochs=40,  # our guess
                batch=32,
                loss="ce",
                optimizer=Optimizer(name="adam", lr=3e-4, weight_decay=0.0, encoder_lr=0.5),
                schedule=Schedule(name="cosine", warmup=0.05, floor=0.01),
                sampler="oversample",
                per_identity=10,  # yu4u: individuals with fewer photos repeated to 10
            ),
        ),
    )


recipe = Recipe(
    name="whale-yu4u",
    question="identify",
    members=(arcface("wide", (256, 768)),),  # yu4u: 768 x 256
    folds=Folds(count=5, use=1),
    decide=IdentifyDecide(
        sources=("embedding",),
        to_identity="mean",  # yu4u: mean cosine per individual
        policies=("constant", "quantile"),
        share_new=0.276,  # share of the competition's test photos
    ),
    notes=("From the author's slides: 0.91156 public, 0.92239 private for this network alone."),
)

quick = short_identify(recipe)
