"""The run folder: everything a run is, and the lock that keeps two processes from sharing it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transect.errors import TransectError
from transect.files import read_json, write_json, write_text
from transect.recipe import Recipe, from_json, to_json
from transect.types import Problem, Survey

__all__ = ["RunFolder", "data_record", "locked"]

_PACKAGES = (
    "transect",
    "torch",
    "torchvision",
    "timm",
    "segmentation-models-pytorch",
    "kornia",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-image",
    "opencv-python-headless",
    "lightgbm",
    "xgboost-cpu",
)


@dataclass(frozen=True)
class RunFolder:
    """Paths and records of one run; see ``docs/architecture.md`` for the layout.

    Attributes:
        path: The folder.
    """

    path: Path

    @staticmethod
    def open(path: Path) -> RunFolder:
        """Open a folder that ``train`` has written.

        Raises:
            TransectError: If it is not a run folder.
        """
        if not (path / "recipe.json").is_file():
            raise TransectError(
                f"{path} is no run folder: recipe.json is missing. Give the --out of a training."
            )
        return RunFolder(path)

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "recipe.json").is_file()

    def recipe(self) -> Recipe:
        """The recipe as it was resolved before training began."""
        recipe = from_json(read_json(self.path / "recipe.json"), where="recipe.json")
        if not isinstance(recipe, Recipe):
            raise TransectError(f"{self.path / 'recipe.json'} holds no recipe. Restore it.")
        return recipe

    def data(self) -> dict[str, Any]:
        """What was written of the survey when training began."""
        return dict(read_json(self.path / "data.json"))

    def begin(self, recipe: Recipe, data: dict[str, Any]) -> None:
        """Write what must be known before the first step: recipe, environment, data."""
        write_json(self.path / "environment.json", environment())
        write_json(self.path / "data.json", data)
        # Last: a folder with a recipe is a run that can be resumed.
        write_json(self.path / "recipe.json", to_json(recipe))

    def fold(self, member: str, fold: int) -> Path:
        """The folder of one member's fold: weights, state, history."""
        return self.path / "members" / member / f"fold{fold}"

    def oof(self, member: str | None = None) -> Path:
        """The folder of out-of-fold predictions, of one member or of all."""
        return self.path / "oof" / member if member else self.path / "oof"

    def log(self, line: str) -> None:
        """Append one dated line to ``log.txt``."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with (self.path / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{stamp} {line}\n")

    def write_json(self, name: str, value: Any) -> None:
        """Write one of the run's JSON files, whole or not at all."""
        write_json(self.path / name, value)

    def read_json(self, name: str) -> Any:
        """Read one of the run's JSON files."""
        return read_json(self.path / name)

    def done(self, step: str) -> bool:
        """Whether a step of the story was completed before."""
        return (self.path / "steps" / f"{step}.done").is_file()

    def mark(self, step: str) -> None:
        """Say that a step is complete; written after all its files."""
        write_text(self.path / "steps" / f"{step}.done", "")

    def same_data(self, fingerprint: dict[str, Any]) -> bool:
        """Whether a survey is the one that this run began with."""
        return bool(self.data().get("fingerprint") == fingerprint)


def data_record(
    survey: Survey,
    fingerprint: dict[str, Any],
    problems: Sequence[Problem] = (),
    *,
    missing: str | None = None,
) -> dict[str, Any]:
    """What a run remembers of its survey, for ``RunFolder.begin``.

    Args:
        survey: As opened.
        fingerprint: From ``data.survey.fingerprint``.
        problems: All files that were left out.
        missing: What was said of images without a mask.

    Returns:
        JSON values; the folder by its name only, not by its place on this machine.
    """
    return {
        "folder": survey.root.resolve().name,
        "question": survey.question,
        "missing": missing,
        "mask_kind": survey.mask_kind,
        "label_kind": survey.label_kind,
        "classes": list(survey.classes),
        "images": len(survey.images),
        "problems": [dataclasses.asdict(problem) for problem in problems],
        "fingerprint": fingerprint,
    }


def environment() -> dict[str, Any]:
    """Versions and hardware that a result may depend on; no host or user names."""
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": versions,
    }


def recipe_digest(recipe: Recipe) -> str:
    """A short hash of everything in a recipe that decides its result: not of what it cost."""
    text = json.dumps(to_json(dataclasses.replace(recipe, why=(), plan=())), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run folder for this process; the lock dies with it, however it dies.

    Raises:
        TransectError: If another process holds it; its number and age are named.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise TransectError(
            f"{path} cannot be written ({error.strerror}). Choose another folder, or allow "
            "writing to this one."
        ) from error
    try:
        _lock_or_refuse(handle, path)
        os.truncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "since": time.time()}).encode(), 0)
        # What a killed writer left half-written, ours or safetensors'; nobody else writes here now.
        for pattern in (".part-*", ".tmp??????"):
            for part in path.rglob(pattern):
                part.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def _lock_or_refuse(handle: int, path: Path) -> None:
    """Take the advisory lock of an open file, or say who has it."""
    try:
        import fcntl
    except ImportError:  # Windows has no advisory locks; two runs on one folder stay possible.
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        try:
            owner = json.loads(os.pread(handle, 200, 0) or b"{}")
            minutes = (time.time() - float(owner["since"])) / 60
            who = f"process {int(owner['pid'])}, for {minutes:.0f} minutes"
        except (ValueError, KeyError, TypeError):
            who = "another process"
        raise TransectError(
            f"{path} is in use by {who}. Wait for it, stop it, or choose another folder."
        ) from error
