"""Folds in processes of their own, here or on Ray, give the bytes of one after another."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

import transect
from tests.test_determinism import ANSWERS, digests, told
from transect.launch import launched

pytestmark = pytest.mark.slow


def trained(recipe, survey, out, how=None, workers=None):
    """The bytes of weights, out-of-fold files and scores."""
    if how is None:
        run = transect.train(survey, recipe=recipe, out=out, threads=1)
    else:
        with launched(how, workers, 1):
            run = transect.train(survey, recipe=recipe, out=out, threads=1)
    weights = digests(run.path / "members")
    kept = {name: digest for name, digest in weights.items() if name.endswith(".safetensors")}
    assert kept
    return digests(run.path, ANSWERS), kept


def test_two_workers_and_one_killed_in_the_middle_give_the_bytes_of_serial(tmp_path, caplog):
    recipe, survey = told("segment", tmp_path)
    serial = trained(recipe, survey, tmp_path / "serial")
    killed = []

    def kill():
        while not killed:
            begun = list((tmp_path / "local" / "members").rglob("*.safetensors"))
            for child in multiprocessing.active_children() if begun else ():
                os.kill(child.pid, signal.SIGKILL)
                killed.append(child.pid)
                return
            time.sleep(0.01)

    watch = threading.Thread(target=kill, daemon=True)
    watch.start()
    assert trained(recipe, survey, tmp_path / "local", "local", 2) == serial
    assert "was killed and is begun again" in caplog.text
    assert killed


def test_ray_gives_the_bytes_of_serial(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    recipe, survey = told("segment", tmp_path)
    serial = trained(recipe, survey, tmp_path / "serial")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # a busy machine starts slowly
    ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
    try:
        assert trained(recipe, survey, tmp_path / "ray", "ray") == serial
    finally:
        ray.shutdown()
