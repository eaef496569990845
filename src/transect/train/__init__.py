"""Training: one engine that takes a model through its stages and cannot lose a run."""

from transect.train.batches import IndexBatches
from transect.train.budget import Pace, measure
from transect.train.engine import fit
from transect.train.lr_finder import Sweep, find_lr
from transect.train.plan import (
    Batch,
    Batches,
    FitResult,
    Health,
    ProgressEvent,
    Snapshot,
    StagePlan,
    no_better_than,
)
from transect.train.process import prepare_process
from transect.train.samplers import Draws, Items, sampler_for

__all__ = [
    "Batch",
    "Batches",
    "Draws",
    "FitResult",
    "Health",
    "IndexBatches",
    "Items",
    "Pace",
    "ProgressEvent",
    "Snapshot",
    "StagePlan",
    "Sweep",
    "find_lr",
    "fit",
    "measure",
    "no_better_than",
    "prepare_process",
    "sampler_for",
]
