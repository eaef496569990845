"""Steller sea lions in aerial photos: the 2nd place's untried end, a second look at every object.

As ``sealion-2nd``, and a classifier on patches around the objects that were found, whose class
probabilities are two more features of every window.

Where we differ: he had four classes, without pups; ours has all and "nothing". Length and rate are
our guess, and so is the layer of 256 on averaged features in place of VGG's own three. All else as
in ``sealion-2nd``.
"""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import (
    Augment,
    CountDecide,
    Embedding,
    Geometry,
    Member,
    Optimizer,
    Schedule,
    Stage,
)
from transect.recipes import sealion_2nd

_VGG = Embedding(backbone="vgg16", head="softmax", dim=256, neck="fc_bn", pooling="avg")
_LOOK = Member(
    name="look",
    network=_VGG,
    geometry=Geometry(fit="tile", size_hw=(160, 160)),  # 160 px around a dot, centred within 6 px
    augment=Augment(hflip=0.5, rotate=180.0, scale=(0.8, 1.6)),
    stages=(
        Stage(
            name="main",
            epochs=10,  # our guess
            batch=32,
            loss="ce",
            optimizer=Optimizer(
                name="sgd", lr=1e-3, momentum=0.9, nesterov=True
            ),  # rate: our guess
            schedule=Schedule(name="cosine"),
        ),
    ),
)

assert isinstance(sealion_2nd.recipe.decide, CountDecide)
assert isinstance(sealion_2nd.quick.decide, CountDecide)

recipe = replace(
    sealion_2nd.recipe,
    name="sealion-reclassify",
    members=(*sealion_2nd.recipe.members, _LOOK),
    decide=replace(sealion_2nd.recipe.decide, reclassify=True),
    notes=(
        "Sea lion 2nd place (2017) with the classifier that he had no time to make pay. "
        "The comparison out of fold says whether it does here."
    ),
)

quick = replace(
    sealion_2nd.quick,
    name="sealion-reclassify",
    members=(
        *sealion_2nd.quick.members,
        replace(
            _LOOK,
            network=replace(_VGG, backbone="efficientnet_lite0", dim=32),
            geometry=Geometry(fit="tile", size_hw=(48, 48)),
            stages=tuple(
                replace(
                    stage,
                    epochs=1,
                    steps=15,
                    batch=16,
                    optimizer=replace(stage.optimizer, lr=1e-2),
                )
                for stage in _LOOK.stages
            ),
        ),
    ),
    decide=replace(sealion_2nd.quick.decide, reclassify=True),
)  # our numbers
