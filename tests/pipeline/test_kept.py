"""Digests of what a run keeps: of a finished run, of one that goes on, of what came later."""

import json
import os

import pytest

from transect import api
from transect.errors import TransectError
from transect.files import NOTES, atomic_path, noted, noted_digests, write_json, write_text
from transect.pipeline.kept import MANIFEST, check_files, note_files
from transect.recipe import Recipe
from transect.run import RunFolder


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.fixture
def going(tmp_path):
    """A run that was killed after a state and a map were written."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    with noted(run.path):
        run.begin(Recipe(), {"problems": []})
        for epoch in range(3):
            write_text(run.path / "members/main/fold0/state.safetensors", f"epoch {epoch}")
        write_text(run.path / "oof/main/a.png.npy", "map")
    return run.path


@pytest.mark.parametrize(
    "name",
    ["recipe.json", "data.json", "members/main/fold0/state.safetensors", "oof/main/a.png.npy"],
)
def test_a_bit_that_flips_between_kill_and_resume_is_named(going, name):
    check_files(going)
    flipped(going / name)
    with pytest.raises(TransectError, match=f"{name} was changed after it was written"):
        check_files(going, lost_ok=True)
    with pytest.raises(TransectError, match=name):
        api.predict(going, going, going.parent / "out")


def test_a_process_killed_between_note_and_rename_loses_nothing(going, monkeypatch):
    state = going / "members/main/fold0/state.safetensors"
    before = state.read_text()

    def killed(self, target):
        raise KeyboardInterrupt

    with noted(going), monkeypatch.context() as patch:
        patch.setattr(type(state), "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_text(state, "epoch 3")
    assert state.read_text() == before
    check_files(going)


def test_an_older_state_than_the_last_two_is_not_taken(going):
    state = going / "members/main/fold0/state.safetensors"
    state.write_text("epoch 0")
    with pytest.raises(TransectError, match="was changed"):
        check_files(going)


def test_a_torn_line_of_the_notes_is_no_harm(going):
    with (going / NOTES).open("ab") as notes:
        notes.write(b'["oof/main/a.png.n')
    with noted(going):
        write_text(going / "oof/main/b.png.npy", "map")
    check_files(going)
    flipped(going / "oof/main/b.png.npy")
    with pytest.raises(TransectError, match=r"b\.png\.npy"):
        check_files(going)


def test_finishing_leaves_one_list(going):
    note_files(going)
    assert not (going / NOTES).exists()
    assert set(json.loads((going / MANIFEST).read_text())) >= {"recipe.json", "oof/main/a.png.npy"}
    check_files(going)
    (going / "oof/main/a.png.npy").unlink()
    check_files(going, lost_ok=True)
    with pytest.raises(TransectError, match=r"a\.png\.npy is missing"):
        check_files(going)


def test_what_is_written_after_the_end_is_kept_too(going):
    note_files(going)
    with noted(going):
        write_json(going / "calibration.json", {"scale": [1.5]})
        write_json(going / "audit.json", {})
    check_files(going)
    (going / "calibration.json").write_text('{"scale": [2.5]}')
    with pytest.raises(TransectError, match=r"calibration\.json was changed .* calibrate again"):
        check_files(going)
    (going / "calibration.json").unlink()  # how a user goes back
    check_files(going)
    (going / "audit.json").write_text("[]")
    with pytest.raises(TransectError, match=r"audit\.json was changed"):
        check_files(going)


def test_answers_below_a_run_may_be_edited(going):
    note_files(going)
    write_text(going / "answers/identities.csv", "image,identity\n")  # as predict writes them
    (going / "answers/identities.csv").write_text("image,identity\na.png,anna\n")
    check_files(going)


def test_files_of_other_folders_are_not_noted(tmp_path):
    with noted(tmp_path / "run"):
        with atomic_path(tmp_path / "elsewhere.txt") as temporary:
            temporary.write_text("x")
        assert not (tmp_path / "run").exists()
    assert noted_digests(tmp_path / "run") == {}


def test_names_that_are_no_text_can_be_noted(tmp_path):
    name = os.fsdecode(b"for\xeat.npy")
    with noted(tmp_path):
        write_text(tmp_path / name, "x")
    assert list(noted_digests(tmp_path)) == [name]
