"""Salt bodies in 101x101 seismic patches: dilated and plain U-Nets from scratch (salt talk, 2018).

The talk's own solution (.824 private, place 1,482): it names ingredients and gives few numbers, so
nearly every number is our guess and says so. Its lessons are what counts: BCE before Lovász,
pictures standardised, cyclic rates with restarts and never a plateau beside them, dropout that
falls through the network and never meets batch norm, a CRF when the network is weak, masks voted
with the weight of their score, a network that tells empty masks.

Where we differ: weights of the vote and the use of the CRF are settled by out-of-fold scores, not
by the leaderboard or a fixed limit (the talk: CRF below .75). No augmentation in training, as he.
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
from transect.recipes._twin import quick_twin

_GEOMETRY = Geometry(fit="whole", size_hw=(128, 128), border="reflect", normalise="standardise")
_STAGES = (
    Stage(
        name="bce",
        epochs=60,  # our guess
        batch=32,  # our guess
        loss="bce",
        optimizer=Optimizer("adam", lr=1e-4, weight_decay=0.0),  # our guess
        schedule=Schedule("triangular", warmup=0.0, floor=1.0, peak=10.0, cycles=3),  # our guess
        keep="best",
    ),
    Stage(
        name="lovasz",
        epochs=60,  # our guess
        batch=32,
        loss="lovasz_elu",
        optimizer=Optimizer("adam", lr=1e-4, weight_decay=0.0),
        schedule=Schedule(
            "triangular", warmup=0.0, floor=1.0, peak=5.0, cycles=3, reset_optimizer=True
        ),
        start="best",
        keep="best",
    ),
)


_EMPTY = Stage(
    name="empty",
    epochs=60,  # our guess
    batch=32,
    loss="0 * bce",  # it draws nothing: only its head that says empty learns
    aux=(("empty", "bce"),),
    optimizer=Optimizer("adam", lr=1e-4, weight_decay=0.0),  # our guess
    schedule=Schedule("triangular", warmup=0.0, floor=1.0, peak=10.0, cycles=3),  # our guess
)


def _member(name: str, network: Network) -> Member:
    return Member(name, replace(network, weights=None), _GEOMETRY, Augment(), _STAGES)


recipe = Recipe(
    name="salt-dilated",
    question="segment",
    members=(
        # "Varying depths, with batch norm or dropout": one of each.
        _member(
            "dilated-norm",
            Network(
                encoder="dilated",
                decoder="dilated",
                width=32,
                levels=5,
                upsample="bilinear",  # "upsampling tends to improve dilated U-Nets"
            ),
        ),
        _member(
            "dilated-dropout",
            Network(
                encoder="dilated",
                decoder="dilated",
                width=32,
                levels=4,
                upsample="bilinear",
                norm="group",
                dropout=(0.4, 0.3, 0.2, 0.1),
            ),
        ),
        _member("plain-norm", Network(encoder="plain", width=32, levels=5)),
        _member(
            "plain-dropout",
            Network(
                encoder="plain", width=32, levels=4, norm="group", dropout=(0.4, 0.3, 0.2, 0.1)
            ),
        ),
        # "Is there any salt?" is asked of a network of its own.
        Member(
            "any-salt",
            Network(encoder="plain", width=32, levels=5, image_head=True, weights=None),
            _GEOMETRY,
            Augment(),
            (_EMPTY,),
            weight=0.0,
        ),
    ),
    folds=Folds(count=5, stratify=("depth",)),
    views=("identity", "hflip"),
    drop_views=False,
    blend="weighted_vote",
    decide=SegmentDecide(metric="salt_map", crf="if_better", gate="any-salt"),
    notes=(
        "Salt talk: dilated and plain U-Nets from scratch, BCE then Lovász, cyclic rates, a CRF if "
        "it pays, masks voted by score. TGS Salt Identification, Kaggle 2018: .824 private. The "
        "baseline that shows what pretrained encoders bring."
    ),
)

quick = quick_twin(recipe, first=6)
