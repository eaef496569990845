"""Masks of one member as channels of another, and blends of both, through the whole story."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.small import tiny_recipe, write_disc_survey
from transect import api
from transect.data.folder import list_new
from transect.data.images import read_image
from transect.errors import TransectError
from transect.recipe import Folds, Geometry, Member, PseudoRound, Recipe, SegmentDecide, Stage
from transect.run import RunFolder
from transect.segment.cascade import check_mask_channels
from transect.segment.oof import Choice, loaded_member
from transect.segment.predicting import Predictor
from transect.task import NewImages
from transect.types import Quiet


def recipe_of(*members, **changes):
    return Recipe(members=members, folds=Folds(count=2), **changes)


FIRST = Member("first")
SECOND = Member("second", geometry=Geometry(channels=("image", "mask:first")))


def test_masks_come_from_a_member_that_is_trained_before():
    check_mask_channels(recipe_of(FIRST, SECOND))
    with pytest.raises(TransectError, match="put first first"):
        check_mask_channels(recipe_of(SECOND, FIRST))
    late = dataclasses.replace(FIRST, stages=(Stage(data="pseudo"),))
    with pytest.raises(TransectError, match="no stage before"):
        check_mask_channels(recipe_of(late, SECOND, pseudo=(PseudoRound(),)))
    with pytest.raises(TransectError, match=r"folds\.use"):
        check_mask_channels(
            dataclasses.replace(recipe_of(FIRST, SECOND), folds=Folds(count=2, use=1))
        )


def answer_of(predictor, image):
    """The mask that ``predict`` gives for one image."""
    ((_, answer),) = predictor.answers(NewImages([image], image.path), Quiet())
    return answer.whole()


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return write_disc_survey(tmp_path_factory.mktemp("discs") / "survey")


@pytest.fixture(scope="module")
def run(survey, tmp_path_factory):
    """A cascade whose two members are stacked, each fold with a threshold of its own."""
    first = dataclasses.replace(tiny_recipe().members[0], name="first")
    geometry = dataclasses.replace(first.geometry, channels=("image", "mask:first"))
    second = dataclasses.replace(first, name="second", geometry=geometry)
    recipe = tiny_recipe(
        members=(first, second),
        blend="stack",
        decide=SegmentDecide(metric="dice", per_fold=True),
    )
    out = tmp_path_factory.mktemp("run") / "run"
    return api.train(survey, recipe=recipe, out=out, device="cpu", threads=1)


@pytest.mark.slow
def test_training_pictures_get_masks_of_models_that_held_them_out(run, survey):
    folder = RunFolder(run.path)
    recipe = folder.recipe()
    images = {image.name: image for image in list_new(survey / "images")[0]}
    rows = (run.path / "folds.csv").read_text().splitlines()[1:]
    for name, fold in (row.split(",") for row in rows[:3]):
        model = loaded_member(
            folder, recipe, recipe.members[0], [int(fold)], device="cpu", choice=Choice()
        )
        expected = model.plane_of(model.maps(read_image(images[name].path), images[name]))
        found = np.load(run.path / "mask_channels" / "first" / "held_out" / f"{name}.npy")
        assert np.abs(found.astype(int) - expected).max() <= 8  # half precision may differ
    weights = load_file(next((run.path / "members/second/fold0").glob("*.safetensors")))
    assert any(w.ndim == 4 and w.shape[1] == 2 for w in weights.values())  # grey and mask


@pytest.mark.slow
def test_streamed_maps_are_those_of_the_picture_in_memory(run, survey):
    predictor = Predictor(RunFolder(run.path), device="cpu")
    image = list_new(survey / "images")[0][0]
    whole = predictor.maps(read_image(image.path), image)
    streamed = np.concatenate([band for _, band in predictor.bands(image.path, image)], axis=1)
    np.testing.assert_allclose(streamed, whole, atol=0.05)  # half precision may differ
    both = answer_of(predictor, image)
    np.testing.assert_array_equal(both, predictor.labels(read_image(image.path), image))


@pytest.mark.slow
def test_every_fold_answers_at_its_own_threshold(run, survey):
    folder = RunFolder(run.path)
    decided = folder.read_json("decide.json")
    assert set(decided["own"]) == {"0", "1"}
    folder.write_json("decide.json", decided | {"own": {"0": 0.5, "1": 0.5}})
    image = list_new(survey / "images")[0][0]
    even = Predictor(folder, device="cpu").maps(read_image(image.path), image)
    folder.write_json("decide.json", decided | {"own": {"0": 0.99, "1": 0.99}})
    strict = Predictor(folder, device="cpu").maps(read_image(image.path), image)
    folder.write_json("decide.json", decided)
    assert (strict < even + 1e-6).all()
    assert (strict < even - 0.05).any()


@pytest.mark.slow
def test_the_stack_is_written_and_scored_without_the_pictures_own_fold(run):
    noted = RunFolder(run.path).read_json("stack.json")
    assert set(noted["files"]) == {"all", "without0", "without1"}
    assert run.score()["dice"]["value"] > 0.5


@pytest.mark.slow
def test_a_cascade_goes_through_rounds_of_pseudo_labels(survey, tmp_path):
    root = tmp_path / "survey"
    write_disc_survey(root)
    names = [f"p{i}.png" for i in range(8)]
    rows = [f"{name},{'test' if i > 5 else 'train'}" for i, name in enumerate(names)]
    (root / "images.csv").write_text("\n".join(["image,split", *rows]) + "\n")
    first = dataclasses.replace(tiny_recipe().members[0], name="first", weight=0.0)
    geometry = dataclasses.replace(first.geometry, channels=("image", "mask:first"))
    short = dataclasses.replace(first.stages[0], epochs=1, steps=2)
    second = dataclasses.replace(
        first, name="second", weight=1.0, geometry=geometry,
        stages=(short, dataclasses.replace(short, name="more", data="mixed", round=1)),
    )  # fmt: skip
    recipe = tiny_recipe(
        members=(dataclasses.replace(first, stages=(short,)), second),
        pseudo=(PseudoRound(confidence=0.0, teachers=("first",)),),
    )
    run = api.train(root, recipe=recipe, out=tmp_path / "run", device="cpu", threads=1)
    assert (run.path / "mask_channels/first/unlabelled0/p6.png.npy").is_file()
    assert (run.path / "members/second/fold1/round1/done.json").is_file()
    api.predict(run.path, root / "images", tmp_path / "out", progress=Quiet())


@pytest.mark.slow
def test_a_network_of_its_own_says_which_pictures_are_empty(survey, tmp_path):
    first = tiny_recipe().members[0]
    gate = dataclasses.replace(
        first,
        name="gate",
        weight=0.0,
        network=dataclasses.replace(first.network, image_head=True),
        geometry=Geometry(fit="whole", size_hw=(96, 96)),
        stages=(
            dataclasses.replace(first.stages[0], loss="0 * bce", aux=(("empty", "bce"),), epochs=1),
        ),
    )
    decide = SegmentDecide(metric="dice", gate="gate", empty_threshold=0.5)
    recipe = tiny_recipe(members=(first, gate), decide=decide)
    run = api.train(survey, recipe=recipe, out=tmp_path / "run", device="cpu", threads=1)
    told = RunFolder(run.path).read_json("oof/gate/filled0.json")
    assert 0 < min(told.values()) <= max(told.values()) < 1
    assert not list((run.path / "oof/gate").glob("*.npy"))
    predictor = Predictor(RunFolder(run.path), device="cpu")
    image = list_new(survey / "images")[0][0]
    pixels = read_image(image.path)
    assert predictor.decide(np.ones((1, *image.size_hw), np.float32), pixels, 0.4).max() == 0
    one = predictor.labels(pixels, image)
    np.testing.assert_array_equal(one, answer_of(predictor, image))
