"""Salt bodies: the 1st place with its other last model, ``resnet_34_resize_128``.

The code of this model was never published; the slides say: input resized to 128, ResNet-34 with
scSE and without the first pooling, a global convolutional network in the centre, global attention
upsampling "implemented like scSE", deep supervision. All else is ``salt-1st``.

Where we differ: what the slides leave open (widths, heads, lengths) is our guess, after the other
phalanx networks.
"""

from dataclasses import replace

from transect.recipe import Geometry, Network
from transect.recipes import salt_1st
from transect.recipes._twin import quick_twin

_AUX = (("empty", "bce"), ("pixel", "lovasz_skip_empty(divide='batch')"))  # as phalanx-2

_resize = replace(
    salt_1st.phalanx_3,
    name="phalanx-3-resize",
    network=Network(
        encoder="resnet34",
        decoder="gau",
        decoder_channels=(64,),  # our guess, as in the other phalanx networks
        encoder_attention="scse",
        centre="gcn",  # kernel 7
        hypercolumn=True,
        image_head=True,  # "deep supervision": as phalanx-2
        pixel_head=True,
        stem_pool=False,
    ),
    geometry=Geometry(
        fit="whole",
        size_hw=(128, 128),
        resize_hw=(128, 128),
        channels=("grey", "row", "row*image"),
        normalise="unit",
    ),
    stages=tuple(replace(stage, aux=_AUX) for stage in salt_1st.phalanx_3.stages),
)

recipe = replace(
    salt_1st.recipe,
    name="salt-1st-resize",
    members=(*salt_1st.recipe.members[:-1], _resize),
    notes=(
        "Salt 1st place with its resize-128 model: GCN centre, GAU decoder, deep supervision. That "
        "model alone reached .892 private on Kaggle, beside .895 of salt-1st's."
    ),
)

quick = quick_twin(recipe, side=48, steps=8, first=5)
