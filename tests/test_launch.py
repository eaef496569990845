import os
import signal

import pytest

from transect.errors import TransectError
from transect.launch import Job, Launch, launch_said, launched, run_jobs

HERE = "tests.test_launch"


def double(number):
    return {"twice": 2 * number, "threads": os.environ.get("OMP_NUM_THREADS")}


def fail(**args):
    raise TransectError("no pictures in this fold. Add some.")


def odd():
    raise ZeroDivisionError("by design")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker):
    if not os.path.exists(marker):  # noqa: PTH110
        open(marker, "w").close()  # noqa: PTH123
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def not_json():
    return {1, 2}


def test_one_failing_job_is_reported_and_the_others_go_on(caplog):
    told = []
    results = run_jobs(
        [Job("a", lambda: 1), Job("b", fail), Job("c", odd), Job("d", double, {"number": 2})],
        devices=["cpu"], progress=lambda done, count, result: told.append((done, count)),
    )  # fmt: skip
    assert [r.name for r in results] == ["a", "b", "c", "d"]
    assert results[0].value == 1
    assert results[1].error == "no pictures in this fold. Add some."
    assert results[2].error == "ZeroDivisionError: by design"
    assert "odd" in results[2].details
    assert results[3].value["twice"] == 4
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert "b failed and the others go on" in caplog.text


def test_ctrl_c_ends_the_list():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([Job("a", interrupted)], devices=["cpu"])


def test_jobs_by_import_path():
    assert run_jobs([Job("a", f"{HERE}:double", {"number": 1})], devices=["cpu"])[0].error is None
    for call in ("nowhere.at:all", f"{HERE}:missing", "no-colon"):
        result = run_jobs([Job("a", call)], devices=["cpu"])[0]
        assert "package.module:function" in result.error


@pytest.mark.slow
def test_several_devices_run_in_processes_and_survive_a_dead_one(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    jobs = [
        Job("a", f"{HERE}:double", {"number": 1}), Job("b", f"{HERE}:die"),
        Job("c", f"{HERE}:fail"), Job("d", f"{HERE}:not_json"),
        Job("e", f"{HERE}:double", {"number": 5}),
    ]  # fmt: skip
    results = run_jobs(jobs, devices=["cpu", "cpu"])
    assert [r.name for r in results] == ["a", "b", "c", "d", "e"]
    assert results[0].value["twice"] == 2
    assert int(results[0].value["threads"]) >= 1
    assert "ended with code -9 before it was done, 3 times" in results[1].error
    assert results[2].error == "no pictures in this fold. Add some."
    assert "not JSON" in results[3].error
    assert results[4].value["twice"] == 10
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.slow
def test_a_worker_that_is_killed_is_begun_again(tmp_path, caplog):
    jobs = [Job(name, f"{HERE}:die_once", {"marker": str(tmp_path / name)}) for name in "ab"]
    results = run_jobs(jobs, devices=["cpu", "cpu"])
    assert [result.value for result in results] == ["done", "done"]
    assert caplog.text.count("was killed and is begun again") == 2


@pytest.mark.slow
def test_two_ray_workers_do_the_same_and_a_killed_one_is_repeated(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # a busy machine starts slowly
    ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
    try:
        jobs = [Job(f"j{n}", f"{HERE}:double", {"number": n}) for n in range(3)]
        jobs += [
            Job("k", f"{HERE}:die_once", {"marker": str(tmp_path / "k")}),
            Job("f", f"{HERE}:fail"),
        ]
        results = run_jobs(jobs, how="ray")
    finally:
        ray.shutdown()
    assert [result.value["twice"] for result in results[:3]] == [0, 2, 4]
    assert results[3].value == "done"
    assert results[4].error == "no pictures in this fold. Add some."


def test_what_the_user_says_holds_within_and_no_longer():
    assert launch_said() == Launch()
    with launched("local", 3, 1):
        assert launch_said() == Launch("local", 3, 1)
        assert launch_said().places(("cuda:0", "cuda:1")) == ("cuda:0", "cuda:1", "cuda:0")
    assert launch_said().places(("cpu",)) == ("cpu",)
    with pytest.raises(TransectError, match="workers must be 1 or more"), launched("local", 0):
        pass
    with pytest.raises(TransectError, match="Did you mean 'ray'"), launched("rya"):
        pass


def test_each_process_sees_its_own_gpu(monkeypatch):
    from transect.launch import _variables

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _variables("cuda:1", "4")["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert _variables("cuda:1", "4")["CUDA_VISIBLE_DEVICES"] == "6"
    assert "CUDA_VISIBLE_DEVICES" not in _variables("cpu", "4")


def test_what_cannot_leave_this_process_is_said_before_anything_runs():
    with pytest.raises(TransectError, match="function of this process"):
        run_jobs([Job("a", odd), Job("b", odd)], devices=["cpu", "cpu"])
    path = f"{HERE}:double"
    with pytest.raises(TransectError, match="must be JSON"):
        run_jobs([Job("a", path, {"number": {1}}), Job("b", path)], devices=["cpu", "cpu"])


def test_wrong_settings_are_named(monkeypatch):
    with pytest.raises(TransectError, match="Did you mean 'local'"):
        run_jobs([], how="locale")
    with pytest.raises(TransectError, match="different names"):
        run_jobs([Job("a", odd), Job("a", odd)])
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(TransectError, match=r"transect\[ray\]"):
        run_jobs([], how="ray")
