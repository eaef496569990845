"""What is scored is what is shipped: held-out and new images go through the same code."""

import dataclasses

import cv2
import numpy as np
import pytest

import transect
from tests.small import TINY, tiny_recipe, write_disc_survey
from transect.data.survey import open_survey
from transect.recipe import Folds, Geometry, SegmentDecide
from transect.run import RunFolder
from transect.segment import emptiness
from transect.segment.dataset import MaskDataset
from transect.segment.deciding import Decisions
from transect.segment.oof import OutOfFold, held_out_parts
from transect.segment.predicting import Predictor
from transect.task import NewImages
from transect.types import Quiet


def two_members_on_tiles():
    """Two folds; members weighed by score, views chosen, so that all of it is nested."""
    member = tiny_recipe().members[0]
    stage = dataclasses.replace(member.stages[0], epochs=1, steps=6)
    members = tuple(
        dataclasses.replace(member, name=name, stages=(dataclasses.replace(stage, loss=loss),))
        for name, loss in (("a", "bce"), ("b", "dice"))
    )
    return tiny_recipe(members=members, blend="weighted")


def two_stages_on_whole_images():
    """One fold in halves; a head and two stages, of which one may answer."""
    member = tiny_recipe().members[0]
    stage = dataclasses.replace(
        member.stages[0], epochs=1, steps=6, weight=1.0, aux=(("empty", "bce"),)
    )
    member = dataclasses.replace(
        member,
        network=dataclasses.replace(TINY, image_head=True),
        geometry=Geometry(fit="whole", size_hw=(96, 96), normalise="unit"),
        stages=(stage, dataclasses.replace(stage, name="late", loss="dice")),
    )
    return tiny_recipe(
        members=(member,),
        folds=Folds(count=2, use=1),
        drop_stages=True,
        decide=SegmentDecide(metric="salt_map", empty_threshold=0.6),
    )


def choices_of(recipe):
    """What a run with these parts might have chosen: something else for each part."""
    both, one = ["identity", "hflip"], ["identity"]
    stages = {"main": ["late"]} if recipe.drop_stages else {}
    nested = {"0": {"kept": one, "stages": stages}, "1": {"kept": both, "stages": {}}}
    return {"kept": both, "stages": stages, "dropped": [], "gain": {}, "nested": nested}


@pytest.mark.parametrize("recipe_of", [two_members_on_tiles, two_stages_on_whole_images])
def test_held_out_images_through_predict_give_the_out_of_fold_answers(
    tmp_path, recipe_of, monkeypatch
):
    monkeypatch.setattr(emptiness, "_LEAST", 1)
    root = write_disc_survey(tmp_path / "survey", count=16)
    for number in range(0, 16, 3):
        path = root / "masks" / f"p{number}.png"
        cv2.imwrite(str(path), np.zeros_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))
    recipe = recipe_of()
    run = RunFolder(tmp_path / "run")
    run.write_json("views.json", choices_of(recipe))
    out = transect.train(root, recipe=recipe, out=run.path, audit=False).path
    dataset = MaskDataset(open_survey(root, question="segment"))
    out_of_fold = OutOfFold(run, recipe, dataset.images)
    decisions = Decisions.from_json(run.read_json("decide.json"))
    lines = (out / "folds.csv").read_text().splitlines()[1:]
    fold_of = {line.rsplit(",", 1)[0]: int(line.rsplit(",", 1)[1]) for line in lines}
    folds = np.array([fold_of[image.name] for image in dataset.images])
    parts = held_out_parts(recipe, folds)
    assert len(set(parts.values())) == 2
    for part in set(parts.values()):
        own = [i for i in parts if parts[i] == part]
        fold = int(folds[own[0]])
        predictor = Predictor(run, device="cpu", fold=fold, part=part)
        new = NewImages([dataset.images[i] for i in own], root)
        answers = list(predictor.answers(new, Quiet()))
        assert len(answers) == len(own)
        for i, (image, answer) in zip(own, answers, strict=True):
            assert np.array_equal(answer.maps, out_of_fold.maps(image))
            assert np.array_equal(answer.labels, decisions.answer(out_of_fold, dataset, i))
