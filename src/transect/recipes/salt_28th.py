"""Salt bodies in 101x101 seismic patches: the 28th place (Ashrapov, Karchevskiy, Kozinkin, 2018).

One SE-ResNeXt-50 U-Net in five folds: no blend, no pseudo-labels. Numbers are from the write-up;
where it is silent and their published model is not, from that; the rest is our guess.

Where we differ:

* Their loss code applied a sigmoid twice, and the Lovász term ran over the batch as one picture.
  Ours takes logits once and averages over pictures. Their elu(e) without the one has the same
  gradient as ``lovasz_elu``.
* Their "CoordConv" was the picture times a ramp of rows in place of a colour channel. The product
  is a channel here too; beside it the first convolution gets true coordinates (zero-initialised).
* Pixels are divided by their deviation; theirs went in as 0 to 255.
* Relative depth runs over training and test pictures together.
* Their "hypercolumn" was a map of one channel from each of four levels; ours joins the features.
* They listed the 80 flat training patches and dropped them; ours are trained on (they are empty)
  and answered with an empty mask.
* A triangle lasts 3,000 steps only about: cycles are a whole number of equal parts of a stage.
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

# Between 1e-4 and 3e-4, half a triangle in 1,500 steps; 160 steps an epoch (3,200 of 20).
_OPTIMIZER = Optimizer("adam", lr=1e-4, weight_decay=0.0)


def _cycles(epochs: int) -> int:
    """Triangles of 3,000 steps in so many epochs."""
    return max(1, epochs * 160 // 3000)


def _triangles(epochs: int, *, before: int = 0) -> Schedule:
    """Triangles whose height goes on halving where the epochs ``before`` left off."""
    height = 2.0 / 2 ** (_cycles(before) if before else 0)
    return Schedule("triangular2", warmup=0.0, floor=1.0, peak=1.0 + height, cycles=_cycles(epochs))


recipe = Recipe(
    name="salt-28th",
    question="segment",
    members=(
        Member(
            name="main",
            network=Network(
                encoder="seresnext50_32x4d",
                decoder="unet",
                decoder_channels=(256, 256, 64, 128),  # their model
                encoder_attention="scse_deep",
                decoder_attention="scse_deep",
                hypercolumn=True,
                stem_stride=1,  # with the pooling, which they first removed and then took back
                coordconv=True,
            ),
            geometry=Geometry(
                fit="whole",
                size_hw=(128, 128),
                border="reflect",  # our guess; "by padding"
                channels=("image", "depth", "row*image"),
                normalise="survey",
            ),
            augment=Augment(  # the kinds are theirs, the amounts our guess: "not too heavy"
                hflip=0.5,
                brightness=0.1,
                contrast=0.1,
                colour_p=0.3,
                blur=1.0,
                blur_p=0.1,
                scale=(0.9, 1.1),
                affine_p=0.3,
                rotate=5.0,
                rotate_p=0.3,
                valid=("hflip", "rotate"),
            ),
            stages=(
                Stage(
                    name="bce",
                    epochs=80,
                    batch=20,
                    loss="bce",
                    optimizer=_OPTIMIZER,
                    schedule=_triangles(80),
                ),
                Stage(
                    name="lovasz",
                    epochs=340,  # to 420 in all
                    batch=20,
                    loss="0.1 * bce + 0.9 * lovasz_elu",
                    optimizer=_OPTIMIZER,
                    schedule=_triangles(340, before=80),
                    patience=60,  # our guess; "almost every time stopped by early stopping"
                    keep="best_k",
                    keep_k=10,
                    keep_decay=0.8,  # our guess at "exponentially decreasing weights"
                ),
            ),
        ),
    ),
    folds=Folds(count=5, stratify=("coverage",)),  # our guess
    views=("identity", "hflip"),
    drop_views=False,
    # Small masks, and small pieces "black and white", with sizes tuned out of fold; they found
    # thresholds of .40 and more better on the private board.
    decide=SegmentDecide(metric="salt_map", flat_rule=True),
    notes=(
        "Salt 28th place: one SE-ResNeXt-50 with depth and coordinates, BCE then Lovász, the ten "
        "best snapshots. TGS Salt Identification, Kaggle 2018."
    ),
)

quick = quick_twin(recipe)
