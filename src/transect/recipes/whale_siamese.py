"""Siamese network with assignment-mined pairs (Martin Piotte's whale kernel, Kaggle 2018-19).

A branch trained from scratch turns a squeezed grey fluke into 512 features; a small symmetric head
compares two of them. Hard negatives come from a linear assignment over the whole score matrix,
with noise that falls as training goes on; positives are derangements within each individual.

Where we differ:

* Not kept: bootstrapping with test photos, whose scores became labels.
* The level below which a photo is new is fitted out of fold; his was .99.
* He held nothing out and ended when the rates were used up; here one fold of five is held out.
* Noise of the two "easy" blocks stays at 100; his fell by a third after the first.
* Each axis was zoomed by itself; ours zooms both and changes the aspect by a guess.
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

_REUSE = 5  # epochs per score matrix: kernel


def _stage(name: str, blocks: int, lr: float, noise: float, decay: float = 0.0) -> Stage:
    """Blocks of five epochs at one rate and one amplitude of noise."""
    return Stage(
        name=name,
        epochs=blocks * _REUSE,
        batch=32,  # pairs: kernel
        loss="bce",
        optimizer=Optimizer(name="adam", lr=lr, weight_decay=decay),
        schedule=Schedule(name="constant", warmup=0.0),
        mining="lap",
        mining_noise=(noise, noise),
        mining_reuse=_REUSE,
    )


_L2 = 2e-4  # of the second round: kernel

member = Member(
    name="siamese",
    network=Embedding(backbone="siamese", weights=None, head="siamese", dim=512),
    geometry=Geometry(
        size_hw=(384, 384),  # kernel; the ports went to 512
        channels=("grey",),
        normalise="standardise",
        margin=0.05,  # kernel: five per cent on each side
        aspect=2.15,  # kernel: width / height of the box before it is squeezed to a square
    ),
    augment=Augment(
        rotate=5,  # degrees: kernel
        shear=0.0875,  # tangent of 5 degrees: kernel
        scale=(0.8, 1.0),  # kernel, there each axis by itself
        aspect=0.1,  # our guess at that
        shift=0.05,  # kernel
        valid=("rotate",),
    ),
    stages=(
        _stage("random", 2, 64e-5, 1000.0),
        _stage("easy", 2, 64e-5, 100.0),
        _stage("hard", 18, 64e-5, 1.0),
        _stage("harder", 10, 16e-5, 0.5),
        _stage("fine", 8, 4e-5, 0.25),
        _stage("finest", 2, 1e-5, 0.25),
        _stage("again", 10, 64e-5, 1.0, _L2),
        _stage("again-harder", 10, 16e-5, 0.5, _L2),
        _stage("again-fine", 8, 4e-5, 0.25, _L2),
        _stage("again-finest", 2, 1e-5, 0.25, _L2),
    ),
)

recipe = Recipe(
    name="whale-siamese",
    question="identify",
    members=(member,),
    folds=Folds(count=5, use=1),  # the kernel held nothing out: our choice
    decide=IdentifyDecide(
        sources=("siamese",),
        to_identity="max",
        policies=("first_drop",),  # kernel: at the first score below 0.99; here fitted out of fold
    ),
    notes=(
        "Whale kernel by Martin Piotte: a Siamese network with mined pairs. Written for the "
        "playground competition and ported to the humpback one (public 0.822)."
    ),
)

quick = short_identify(recipe)
