import logging
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.train.toy import Line, Net, score, squared
from transect.errors import TransectError
from transect.recipe import Optimizer, Schedule, Stage
from transect.train.engine import fit
from transect.train.plan import StagePlan, no_better_than
from transect.train.process import kept_memory

STAGE = Stage(
    name="a",
    epochs=4,
    optimizer=Optimizer("adamw", 0.02),
    schedule=Schedule("cosine_restarts", warmup=0, cycles=2, reset_optimizer=True),
)


def stages():
    """Two stages that together use everything that has state."""
    return (
        replace(STAGE, keep="best_k", keep_k=2, average="ema", ema=0.8, weight=1.0),
        replace(
            STAGE, name="b", epochs=3, start="best", schedule=Schedule("plateau", patience=0),
            optimizer=Optimizer("sgd", 0.02, encoder_lr=0.1, clip=1.0), keep="best_each",
            accumulate=2, repeat_worst=2,
        ),
        replace(STAGE, name="c", keep="cycle_end", average="swa", freeze="encoder"),
    )  # fmt: skip


def train(folder, *, chosen=None, step=squared, **more):
    plans = [StagePlan(stage, Line(), step) for stage in (chosen or stages())]
    settings = {"seed": 1, "evaluate": score, "save_seconds": 0.0} | more
    return fit(Net, plans, folder=Path(folder), **settings)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.safetensors")}


def test_learns_and_leaves_only_snapshots_and_records(tmp_path):
    result = train(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {s.path.name for s in result.snapshots} | {"done.json", "history.csv"}
    assert sum(s.weight for s in result.snapshots) == pytest.approx(1)
    assert {s.stage for s in result.snapshots} == {"a", "c"}
    metrics = [row["metric"] for row in result.history]
    assert max(metrics) > metrics[0] + 0.5
    assert len((tmp_path / "history.csv").read_text().splitlines()) == len(metrics) + 1


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        train(tmp_path / name, seed=seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") != contents(tmp_path / "three")


def test_finished_fit_returns_at_once(tmp_path):
    first = train(tmp_path)

    def never(model, batch, progress):
        raise AssertionError

    again = train(tmp_path, step=never)
    assert again.snapshots == first.snapshots
    assert [row["loss"] for row in again.history] == [row["loss"] for row in first.history]


def test_finished_fit_says_when_a_snapshot_vanished(tmp_path):
    train(tmp_path, chosen=[STAGE]).snapshots[0].path.unlink()
    with pytest.raises(TransectError, match="vanished"):
        train(tmp_path, chosen=[STAGE])


@pytest.mark.parametrize(
    ("kind", "save_seconds"), [(RuntimeError, 0.0), (KeyboardInterrupt, 1000.0)]
)
def test_resumed_at_any_update_ends_in_the_same_bytes(tmp_path, kind, save_seconds):
    train(tmp_path / "whole")
    for at in (1, 6, 17, 23, 42):
        count = 0

        def breaking(model, batch, progress, at=at):
            nonlocal count
            count += 1
            if count == at:
                raise kind("as planned")
            return squared(model, batch, progress)

        folder = tmp_path / f"at-{at}"
        with pytest.raises(kind):
            train(folder, step=breaking, save_seconds=save_seconds)
        train(folder, save_seconds=save_seconds)
        assert contents(folder) == contents(tmp_path / "whole")


def test_interrupt_says_how_to_go_on(tmp_path):
    def interrupted(event):
        if event.epoch == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match=r"stage a after epoch 2.*--resume"):
        train(tmp_path, progress=interrupted, save_seconds=1000.0)
    assert (tmp_path / "state.safetensors").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


KILLING = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from tests.train.test_engine import contents, train
from tests.train.toy import squared

def slow(model, batch, progress):
    time.sleep(0.004)
    return squared(model, batch, progress)

torch.set_num_threads(1)
root, chance, kills = Path(sys.argv[1]), random.Random(0), 0
train(root / "whole")
for trial in range(int(sys.argv[2])):
    folder = root / f"trial-{trial}"
    while not (folder / "done.json").exists():
        child = os.fork()
        if child == 0:
            train(folder, step=slow)
            os._exit(0)
        time.sleep(chance.uniform(0.0, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
    train(folder)
    assert contents(folder) == contents(root / "whole"), folder
    assert not list(folder.glob(".part-*.safetensors"))
print(kills)
"""


@pytest.mark.slow
def test_killed_at_random_moments_ends_in_the_same_bytes(tmp_path):
    """The children are forked by a process of its own in which no other thread lives."""
    done = subprocess.run(
        [sys.executable, "-c", KILLING, str(tmp_path), "10"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 30


def test_damaged_state_is_refused_with_a_sentence(tmp_path):
    tmp_path.joinpath("state.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")
    with pytest.raises(TransectError, match="not a state"):
        train(tmp_path)


def test_folder_of_another_fit_is_refused(tmp_path):
    train(tmp_path, chosen=[STAGE])
    with pytest.raises(TransectError, match="another recipe"):
        train(tmp_path, chosen=[replace(STAGE, epochs=5)])


def test_loss_that_is_not_finite_names_the_step_and_keeps_the_last_good_state(tmp_path):
    def poisoned(model, batch, progress):
        loss, parts = squared(model, batch, progress)
        return (loss * float("nan") if progress >= 10 / 16 else loss), parts

    with pytest.raises(TransectError, match="stage a, epoch 3, step 3"):
        train(tmp_path, chosen=[STAGE], step=poisoned)
    train(tmp_path, chosen=[STAGE])
    train(tmp_path / "whole", chosen=[STAGE])
    assert contents(tmp_path) == contents(tmp_path / "whole")


def test_weights_that_are_not_finite_are_not_kept(tmp_path):
    def breaks_last(model, batch, progress):
        loss, parts = squared(model, batch, progress)
        if progress == 7 / 16:
            loss = loss + (model.head[1].bias * 0).sqrt().sum()  # infinite gradient, finite loss
        return loss, parts

    with pytest.raises(TransectError, match=r"not finite after epoch 2"):
        train(tmp_path, chosen=[STAGE], step=breaks_last)
    kept = load_file(tmp_path / "state.safetensors")
    assert all(t.isfinite().all() for t in kept.values() if t.is_floating_point())


def test_hopeless_run_is_ended(tmp_path):
    plan = StagePlan(STAGE, Line(), squared, hopeless=no_better_than(1e9, after_steps=8))
    with pytest.raises(TransectError, match=r"hopeless at epoch 2: the best metric .* trivial"):
        fit(Net, [plan], folder=tmp_path, seed=0, evaluate=score)


class NoNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 4)

    def forward(self, x):
        return self.layer(x)[:, 0, 0, 0]


def test_out_of_memory_halves_the_batch_and_keeps_the_mathematics(tmp_path, caplog):
    def small_device(limit):
        def step(model, batch, progress):
            if len(batch["x"]) > limit:
                raise torch.OutOfMemoryError("as planned")
            return squared(model, batch, progress)

        return StagePlan(replace(STAGE, accumulate=2), Line(steps=3, size=7), step)

    results = {}
    for limit in (7, 2):
        with caplog.at_level(logging.WARNING):
            folder = tmp_path / str(limit)
            results[limit] = fit(NoNorm, [small_device(limit)], folder=folder, seed=0)
    assert "4 pieces whose gradients add up" in caplog.text
    assert (results[7].micro, results[2].micro) == (1, 4)
    whole, pieces = (load_file(results[limit].snapshots[0].path) for limit in (7, 2))
    assert all(torch.allclose(whole[name], pieces[name], atol=1e-6) for name in whole)
    losses = [[row["loss"] for row in results[limit].history] for limit in (7, 2)]
    assert losses[0] == pytest.approx(losses[1])
    with pytest.raises(TransectError, match="does not hold one picture"):
        fit(NoNorm, [small_device(0)], folder=tmp_path / "none", seed=0)


def test_accumulation_equals_the_large_batch(tmp_path):
    class Joined(Line):
        def epoch(self, epoch):
            parts = list(super().epoch(epoch))
            for a, b in zip(parts[::2], parts[1::2], strict=True):
                yield {name: torch.cat([a[name], b[name]]) for name in a}

    joined = Joined()
    batches = [(Line(), 2), (joined, 1)]
    weights = []
    for line, accumulate in batches:
        plan = StagePlan(replace(STAGE, accumulate=accumulate), line, squared)
        if line is joined:
            plan = StagePlan(replace(STAGE, schedule=Schedule("constant", warmup=0)), line, squared)
        else:
            plan = replace(plan, stage=replace(plan.stage, schedule=Schedule("constant", warmup=0)))
        if line is joined:
            plan = replace(plan, batches=_With(joined, 2))
        result = fit(NoNorm, [plan], folder=tmp_path / str(accumulate), seed=0)
        weights.append(load_file(result.snapshots[0].path))
    assert all(torch.allclose(weights[0][n], weights[1][n], atol=1e-6) for n in weights[0])


class _With:
    """Batches that say another number of steps."""

    def __init__(self, batches, steps):
        self.epoch, self.steps = batches.epoch, steps


def test_early_stopping_and_start_from_best(tmp_path):
    values = iter([1.0, 3.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    first = replace(STAGE, epochs=9, patience=2, schedule=Schedule("constant"))
    second = replace(STAGE, name="b", epochs=1, start="best", optimizer=Optimizer("sgd", 0.0))
    result = train(
        tmp_path, chosen=[replace(first, keep="best", weight=1.0), second],
        evaluate=lambda model: {"score": next(values)},
    )  # fmt: skip
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 1]
    best, after = result.snapshots
    assert (best.epoch, best.metric) == (2, 3.0)
    a, b = load_file(best.path), load_file(after.path)
    assert all(torch.equal(a[n], b[n]) for n in a if "running" not in n and "num" not in n)


def test_scratch_forgets_the_stage_before(tmp_path):
    second = replace(
        STAGE, name="b", epochs=1, start="scratch", optimizer=Optimizer("sgd", 0.0), weight=1.0
    )
    for name, epochs in (("short", 1), ("long", 3)):
        train(tmp_path / name, chosen=[replace(STAGE, epochs=epochs, weight=0.0), second])
    assert contents(tmp_path / "short") == contents(tmp_path / "long")


def test_ema_is_what_is_kept(tmp_path):
    fixed = replace(STAGE, average="ema", ema=0.0)
    train(tmp_path / "ema", chosen=[fixed])
    train(tmp_path / "plain", chosen=[replace(fixed, average="none")])
    assert contents(tmp_path / "ema") == contents(tmp_path / "plain")  # decay 0 follows exactly
    train(tmp_path / "slow", chosen=[replace(fixed, ema=0.9)])
    assert contents(tmp_path / "slow") != contents(tmp_path / "plain")


def test_swa_is_the_mean_of_the_kept(tmp_path):
    cycles = replace(STAGE, keep="cycle_end")
    kept = [load_file(s.path) for s in train(tmp_path / "kept", chosen=[cycles]).snapshots]
    result = train(tmp_path / "swa", chosen=[replace(cycles, average="swa")])
    mean = load_file(result.snapshots[0].path)
    assert len(kept) == 2
    assert torch.allclose(
        mean["encoder.0.weight"], (kept[0]["encoder.0.weight"] + kept[1]["encoder.0.weight"]) / 2
    )
    assert not torch.equal(mean["encoder.1.running_mean"], kept[1]["encoder.1.running_mean"])


def test_frozen_encoder_stays_as_it_is(tmp_path):
    result = train(tmp_path, chosen=[replace(STAGE, freeze="encoder")])
    torch.manual_seed(0)
    after = load_file(result.snapshots[0].path)
    other = train(tmp_path / "b", chosen=[replace(STAGE, freeze="encoder", epochs=2)])
    before = load_file(other.snapshots[0].path)
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("encoder")


def test_progress_counts_updates_and_time(tmp_path):
    events = []
    train(tmp_path, progress=events.append)
    assert len(events) == 4 * 4 + 3 * 3 + 4 * 4
    assert (events[-1].epoch, events[-1].step, events[-1].eta_seconds) == (4, 4, 0)
    assert all(e.eta_seconds >= 0 and e.loss >= 0 for e in events)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keep": "bset"}, "Did you mean 'best'"),
        ({"drop_first": 2}, "drop them all"),
        ({"schedule": Schedule("plateau", cycles=2)}, "cannot have cycles"),
        ({"schedule": Schedule("cosin")}, "Did you mean 'cosine'"),
        ({"precision": "fp16"}, "Did you mean 'bf16'|Did you mean 'fp32'"),
        ({"start": "middle"}, "previous, best or scratch"),
        ({"average": "mean"}, "none, ema or swa"),
        ({"epochs": 0}, "at least 1"),
        ({"weight": 0.0}, "no stage's snapshots"),
        ({"freeze": "head"}, "freeze must be"),
        ({"optimizer": Optimizer("adamm")}, "Did you mean 'adam"),
        ({"average": "ema", "ema": 1.0}, r"ema must be in \[0, 1\)"),
        ({"keep": "best_k", "keep_k": 0}, "keep_k"),
    ],
)
def test_contradictions_are_refused_before_training(tmp_path, change, words):
    with pytest.raises(TransectError, match=words):
        train(tmp_path, chosen=[replace(STAGE, **change)])


def test_metric_that_is_not_measured_is_named(tmp_path):
    with pytest.raises(TransectError, match="among those measured: score"):
        train(tmp_path, chosen=[STAGE], metric="dice")


def test_twice_the_same_stage_name_is_refused(tmp_path):
    with pytest.raises(TransectError, match="different names"):
        train(tmp_path, chosen=[STAGE, STAGE])


def test_full_disk_is_a_sentence(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    from transect.train import checkpoint as state

    def full(*arguments):
        raise SafetensorError("Error while serializing: I/O error: Os { code: 28 }")

    monkeypatch.setattr(state, "save_file", full)
    with pytest.raises(TransectError, match=r"disk of .* is full"):
        train(tmp_path, chosen=[STAGE])


def test_stage_names_cannot_leave_the_folder(tmp_path):
    result = train(tmp_path / "in", chosen=[replace(STAGE, name="../../out")])
    assert result.snapshots[0].path.parent == tmp_path / "in"


def test_worst_batch_of_a_window_is_repeated(tmp_path):
    losses = []

    def watched(model, batch, progress):
        loss, parts = squared(model, batch, progress)
        losses.append((float(loss.detach()), float(batch["y"].sum())))
        return loss, parts

    stage = replace(STAGE, epochs=1, repeat_worst=3, schedule=Schedule())
    result = fit(Net, [StagePlan(stage, Line(steps=6), watched)], folder=tmp_path, seed=0)
    assert result.history[0]["step"] == len(losses) == 8
    for first in (0, 4):
        worst = max(losses[first : first + 3])
        assert losses[first + 3][1] == worst[1]


def test_bf16_trains_on_the_cpu_too(tmp_path):
    result = train(tmp_path, chosen=[replace(STAGE, precision="bf16")])
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert load_file(result.snapshots[0].path)["encoder.0.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    "change",
    [{"keep": "best"}, {"keep": "best_k"}, {"patience": 3}, {"schedule": Schedule("plateau")}],
)
def test_nothing_is_chosen_by_the_training_loss(tmp_path, change):
    with pytest.raises(TransectError, match="nothing measures them on held-out images"):
        train(
            tmp_path, chosen=[replace(STAGE, **{"schedule": Schedule(), **change})], evaluate=None
        )


def test_plateau_lowers_the_rate_and_cycles_restart_it(tmp_path):
    flat = replace(STAGE, schedule=Schedule("plateau", warmup=0, patience=0, factor=0.5))
    rows = train(tmp_path / "a", chosen=[flat], evaluate=lambda model: {"score": 0.0}).history
    assert [row["lr"] for row in rows] == pytest.approx([0.02, 0.02, 0.01, 0.005])
    rows = train(tmp_path / "b", chosen=[STAGE]).history
    assert rows[0]["lr"] == pytest.approx(rows[2]["lr"])
    assert rows[1]["lr"] < rows[0]["lr"]


@pytest.mark.slow
def test_two_processes_train_one_model_and_resume(tmp_path):
    """Under torchrun, as under ``accelerate launch``: gradients are averaged over processes."""
    script = tmp_path / "script.py"
    script.write_text(SHARED)
    for name, stop in (("whole", "no"), ("broken", "stop"), ("broken", "no")):
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
             str(script), str(tmp_path / name), stop],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip
        assert (done.returncode == 0) == (stop == "no"), done.stderr
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")
    rows = (tmp_path / "whole" / "history.csv").read_text().splitlines()
    assert rows[-1].split(",")[:3] == ["a", "3", "12"]  # half of the 8 batches per epoch each


SHARED = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from tests.train.test_engine import STAGE
from tests.train.toy import Net, score, squared
from transect.train.batches import IndexBatches
from transect.train.engine import fit
from transect.train.plan import StagePlan
from transect.train.samplers import Items, sampler_for

data = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(0))
stage = replace(STAGE, epochs=3, batch=8, average="ema", keep="best")

def make(draws, rngs, fraction):
    x = data[draws.index]
    return {"x": x, "y": x.mean((1, 2, 3)) * 2 + 1}

def progress(event):
    if sys.argv[2] == "stop" and (event.epoch, event.step) == (2, 2):
        raise RuntimeError("stop")

batches = IndexBatches(sampler_for(stage, Items(64), seed=0), make, batch=8, seed=0)
fit(Net, [StagePlan(stage, batches, squared)], folder=Path(sys.argv[1]), seed=0,
    evaluate=score, progress=progress)
"""


def test_training_keeps_freed_memory(tmp_path):
    faults = []

    def step(model, batch, progress):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**26, dtype=torch.uint8)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        return squared(model, batch, progress)

    with kept_memory() as kept:
        if not kept:
            pytest.skip("this C library has no such setting")
    fit(Net, [StagePlan(Stage(epochs=2), Line(), step)], folder=tmp_path, seed=0)
    assert min(faults[1:]) < 2**26 / resource.getpagesize() / 10
