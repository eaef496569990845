"""How sizes, brightness, coverage, depth, classes and identities spread over folds and groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from transect.audit.findings import Finding
from transect.audit.fingerprints import FEATURES, Prints

__all__ = ["spread_facts", "spread_findings", "survey_table"]

_NUMBERS = ("height", "width", "brightness", "coverage", "depth", "count")
_WORDS = ("class", "identity", "kind")
_UNEVEN = 0.35
_SURE = 1e-4


def survey_table(
    prints: Prints, table: pd.DataFrame | None, folds: Mapping[str, int] | None
) -> pd.DataFrame:
    """One row per picture: what folds balance, cheap features, fold.

    Args:
        prints: Of the pictures.
        table: ``data.describe.fold_table`` of the survey, or None.
        folds: Image to fold, or None.

    Returns:
        The joined table.
    """
    own = pd.DataFrame({"image": list(prints.names)})
    for name in ("height", "width", "brightness"):
        own[name] = prints.features[:, FEATURES.index(name)]
    if table is not None:
        own = own.merge(table, on="image", how="inner")
    if folds is not None:
        own["fold"] = [folds.get(n, -1) for n in own["image"]]
    return own


def spread_facts(table: pd.DataFrame) -> dict[str, Any]:
    """Distributions of all pictures, per fold, and per group (the twenty largest)."""
    facts: dict[str, Any] = {"all": _described(table)}
    for key in ("fold", "group"):
        if key in table:
            sizes = table[key].value_counts().head(20)
            facts[key] = {
                str(name): _described(table[table[key] == name]) for name in sorted(sizes.index)
            }
    return facts


def _described(table: pd.DataFrame) -> dict[str, Any]:
    """Percentiles of the numbers, frequencies of the words."""
    out: dict[str, Any] = {"images": len(table)}
    for name in _NUMBERS:
        if name in table:
            values = table[name].to_numpy(float)
            values = values[np.isfinite(values)]
            if len(values):
                levels = np.percentile(values, (0, 25, 50, 75, 100))
                out[name] = [round(float(v), 4) for v in levels]
    for name in _WORDS:
        if name in table:
            frequent = table[name].astype(str).value_counts()
            out[name] = {str(k): int(v) for k, v in frequent.head(20).items()}
            out[f"{name}_distinct"] = len(frequent)
    return out


def spread_findings(table: pd.DataFrame) -> list[Finding]:
    """Folds that are unlike the rest: their scores would not speak for the survey."""
    if "fold" not in table:
        return []
    from scipy.stats import ks_2samp

    found = []
    folds = sorted(set(table["fold"]) - {-1})
    for fold in folds:
        here = table["fold"] == fold
        there = ~here & (table["fold"] != -1)
        for name in _NUMBERS:
            if name not in table or not there.any():
                continue
            a, b = (table.loc[m, name].dropna().to_numpy(float) for m in (here, there))
            if len(a) < 10 or len(b) < 10:
                continue
            test = ks_2samp(a, b)
            if test.statistic >= _UNEVEN and test.pvalue < _SURE:
                found.append(
                    Finding(
                        "uneven-folds",
                        "warning",
                        (),
                        f"fold {fold} is unlike the others in {name}: median {np.median(a):.3g} "
                        f"against {np.median(b):.3g}.",
                        f"Stratify the folds by {name}, or divide large groups.",
                    )
                )
        if "class" in table:
            missing = set(table.loc[there, "class"].dropna()) - set(
                table.loc[here, "class"].dropna()
            )
            often = table.loc[there, "class"].value_counts()
            gone = sorted(str(c) for c in missing if c and often[c] >= 5 * (len(folds) - 1))
            if gone:
                found.append(
                    Finding(
                        "uneven-folds",
                        "warning",
                        (),
                        f"fold {fold} has no {', '.join(gone[:5])}, which the other folds have.",
                        "Stratify the folds by class.",
                    )
                )
    return found
