"""Salt bodies in 101x101 seismic patches: the 11th place (Salts and Spices, Kaggle 2018).

SE-ResNeXt-50 with scSE, hypercolumn and three losses. No code was published: numbers are from a
talk about the competition unless a comment says otherwise, and much had to be guessed.

Where we differ: they inverted training pictures at random; a network that saw both must be asked
about both, or the half of its training is wasted. Ours is asked about the picture as it is. Widths,
lengths, amounts of augmentation, clipping and the stem without pooling are our guess.
"""

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

recipe = Recipe(
    name="salt-11th",
    question="segment",
    members=(
        Member(
            name="main",
            network=Network(
                encoder="seresnext50_32x4d",
                decoder="unet",
                decoder_channels=(64, 64, 64, 64, 64),  # our guess, as the salt 4th place
                encoder_attention="scse",
                decoder_attention="scse",
                hypercolumn=True,
                image_head=True,  # zero or non-zero mask
                pixel_head=True,
                stem_pool=False,  # our guess; it brought .010 to the 2nd place
            ),
            geometry=Geometry(
                fit="whole", size_hw=(128, 128), border="reflect", normalise="imagenet"
            ),
            augment=Augment(
                hflip=0.5,
                invert=0.5,  # our guess
                cutout=0.3,  # our guess, as the 9th place
                cutout_p=0.5,
                gamma=0.25,  # our guess
                colour_p=0.5,
                shift=0.13,  # "fixed-size crop": 101 of a reflected 128, 13 pixels to each side
                affine_p=1.0,
                valid=("hflip",),
            ),
            stages=(
                Stage(
                    name="snapshots",
                    epochs=250,  # our guess: five cycles of 50, as others of that time
                    batch=16,
                    loss="bce + 0.5 * lovasz",
                    aux=(("empty", "bce"), ("pixel", "bce + 0.5 * lovasz")),
                    loss_on="crop",
                    # The rate is what a rate finder gave them; find_lr=True asks one here.
                    optimizer=Optimizer(
                        "sgd", lr=5e-2, momentum=0.9, nesterov=False, weight_decay=1e-4, clip=5.0
                    ),  # clip: our guess; this rate is high for Lovász
                    schedule=Schedule("cosine_restarts", warmup=0.0, floor=0.01, cycles=5),
                    keep="cycle_end",
                    drop_first=1,  # our guess, as the 1st place
                ),
            ),
        ),
    ),
    folds=Folds(count=5, stratify=("depth",)),  # "only depth stratification worked"
    views=("identity", "hflip"),
    drop_views=False,
    decide=SegmentDecide(metric="salt_map"),  # all tuned out of fold: nothing is known
    notes=(
        "Salt 11th place: SE-ResNeXt-50, scSE, hypercolumn, three losses, SGD snapshots. TGS Salt "
        "Identification, Kaggle 2018: .8915 private."
    ),
)

quick = quick_twin(recipe)
