"""Taking one ingredient out of a recipe."""

import pytest

from transect import recipes
from transect.errors import TransectError
from transect.experiments.ingredients import needs_training, without
from transect.recipe import (
    Augment,
    Geometry,
    Member,
    Network,
    PseudoRound,
    Recipe,
    SegmentDecide,
    Stage,
)

RECIPE = Recipe(
    members=(
        Member(
            network=Network(hypercolumn=True, decoder_attention="scse", image_head=True),
            geometry=Geometry(channels=("image", "depth")),
            augment=Augment(hflip=0.5, elastic=10.0, elastic_p=0.3),
            stages=(
                Stage(name="a", loss="bce + 2 * dice", augment=Augment(elastic=5.0)),
                Stage(name="b", loss="0.1 * bce + 0.9 * lovasz_elu", aux=(("empty", "bce"),)),
                Stage(name="c", data="pseudo", loss="lovasz"),
                Stage(name="d", data="mixed", keep="best_k", keep_k=3, weight=2.0),
            ),
        ),
    ),
    pseudo=(PseudoRound(),),
    views=("identity", "hflip", "vflip"),
)


def only(recipe):
    return recipe.members[0]


def test_augmentation_goes_from_member_and_stages():
    poorer = only(without(RECIPE, "augment.elastic"))
    assert (poorer.augment.elastic, poorer.augment.elastic_p) == (0.0, 0.0)
    assert poorer.stages[0].augment.elastic == 0.0
    assert poorer.augment.hflip == 0.5
    assert only(without(RECIPE, "augment")).augment == Augment()


def test_losses_go_by_the_beginning_of_their_name():
    losses = [stage.loss for stage in only(without(RECIPE, "loss.lovasz")).stages]
    assert losses == ["bce + 2 * dice", "0.1 * bce", "bce", "bce + dice"]
    assert only(without(RECIPE, "loss.dice")).stages[0].loss == "1 * bce"


def test_parts_of_the_network_go_with_their_losses():
    assert not only(without(RECIPE, "decoder.hypercolumn")).network.hypercolumn
    assert only(without(RECIPE, "decoder.attention")).network.decoder_attention is None
    headless = only(without(RECIPE, "network.image_head"))
    assert headless.stages[1].aux == ()
    assert only(without(RECIPE, "network.weights")).network.weights is None


def test_pseudo_labels_go_with_the_stages_that_need_them():
    poorer = without(RECIPE, "pseudo")
    assert poorer.pseudo == ()
    assert [(s.name, s.data) for s in only(poorer).stages] == [
        ("a", "train"),
        ("b", "train"),
        ("d", "train"),
    ]


def test_channels_stages_snapshots_views_and_decisions_go():
    assert only(without(RECIPE, "channels.depth")).geometry.channels == ("image",)
    assert len(only(without(RECIPE, "stages.b")).stages) == 3
    assert only(without(RECIPE, "snapshots")).stages[3].weight is None
    assert without(RECIPE, "views.hflip").views == ("identity", "vflip")
    assert without(RECIPE, "views").views == ("identity",)
    assert without(RECIPE, "decide.min_area").decide.min_area == 0
    assert without(RECIPE, "decide").decide.threshold == 0.5


def test_what_acts_after_training_needs_none():
    assert not any(map(needs_training, ("views", "views.hflip", "decide.crf", "blend")))
    assert all(map(needs_training, ("augment", "loss.dice", "pseudo", "members.main")))


@pytest.mark.parametrize(
    ("ingredient", "word"),
    [
        ("augmentation", "Did you mean 'augment'"),
        ("augment.elastik", "Did you mean 'elastic'"),
        ("augment.noise", "does not use"),
        ("decoder.hypercolum", "hypercolumn"),
        ("decide.treshold", "threshold"),
        ("loss", "which loss"),
    ],
)
def test_wrong_ingredients_are_refused(ingredient, word):
    with pytest.raises(TransectError, match=word):
        without(RECIPE, ingredient)


def test_nothing_left_is_refused():
    with pytest.raises(TransectError, match="nothing is left"):
        without(Recipe(), "members.main")


def test_every_salt_recipe_can_lose_lovasz_and_flips():
    for name in recipes.names():
        if name.startswith("salt"):
            without(recipes.load(name), "loss.lovasz")
            without(recipes.load(name), "views.hflip")


def test_a_member_takes_along_what_others_had_of_it():
    second = Geometry(channels=("image", "mask:first"))
    recipe = Recipe(
        members=(Member("first"), Member("second", geometry=second)),
        decide=SegmentDecide(gate="first"),
    )
    poorer = without(recipe, "members.first")
    assert only(poorer).geometry.channels == ("image",)
    assert poorer.decide.gate == ""
    assert without(recipe, "channels.mask:first").members[1].geometry.channels == ("image",)
