"""Trains a model through its stages, so that a kill at any moment changes nothing in the result."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transect.errors import TransectError
from transect.files import read_json, spreadsheet_safe, write_json, write_text
from transect.recipe import Stage, to_json
from transect.train import schedules
from transect.train.averaging import Ema, mean_weights, refresh_batch_norm
from transect.train.checkpoint import (
    State,
    Writer,
    load_weights,
    optimizer_tensors,
    read_state,
    restore_optimizer,
    save_tensors,
    tensors_of,
    under,
    write_state,
)
from transect.train.checkpoint_selection import Score, best_epoch, check_keep, kept, stale_epochs
from transect.train.distributed import Team
from transect.train.loop import Epoch, NotFiniteError, updates_of
from transect.train.optim import hold_frozen_norms
from transect.train.plan import (
    Batches,
    FitResult,
    Health,
    ProgressEvent,
    Snapshot,
    StagePlan,
    Stateful,
    watches,
)
from transect.train.process import interruptible, kept_memory, repeatable
from transect.train.update import TooBigError, Update, autocast, equipped, move, place_model

__all__ = ["fit", "seed_of"]

_LOG = logging.getLogger(__name__)


def fit(
    build: Callable[[], nn.Module],
    plans: Sequence[StagePlan],
    *,
    folder: Path,
    seed: int,
    device: str = "cpu",
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    metric: str = "score",
    progress: Callable[[ProgressEvent], None] | None = None,
    compile: bool = False,
    save_seconds: float = 10.0,
    depth: int = 2,
) -> FitResult:
    """Train one model through its stages.

    Called again with the same arguments on the same folder, it goes on where it stopped, however
    it stopped, and ends in the same bytes of weights; once finished, it returns at once.

    Args:
        build: Makes the model; torch's random state is seeded before.
        plans: The stages, in order.
        folder: Of this fit alone: snapshots, ``state.safetensors`` while it runs, ``history.csv``,
            and ``done.json`` in the end.
        seed: Of everything random.
        device: ``cpu``, ``cuda``, ``cuda:1``; under ``accelerate launch`` each process has its
            own.
        evaluate: Measures a model in evaluation mode (the averaged one if there is an average).
            Needed where a stage watches (see ``plan.watches``); None: minus the training loss
            stands in the history, and nothing is chosen by it.
        metric: Which of its values is watched; higher is better.
        progress: Is told after every update.
        compile: Run the model through ``torch.compile``.
        save_seconds: Least time between two writings of the state. What is lost by a kill is
            trained again with the same result, so this trades disk against time only.
        depth: Batches built ahead in a background thread.

    Returns:
        Snapshots to predict with, their weights summing to 1, and the history.

    Raises:
        TransectError: On a recipe that contradicts itself, a loss that is not finite (the last
            good state stays), a hopeless run, a full disk, or a folder of another fit.
        KeyboardInterrupt: On Ctrl-C and SIGTERM, after the state of the last epoch is on disk.
    """
    run = _Fit(build, tuple(plans), folder, seed, Team(device), evaluate, metric, progress)
    run.compile, run.depth = compile, depth
    run.check()
    finished = run.finished()
    if finished is not None:
        return finished
    run.writer = Writer(every=save_seconds)
    try:
        with repeatable(run.team.device), interruptible(), kept_memory():
            run.start()
            while run.stage_number < len(run.plans):
                run.train_stage()
            return run.finish()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(run.interrupted()) from None
    finally:
        run.writer.close()


def seed_of(*parts: int) -> int:
    """A seed for torch from several numbers, e.g. (seed, stage, epoch).

    Example:
        >>> seed_of(0, 1) != seed_of(1, 0)
        True
    """
    return int(np.random.SeedSequence([abs(part) for part in parts]).generate_state(1)[0])


class _Fit:
    """A fit on its way: the model, what trains it, and where it stands."""

    def __init__(
        self,
        build: Callable[[], nn.Module],
        plans: tuple[StagePlan, ...],
        folder: Path,
        seed: int,
        team: Team,
        evaluate: Callable[[nn.Module], Mapping[str, float]] | None,
        metric: str,
        progress: Callable[[ProgressEvent], None] | None,
    ) -> None:
        self.build, self.plans, self.folder, self.seed = build, plans, folder, seed
        self.team, self.evaluate, self.metric, self.progress = team, evaluate, metric, progress
        self.compile, self.depth = False, 2
        self.writer: Writer
        self.model: nn.Module
        self.update: Update
        self.plateau: schedules.Plateau | None = None
        self.state: State
        self.stage_number = 0
        self.epoch = 0
        self.stopped = False
        self.micro = 1
        self.scores: list[Score] = []
        self.history: list[dict[str, Any]] = []
        self.kept: list[dict[str, Any]] = []
        self.began = time.monotonic()
        self.updates_done = 0

    # Before and after ---------------------------------------------------------------------

    def check(self) -> None:
        """Refuse what cannot work, before anything is trained."""
        if not self.plans:
            raise TransectError("there is nothing to train: give at least one stage.")
        names = [plan.stage.name for plan in self.plans]
        if len(set(names)) < len(names):
            raise TransectError(
                f"stages must have different names; got {', '.join(names)}. Rename one."
            )
        for plan in self.plans:
            stage = plan.stage
            schedules.check(stage.schedule)
            check_keep(stage)
            autocast(stage, torch.device("cpu"))
            if stage.epochs < 1 or stage.accumulate < 1:
                raise TransectError(
                    f"stage {stage.name} needs epochs and accumulate of at least 1; got "
                    f"{stage.epochs} and {stage.accumulate}."
                )
            if stage.start not in {"previous", "best", "scratch"}:
                raise TransectError(
                    f"start of stage {stage.name} must be previous, best or scratch; got "
                    f"'{stage.start}'."
                )
            if stage.average not in {"none", "ema", "swa"}:
                raise TransectError(
                    f"average of stage {stage.name} must be none, ema or swa; got "
                    f"'{stage.average}'."
                )
        if self.evaluate is None and watches([plan.stage for plan in self.plans]):
            raise TransectError(
                "a stage keeps its best epochs, waits for progress or begins with the best, and "
                "nothing measures them on held-out images. Give an evaluation, or set keep=last, "
                "patience=0, start=previous and another schedule than plateau."
            )
        if sum(self.share_of(number) for number in range(len(self.plans))) <= 0:
            raise TransectError(
                "no stage's snapshots would be used: give at least one stage a weight above 0."
            )

    def share_of(self, number: int) -> float:
        """Share of a stage's snapshots in the prediction."""
        weight = self.plans[number].stage.weight
        if weight is None:
            return 1.0 if number == len(self.plans) - 1 else 0.0
        return weight

    @property
    def signature(self) -> str:
        """What must be equal for a fit to go on."""
        stages = [[to_json(plan.stage), plan.batches.steps] for plan in self.plans]
        text = json.dumps([stages, self.seed, self.metric, self.team.world], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def finished(self) -> FitResult | None:
        """The result of a fit that ended before."""
        path = self.folder / "done.json"
        if not path.exists():
            return None
        done = read_json(path)
        self._same(done["signature"])
        snapshots = tuple(
            Snapshot(self.folder / s["file"], s["weight"], s["metric"], s["stage"], s["epoch"])
            for s in done["snapshots"]
        )
        for snapshot in snapshots:
            if not snapshot.path.exists():
                raise TransectError(
                    f"{snapshot.path} has vanished. Remove {path} to train this part again."
                )
        return FitResult(snapshots, done["history"], done["micro"])

    def start(self) -> None:
        """Make the model, and take up the state if there is one."""
        torch.manual_seed(seed_of(self.seed))
        self.model = place_model(self.build(), self.team.device)
        path = self.folder / "state.safetensors"
        if not path.exists():
            self._enter()
            return
        self.state = read_state(path)
        self._same(self.state.scalars["signature"])
        self._restore()
        _LOG.info("going on in stage %s after epoch %d", self.stage.name, self.epoch)

    def finish(self) -> FitResult:
        """Write ``done.json`` and remove what only a running fit needs."""
        self.writer.drain()
        if self.team.main:
            total = sum(s["weight"] for s in self.kept)
            snapshots = [{**s, "weight": s["weight"] / total} for s in self.kept if s["weight"] > 0]
            self._write_history(self.folder, self.history)
            write_json(
                self.folder / "done.json",
                {
                    "signature": self.signature,
                    "snapshots": snapshots,
                    "history": self.history,
                    "micro": self.micro,
                },
            )
            self._clean(self.folder, {s["file"] for s in snapshots})
            (self.folder / "state.safetensors").unlink(missing_ok=True)
        self.team.wait()
        result = self.finished()
        assert result is not None
        return result

    def interrupted(self) -> str:
        """Keep the state of the last epoch and say how to go on."""
        self.writer.drain()
        return (
            f"stopped in stage {self.stage.name} after epoch {self.epoch}; the state is in "
            f"{self.folder}. The same command with --resume goes on from there."
        )

    # Stages -------------------------------------------------------------------------------

    @property
    def plan(self) -> StagePlan:
        """The present stage with its ingredients; the last one when all are done."""
        return self.plans[min(self.stage_number, len(self.plans) - 1)]

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return self.plan.stage

    @property
    def batches(self) -> Batches:
        """The batches of the present stage."""
        return self.plan.batches

    @property
    def shown(self) -> nn.Module:
        """The model that is evaluated and kept."""
        return self.model if self.ema is None else self.ema.model

    def train_stage(self) -> None:
        """Run the epochs that the present stage still has, then go over to the next."""
        while self.epoch < self.stage.epochs and not self.stopped:
            try:
                self._train_epoch()
            except TooBigError:
                # The epoch begins anew from its start, so that the result does not depend on
                # where in the epoch the memory ran out.
                micro = self.micro * 2
                _LOG.warning(
                    "the batch of stage %s does not fit the memory of %s: it is now trained in %d "
                    "pieces whose gradients add up",
                    self.stage.name, self.team.device, micro,
                )  # fmt: skip
                self._restore()
                self.micro = micro
        self._leave()

    def _enter(self) -> None:
        """Begin a stage: its weights, what is frozen, a fresh optimiser; write the state."""
        if self.stage.start == "scratch" and self.stage_number > 0:
            torch.manual_seed(seed_of(self.seed, self.stage_number))
            self.model.load_state_dict(self.build().state_dict())
        self.epoch, self.stopped, self.scores = 0, False, []
        self._equip()
        self._capture()

    def _equip(self) -> None:
        """What trains the model in this stage."""
        self.update = equipped(self.model, self.plan, self.team.device, wrap=self._wrapped)
        plateau = self.stage.schedule.name == "plateau"
        self.plateau = schedules.Plateau(self.stage.schedule) if plateau else None

    def _wrapped(self, model: nn.Module) -> nn.Module:
        """What is called in training."""
        called = self.team.wrap(model)
        return torch.compile(called) if self.compile else called  # type: ignore[return-value]

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of the present stage."""
        return self.update.optimizer

    @property
    def ema(self) -> Ema | None:
        """Of the present stage, if it has one."""
        return self.update.ema

    def _leave(self) -> None:
        """End a stage: note its snapshots, put the weights it delivers into the model."""
        self.writer.drain()
        self.team.wait()
        share = self.share_of(self.stage_number)
        weights = kept(self.stage, self.scores, final=True)
        if self.stage.average == "swa":
            self._average([epoch for epoch, _ in weights])
        elif self.ema is not None:
            self.model.load_state_dict(self.ema.model.state_dict())
        for epoch, weight in weights if self.stage.average != "swa" else ():
            metric = next(s.metric for s in self.scores if s.epoch == epoch)
            self._keep(self._file(epoch), weight * share, metric, epoch)
        best = best_epoch(self.scores)
        self.stage_number += 1
        if self.stage_number == len(self.plans):
            return
        if self.stage.start == "best" and best is not None:
            load_weights(self.model, self.folder / self._file(best, self.stage_number - 1))
        self._enter()

    def _keep(self, file: str, weight: float, metric: float, epoch: int) -> None:
        self.kept.append(
            {
                "file": file,
                "weight": weight,
                "metric": metric if math.isfinite(metric) else None,
                "stage": self.stage.name,
                "epoch": epoch,
            }
        )

    def _average(self, epochs: list[int]) -> None:
        """SWA: the mean of the kept snapshots, with batch norms measured on training batches."""
        states = []
        for epoch in epochs:
            load_weights(self.model, self.folder / self._file(epoch))
            states.append(tensors_of(self.model.state_dict()))
        self.model.load_state_dict(mean_weights(states))
        torch.manual_seed(seed_of(self.seed, self.stage_number, self.stage.epochs))

        def forward(batch: Mapping[str, Tensor]) -> None:
            with autocast(self.stage, self.team.device):
                self.plan.step(self.model, move(dict(batch), self.team.device), 1.0)

        refresh_batch_norm(self.model, self.batches.epoch(self.epoch - 1), forward)
        value, metrics = self._evaluate(self.model, math.nan)
        self.history.append(
            {"stage": self.stage.name, "epoch": self.epoch, "step": 0, "lr": 0.0, "loss": math.nan,
             "parts": {}, "metric": value, "metrics": metrics, "seconds": 0.0, "what": "swa"}
        )  # fmt: skip
        file = f"{self._stem(self.stage_number)}swa.safetensors"
        if self.team.main:
            save_tensors(self.folder / file, tensors_of(self.model.state_dict()))
        self.team.wait()
        self._keep(file, self.share_of(self.stage_number), value, self.epoch)

    # Epochs -------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        """One epoch, its evaluation, its snapshots, its state."""
        began = time.monotonic()
        stage, number = self.stage, self.epoch
        torch.manual_seed(seed_of(self.seed, self.stage_number, number + 1, self.team.rank))
        bounds = schedules.cycle_bounds(stage.epochs, stage.schedule.cycles)
        if stage.schedule.reset_optimizer and number in bounds[1:-1]:
            self.optimizer.state.clear()
        prepare = getattr(self.batches, "prepare", None)
        if prepare is not None:
            self.model.eval()
            prepare(self.model, number)
        self.model.train()
        hold_frozen_norms(self.model)
        self.update.micro = self.micro
        epoch = Epoch(
            self.update, self.batches, number, self._lr_at, self._report,
            self.team.rank, self.team.world, self.depth,
        )  # fmt: skip
        try:
            loss, parts = epoch.run()
        except NotFiniteError as error:
            raise TransectError(
                f"the loss became {error.value} in stage {stage.name}, epoch {number + 1}, step "
                f"{error.step}; the state of epoch {number} is kept in {self.folder}. Lower "
                "optimizer.lr, set optimizer.clip, or look for damaged pictures or masks with "
                "`transect audit`."
            ) from error
        self.epoch += 1
        ends = self.epoch == stage.epochs or self.epoch in bounds
        due = ends or self.epoch % self.plan.evaluate_every == 0
        row: dict[str, Any] = {
            "stage": stage.name, "epoch": self.epoch, "step": self.epoch * epoch.updates,
            "lr": self.optimizer.param_groups[-1]["lr"], "loss": self.team.share(loss),
            "parts": self.team.share(parts), "metric": None, "metrics": {},
        }  # fmt: skip
        if due:
            row["metric"], row["metrics"] = self._score(row["loss"])
        row["seconds"] = self.team.share(round(time.monotonic() - began, 3))
        self.history.append(row)
        self._snapshots()
        self._capture()
        self._hopeless(row)

    def _score(self, loss: float) -> tuple[float, dict[str, float]]:
        """Evaluate the epoch; decide about the rate and the end of the stage."""
        value, metrics = self._evaluate(self.shown, loss)
        self.scores.append(Score(self.epoch, value, metrics))
        if self.plateau is not None:
            self.plateau.update(value)
        patience = self.stage.patience
        if patience and stale_epochs(self.scores, self.epoch) >= patience:
            self.stopped = True
            _LOG.info("stage %s stops: no gain for %d epochs", self.stage.name, patience)
        return value, metrics

    def _evaluate(self, model: nn.Module, loss: float) -> tuple[float, dict[str, float]]:
        """The watched metric and all others; minus the loss where there is no evaluation."""
        if self.evaluate is None:
            return -loss, {"minus_loss": -loss}
        metrics: dict[str, float] = {}
        if self.team.main:
            model.eval()
            with torch.no_grad():
                metrics = {name: float(v) for name, v in self.evaluate(model).items()}
            if self.metric not in metrics:
                raise TransectError(
                    f"the watched metric {self.metric} is not among those measured: "
                    f"{', '.join(sorted(metrics))}. Watch one of these."
                )
        metrics = self.team.share(metrics)
        return metrics[self.metric], metrics

    def _snapshots(self) -> None:
        """Write this epoch's weights if a rule wants them."""
        if self.epoch in self._wanted() and self.team.main:
            path = self.folder / self._file(self.epoch)
            weights = tensors_of(self.shown.state_dict())
            self.writer.submit(lambda: save_tensors(path, weights))

    def _wanted(self) -> set[int]:
        """Epochs of the present stage whose weights must be on disk."""
        final = self.stopped or self.epoch == self.stage.epochs
        wanted = {epoch for epoch, _ in kept(self.stage, self.scores, final=final)}
        following = self.stage_number + 1
        if following < len(self.plans) and self.plans[following].stage.start == "best":
            best = best_epoch(self.scores)
            wanted |= {best} if best is not None else set()
        return wanted

    def _hopeless(self, row: Mapping[str, Any]) -> None:
        """End a run that its check gives up."""
        if self.plan.hopeless is None:
            return
        best = max((s.metric for s in self.scores), default=None)
        health = Health(self.stage.name, self.epoch, row["step"], row["loss"], row["metric"], best)
        reason = self.plan.hopeless(health)
        if reason is not None:
            raise TransectError(
                f"stage {self.stage.name} was stopped as hopeless at epoch {self.epoch}: {reason}. "
                "Look at the learning rate, the loss and the pictures of the report."
            )

    def _lr_at(self, update: int) -> float:
        """The base rate at an update of the present stage."""
        stage = self.stage
        steps = max(1, self.batches.steps // self.team.world)
        total = updates_of(stage, steps) * stage.epochs
        value = schedules.factor(stage.schedule, update, total, self.epoch, epochs=stage.epochs)
        return stage.optimizer.lr * value * (self.plateau.factor if self.plateau else 1.0)

    def _report(self, done: int, loss: float) -> None:
        """Tell the progress after an update."""
        self.updates_done += 1
        if self.progress is None or not self.team.main:
            return
        steps = [
            updates_of(p.stage, max(1, p.batches.steps // self.team.world)) for p in self.plans
        ]
        seconds = time.monotonic() - self.began
        left = steps[self.stage_number] * (self.stage.epochs - self.epoch) - done
        for number in range(self.stage_number + 1, len(self.plans)):
            left += steps[number] * self.plans[number].stage.epochs
        self.progress(
            ProgressEvent(
                self.stage.name, self.epoch + 1, self.stage.epochs, done,
                steps[self.stage_number], loss, seconds, left * seconds / self.updates_done,
            )
        )  # fmt: skip

    # State --------------------------------------------------------------------------------

    def _capture(self) -> None:
        """Take down this moment, and have it written."""
        tensors = tensors_of(self.model.state_dict(), "model/")
        bad = next(
            (n for n, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()),
            None,
        )
        if bad is not None:
            raise TransectError(
                f"the weight {bad.removeprefix('model/')} is not finite after epoch {self.epoch} "
                f"of stage {self.stage.name}; the state before is kept in {self.folder}. Lower "
                "optimizer.lr or set optimizer.clip."
            )
        tensors |= tensors_of(optimizer_tensors(self.optimizer), "optim/")
        if self.ema is not None:
            tensors |= tensors_of(self.ema.model.state_dict(), "ema/")
        for prefix, part in (("step/", self.plan.step), ("batches/", self.batches)):
            if isinstance(part, Stateful):
                tensors |= tensors_of(part.state_dict(), prefix)
        scalars = {
            "signature": self.signature,
            "stage": self.stage_number,
            "epoch": self.epoch,
            "stopped": self.stopped,
            "micro": self.micro,
            "scores": [[s.epoch, s.metric, dict(s.metrics)] for s in self.scores],
            "plateau": self.plateau.state_dict() if self.plateau else None,
            "ema": self.ema.updates if self.ema else 0,
            "history": [dict(row) for row in self.history],
            "kept": [dict(entry) for entry in self.kept],
        }
        self.state = State(tensors, scalars)
        if self.team.main:
            self.writer.submit_state(self._job(self.state))

    def _job(self, state: State) -> Callable[[], None]:
        """The writing of a state, and of what goes with it, for the writer's thread."""
        files = {self._file(epoch) for epoch in self._wanted()}
        files |= {entry["file"] for entry in self.kept if entry["weight"] > 0}
        folder = self.folder

        def write() -> None:
            write_state(folder / "state.safetensors", state)
            self._write_history(folder, state.scalars["history"])
            self._clean(folder, files)

        return write

    def _restore(self) -> None:
        """Put everything back to the moment of ``self.state``."""
        scalars = self.state.scalars
        self.stage_number, self.epoch = scalars["stage"], scalars["epoch"]
        self.stopped, self.micro = scalars["stopped"], scalars["micro"]
        self.scores = [Score(epoch, value, metrics) for epoch, value, metrics in scalars["scores"]]
        self.history = [dict(row) for row in scalars["history"]]
        self.kept = [dict(entry) for entry in scalars["kept"]]
        self.model.load_state_dict(under(self.state, "model/"))
        self._equip()
        restore_optimizer(self.optimizer, under(self.state, "optim/"))
        if self.ema is not None:
            self.ema.model.load_state_dict(under(self.state, "ema/"))
            self.ema.updates = scalars["ema"]
        if self.plateau is not None:
            self.plateau.load_state_dict(scalars["plateau"])
        for prefix, part in (("step/", self.plan.step), ("batches/", self.batches)):
            if isinstance(part, Stateful):
                part.load_state_dict(under(self.state, prefix))

    def _same(self, signature: str) -> None:
        """Refuse to go on with another fit's folder."""
        if signature != self.signature:
            raise TransectError(
                f"{self.folder} holds a training with another recipe, seed or data. Choose another "
                "folder with --out, or remove this one."
            )

    def _stem(self, number: int) -> str:
        """How the names of a stage's files begin; a name from a recipe may hold anything."""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", self.plans[number].stage.name)[:40]
        return f"{number}-{name}-"

    def _file(self, epoch: int, number: int | None = None) -> str:
        """The file of an epoch's weights."""
        stem = self._stem(self.stage_number if number is None else number)
        return f"{stem}e{epoch:04d}.safetensors"

    @staticmethod
    def _clean(folder: Path, wanted: set[str]) -> None:
        """Remove snapshots that are no longer wanted, and halves that a kill left behind."""
        for path in folder.glob("*.safetensors"):
            snapshot = re.match(r"\d+-.+-(e\d+|swa)\.safetensors$", path.name)
            if path.name.startswith(".part-") or (snapshot and path.name not in wanted):
                path.unlink(missing_ok=True)

    @staticmethod
    def _write_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
        """Write ``history.csv``; parts and metrics get columns of their own."""
        rows = []
        for row in history:
            flat = {k: v for k, v in row.items() if k not in {"parts", "metrics"}}
            flat |= {f"loss.{name}": value for name, value in row["parts"].items()}
            flat |= {f"metric.{name}": value for name, value in row["metrics"].items()}
            rows.append({k: spreadsheet_safe(v) if isinstance(v, str) else v
                         for k, v in flat.items()})  # fmt: skip
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(folder / "history.csv", text.getvalue())
