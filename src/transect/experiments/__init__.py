"""Several trainings that answer one question: which trick paid, which recipe wins, which number."""

from __future__ import annotations

from transect.experiments.ablation import ablate
from transect.experiments.ingredients import needs_training, without
from transect.experiments.leaderboard import Entry, write_leaderboard
from transect.experiments.several import Planned, read_runs, train_several
from transect.experiments.tuning import tune

__all__ = [
    "Entry",
    "Planned",
    "ablate",
    "needs_training",
    "read_runs",
    "train_several",
    "tune",
    "without",
    "write_leaderboard",
]
