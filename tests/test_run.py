import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from transect.errors import TransectError
from transect.recipe import Recipe
from transect.run import RunFolder, environment, locked


def test_a_folder_without_a_recipe_is_no_run(tmp_path):
    with pytest.raises(TransectError, match="no run folder"):
        RunFolder.open(tmp_path)


def test_what_is_begun_can_be_read(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.begin(Recipe(name="x"), {"fingerprint": {"sha256": "1"}})
    assert RunFolder.open(run.path).recipe() == Recipe(name="x")
    assert run.same_data({"sha256": "1"})
    assert not run.same_data({"sha256": "2"})


def test_the_environment_names_no_host_and_no_user():
    import getpass
    import platform

    text = str(environment())
    assert platform.node() not in text or not platform.node()
    assert "torch" in text
    assert f"'{getpass.getuser()}'" not in text


def test_a_lock_dies_with_its_process(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from transect.run import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(TransectError, match=f"process {holder.pid}, for 0 minutes"),
        locked(tmp_path / "run"),
    ):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with locked(tmp_path / "run"):
                return
        except TransectError:
            time.sleep(0.05)
    raise AssertionError("the lock outlived its process")


def test_an_unwritable_folder_is_one_sentence(tmp_path, monkeypatch):
    def refused(path, flags, mode):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("transect.run.os.open", refused)  # root may write anywhere
    with pytest.raises(TransectError, match="cannot be written"), locked(tmp_path / "run"):
        pass


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(TransectError, match="Choose another"), locked(tmp_path / "run"):
        pass
