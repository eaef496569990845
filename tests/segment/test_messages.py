"""The messages of segmenting that other tests do not reach."""

import pytest

from tests.small import tiny_recipe, write_disc_survey
from tests.verbs import segment
from transect.data.survey import fingerprint, open_survey
from transect.errors import TransectError
from transect.pipeline import report
from transect.recipe import set_field
from transect.run import RunFolder, data_record
from transect.segment import writing
from transect.types import Quiet


def test_too_few_pictures(tmp_path):
    survey = open_survey(write_disc_survey(tmp_path / "s", count=1))
    with pytest.raises(TransectError, match="at least 2 are needed"):
        segment.prepare(survey, tmp_path / "cache", Quiet())


def test_a_history_that_is_damaged(tmp_path):
    (tmp_path / "history.csv").write_bytes(b"loss\n\xff\xff\n")
    with pytest.raises(TransectError, match="cannot be read"):
        report._history(tmp_path)


def test_new_pictures_that_cannot_be_answered(tmp_path):
    options = {"device": "cpu", "progress": Quiet()}
    root = write_disc_survey(tmp_path / "s", count=2)
    run = RunFolder(tmp_path / "run")
    run.begin(tiny_recipe(), {})
    run.write_json("inputs.json", {"mask_kind": "binary", "classes": []})
    with pytest.raises(TransectError, match="a format must be one of"):
        writing.MaskWriter(run, tmp_path / "out", {"formats": ("x",)})
    (root / "images" / "p0.png").write_bytes(b"x")
    with pytest.raises(TransectError, match="needs every picture"):
        segment.submit(run.path, root / "images", tmp_path / "out.csv", **options)


def test_a_member_that_only_pseudo_labels_could_train(tmp_path):
    from transect.recipe import PseudoRound

    recipe = set_field(tiny_recipe(pseudo=(PseudoRound(),)), "members.main.stages.main.data",
                       "pseudo")  # fmt: skip
    first = tiny_recipe().members[0]
    recipe = tiny_recipe(
        members=(first, recipe.members[0].__class__(**{**vars(recipe.members[0]), "name": "two"})),
        pseudo=(PseudoRound(teachers=("main",)),),
    )
    survey = open_survey(write_disc_survey(tmp_path / "s", count=4))
    run = RunFolder(tmp_path / "run")
    pictures = segment.prepare(survey, run.path / "cache", Quiet())
    run.begin(recipe, data_record(survey, fingerprint(survey)))
    with pytest.raises(TransectError, match="member two could not be trained"):
        segment.train(pictures, recipe, run.path, progress=Quiet(), device="cpu")
