"""Ctrl-C ends a command within three seconds, whatever it is doing, and loses nothing finished."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from benchmarks.torture.surveys import QUESTIONS

BY_NAME = {question.name: question for question in QUESTIONS}
DEAF = """
import hashlib, sys, threading
from transect.cli import stopping
def work():
    print("begun", flush=True)
    {work}
try:
    with stopping.stoppable(for_good=True):
        work()
except KeyboardInterrupt:
    sys.exit(130)
"""
WORK = {
    "in a long call": "hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2_000_000_000)",
    "in Python": "while True: pass",
    "with a thread that is waited for": (
        "threading.Thread(target=hashlib.pbkdf2_hmac, "
        "args=('sha256', b'a', b'b', 2_000_000_000)).start()\n    while True: pass"
    ),
}


def stopped(process, number=signal.SIGINT) -> float:
    """Seconds from the signal to the end of a process."""
    began = time.monotonic()
    process.send_signal(number)
    process.wait(timeout=60)
    return time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", sorted(WORK))
def test_a_deaf_process_ends_all_the_same(where, number):
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF.format(work=WORK[where])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "begun\n"
        assert stopped(process, number) < 3
        assert process.returncode == 130
        assert process.stderr.read().count("nothing finished is lost") == 1


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["decoding", "training", "predicting", "deciding"])
def test_a_training_ends_within_three_seconds_in_every_phase_and_goes_on(phase, tmp_path):
    BY_NAME["segment"].write_survey(tmp_path / "survey")
    (tmp_path / "recipe.py").write_text(BY_NAME["segment"].recipe)
    words = [sys.executable, "-m", "transect", "train", "survey", "--recipe", "recipe.py"]
    words += ["--out", "run"]
    where = {**os.environ, "TRANSECT_PLAIN_SECONDS": "0"}
    with subprocess.Popen(
        words, cwd=tmp_path, env=where, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stderr:
            if re.match(rf".*{phase}", line):
                break
        else:
            pytest.fail(f"the training never told of {phase}")
        assert stopped(process) < 3
        assert process.returncode == 130
    resume = ["--resume"] if (tmp_path / "run" / "recipe.json").exists() else []
    done = subprocess.run([*words, *resume], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
