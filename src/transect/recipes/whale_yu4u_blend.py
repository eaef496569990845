"""Two ArcFace networks and a Siamese one, blended by a power mean (yu4u, humpback competition).

Photo-by-photo scores become photo-by-individual scores; three box scales are test-time views; the
models meet in the power mean sum of w * P ** 0.5.

Where we differ: as in ``whale-yu4u`` and ``whale-siamese``; all weigh alike, and the sizes of the
three boxes are our guess.
"""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import Folds, IdentifyDecide, Recipe
from transect.recipes import whale_siamese
from transect.recipes._short_identify import short_identify
from transect.recipes.whale_yu4u import arcface

recipe = Recipe(
    name="whale-yu4u-blend",
    question="identify",
    members=(
        arcface("wide", (256, 768)),  # yu4u: 0.91156 / 0.92239
        arcface("square", (512, 512)),  # yu4u: 0.91558 / 0.92981
        replace(
            whale_siamese.member,  # yu4u: 0.88183 / 0.90242
            geometry=replace(whale_siamese.member.geometry, size_hw=(512, 512)),
        ),
    ),
    folds=Folds(count=5, use=1),
    decide=IdentifyDecide(
        sources=("embedding", "siamese"),
        fuse="power",  # yu4u
        power=0.5,  # yu4u's default
        to_identity="mean",  # yu4u
        policies=("constant", "quantile"),
        share_new=0.276,  # share of the competition's test photos
        views=(0.95, 1.0, 1.05),  # yu4u: three box scales; their sizes are our guess
    ),
    notes="From the author's slides: 0.94632 public, 0.95448 private.",
)

quick = short_identify(recipe)
