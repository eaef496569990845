"""Scores laid out as lines of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transect.commands import command

__all__ = ["leak_lines", "score_lines", "seed_lines", "told_next"]


def told_next(verdict: str, *words: str | Path) -> None:
    """Print the command that is worth typing next, below the verdict on the run it is about.

    Args:
        verdict: A sentence; "" where no run is judged, or where it stands above already.
        words: Of the command; capitals stand for what only the user knows.
    """
    if verdict:
        print(verdict)
    print(f"next:    {command(*words)}")


def score_lines(found: dict[str, Any]) -> list[str]:
    """Lay out scores: value, interval, then each fold."""
    lines = []
    for name, record in found.items():
        if not isinstance(record, dict) or "value" not in record:
            continue
        ends = record.get("interval")
        spread = f"  [{ends[0]:.4f}, {ends[1]:.4f}]" if ends else "  [–]"
        folds = record.get("folds") or []
        per_fold = "  folds " + " ".join(f"{value:.4f}" for value in folds) if folds else ""
        lines.append(f"{name:<28}{record['value']:.4f}{spread}{per_fold}")
    return lines


def seed_lines(found: dict[str, Any]) -> list[str]:
    """Lay out the scores of several seeds: mean, deviation, then each seed."""
    lines = []
    for name, record in found.items():
        spread = record["deviation"]
        apart = f"  sd {spread:.4f}" if spread is not None else ""
        each = " ".join(f"{value:.4f}" for value in record["seeds"])
        lines.append(f"{name:<28}{record['value']:.4f}{apart}  seeds {each}")
    return lines


def leak_lines(found: dict[str, Any]) -> list[str]:
    """Lay out scores twice: as split, and without pictures that were given away."""
    lines = [f"{'':<28}{'as split':<30}leak-free"]
    for name, record in found["as_split"].items():
        both = []
        for one in (record, found["leak_free"].get(name)):
            if one is None:
                both.append("-")
                continue
            ends = one["interval"]
            spread = f"[{ends[0]:.4f}, {ends[1]:.4f}]" if ends else "[–]"
            both.append(f"{one['value']:.4f}  {spread}")
        lines.append(f"{name:<28}{both[0]:<30}{both[1]}")
    count = ", ".join(f"{n} {kind}" for kind, n in found["leaks"].items()) or "none"
    lines.append(f"leaks across folds: {count}; {len(found['removed'])} pictures are given away")
    as_split, leak_free = (
        next((int(r["pictures"]) for r in found[k].values() if "pictures" in r), 0)
        for k in ("as_split", "leak_free")
    )
    lines.append(f"scored: {as_split} pictures as split, {leak_free} leak-free")
    if found["removed"] and not found["leak_free"]:
        lines.append("nothing is left: every scored picture was given away by another fold")
    if found["removed"]:
        lines.append("to close them: transect audit DATA --write-groups, and train again")
    return lines
