"""Several processes train one run together, as ``accelerate launch -m transect train`` does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small import tiny_recipe, write_disc_survey
from transect.api import Run
from transect.files import write_json
from transect.recipe import to_json

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_two_processes_leave_one_whole_run(tmp_path):
    survey = write_disc_survey(tmp_path / "survey")
    write_json(tmp_path / "tiny.json", to_json(tiny_recipe()))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *("-m", "transect", "train", str(survey), "--recipe", str(tmp_path / "tiny.json")),
            *("--out", str(tmp_path / "run"), "--threads", "1"),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = Run(tmp_path / "run")
    assert run.score()["dice"]["value"] > 0.3
    assert (tmp_path / "run" / "report.html").is_file()
    # Half of the 12 batches of an epoch each.
    history = (run.path / "members" / "main" / "fold0" / "history.csv").read_text()
    assert history.splitlines()[1].split(",")[2] == "6"
