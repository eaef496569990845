import json

import numpy as np
import pytest

from tests.small import tiny_recipe, write_disc_survey
from transect import api
from transect.cli import main
from transect.data.folder import list_new
from transect.data.images import read_image
from transect.errors import TransectError
from transect.pipeline.export import export_run
from transect.predict.export import onnx_forward
from transect.run import RunFolder
from transect.segment.oof import Choice, loaded_member
from transect.types import Quiet


def test_a_question_without_masks_has_nothing_to_export(tmp_path):
    with pytest.raises(TransectError, match="only networks that draw masks"):
        export_run(object(), RunFolder(tmp_path), tmp_path / "out", to="onnx", progress=Quiet())
    with pytest.raises(TransectError, match="Did you mean 'onnx'"):
        export_run(object(), RunFolder(tmp_path), tmp_path / "out", to="onyx", progress=Quiet())


@pytest.mark.slow
def test_exported_networks_together_give_the_maps_of_the_run(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    survey = write_disc_survey(tmp_path / "survey")
    run = api.train(survey, recipe=tiny_recipe(), out=tmp_path / "run", device="cpu", threads=1)
    folder, out = RunFolder(run.path), tmp_path / "files"
    assert main(["export", str(run.path), "--to", "onnx", "--out", str(out)]) == 0
    assert "differ from the run's own by" in capsys.readouterr().out
    facts = json.loads((out / "export.json").read_text())
    assert facts["tolerance"] == 1e-3
    assert sum(row["weight"] for row in facts["networks"]) == pytest.approx(1)
    recipe = folder.recipe()
    folds = range(recipe.folds.use or recipe.folds.count)
    member = loaded_member(folder, recipe, recipe.members[0], folds, device="cpu", choice=Choice())
    image = list_new(survey / "images")[0][0]
    height, width = facts["networks"][0]["input"]["size_hw"]
    tile = read_image(image.path)[:height, :width]
    x = member._inputs.prepare(tile, image, (0, 0, height, width))[None]
    ours = member._forward(x)
    theirs = sum(row["weight"] * onnx_forward(out / row["file"])(x) for row in facts["networks"])
    np.testing.assert_allclose(theirs, ours, atol=0.03)  # half precision may differ
    assert api.export(run.path, tmp_path / "pt", to="torchscript")["format"] == "torchscript"
