"""Salt bodies in 101x101 seismic patches: the 9th place (DAInamite, Kaggle 2018).

SENet-154 with object context, a symmetric Lovász loss, AdamW under the Noam schedule, and the mean
of the weights that were best by loss, accuracy and metric. Ten folds with reflected borders and ten
with resized patches.

Numbers are from the authors' code unless a comment says otherwise.

Where we differ:

* They re-estimated batch norms of the averaged weights on all training patches, the validation
  fold's among them; ours see the fold's own training patches only.
* A file reader lost the first row of their table; ours does not.
* Their encoder's activations were leaky (slope .01) on weights made for ReLU; timm's encoder keeps
  its ReLU, the decoder is leaky. Its weights are the Gluon ones: those that the authors had are
  not on timm's hub.
* The best weights by loss: we watch the competition's metric, Dice and pixel accuracy on the
  validation pictures, and take the last weights too. They validated on flipped copies as well.
* Dropout of .5 stands before the image head's layer (32 features theirs, 64 ours) and before the
  pixel features and deep heads, as theirs; the hypercolumn meets the image vector after a 3x3
  convolution to 64, theirs after a 1x1.
* Attention of the decoder looks at maps above 32 x 32 at a reduced size, so that memory is bounded.
* Their change of contrast multiplied grey values; ours does so around the picture's mean.
* Theirs drew an elastic grid, crop, shear and turn apart with .125 each; so do ours, in one warp.
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

_NETWORK = Network(
    encoder="senet154",
    decoder="unet",
    decoder_channels=(128, 64, 32, 16, 16),  # a hypercolumn of 256
    decoder_attention="object_context",  # dropout .2 inside
    centre="object_context",  # 512 channels; dropout .05 inside
    hypercolumn=True,
    deep_supervision=True,
    image_head=True,
    upsample="transpose",
    head_dropout=0.5,
    input_upsample=2,  # bilinear, 128 to 256; stem and pooling as in ImageNet
    leaky=True,
)
_AUGMENT = Augment(
    hflip=0.5,
    cutout=30 / 101,  # one hole of 30 x 30
    cutout_p=0.5,
    cutout_keep=0.5,  # not where it would hide more than half of the salt
    crop=0.2,
    crop_p=0.125,
    rotate=15.0,
    rotate_p=0.125,
    grid=0.15,
    grid_p=0.125,
    shear=0.07,
    affine_p=0.125,
    # Changes of grey values: their "shift", "scale" and "gamma".
    brightness=0.1,
    contrast=0.08,
    gamma=0.08,
    colour_p=0.165,
    valid=("hflip", "rotate"),
)
_STAGE = Stage(
    name="lovasz",
    epochs=250,
    batch=32,
    loss="lovasz_symmetric",
    aux=(
        # .1 for each of five levels; ours is their mean.
        ("deep", "0.5 * lovasz_symmetric(skip_empty=True)"),
        ("empty", "0.05 * bce"),
    ),
    loss_on="crop",
    optimizer=Optimizer("adamw", lr=5e-4, weight_decay=1e-4),
    schedule=Schedule("noam", warmup=0.0, warmup_epochs=10),  # peak at epoch 10, 1e-4 at 250
    keep="best_each",
    average="swa",
)

padded = Member(
    "padded",
    _NETWORK,
    Geometry(fit="whole", size_hw=(128, 128), border="reflect", normalise="imagenet"),
    _AUGMENT,
    (_STAGE,),
)
resized = replace(
    padded,
    name="resized",
    geometry=replace(padded.geometry, resize_hw=(128, 128)),
)

recipe = Recipe(
    name="salt-9th",
    question="segment",
    members=(padded, resized),
    # Theirs were random; balanced coverage only makes folds more alike.
    folds=Folds(count=10, stratify=("coverage",)),
    views=("identity", "hflip"),
    drop_views=False,
    blend="mean",
    decide=SegmentDecide(
        metric="salt_map",
        threshold=0.5,
        min_area=0,
        min_total=0,
        fill_holes=0,
        empty_threshold=0.0,
    ),
    notes=(
        "Salt 9th place: SENet-154 with object context, symmetric Lovász, AdamW and Noam, averaged "
        "weights. TGS Salt Identification, Kaggle 2018: .890 private before post-processing, .882 "
        "with a single fold."
    ),
)

quick = quick_twin(recipe, steps=8)
