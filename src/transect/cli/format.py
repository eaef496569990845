"""Scores laid out as lines of text."""

from __future__ import annotations

from typing import Any

__all__ = ["leak_lines", "score_lines", "seed_lines"]


def score_lines(found: dict[str, Any]) -> list[str]:
    """Lay out scores: value, interval, then each fold."""
    lines = []
    for name, record in found.items():
        if not isinstance(record, dict) or "value" not in record:
            continue
        low, high = record.get("interval", (None, None))
        spread = f"  [{low:.4f}, {high:.4f}]" if low is not None else ""
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
            low, high = one["interval"]
            both.append(f"{one['value']:.4f}  [{low:.4f}, {high:.4f}]")
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
