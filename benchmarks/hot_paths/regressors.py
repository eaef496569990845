"""Trees from windows to counts: kept and asked as scikit-learn objects, or as plain arrays."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.hot_paths import Row, interleaved
from transect.tabular.forest import forest_of, load_forest, save_forest

__all__ = ["run"]


def run(quick: bool = True) -> list[Row]:
    """Write, read and ask a forest of 300 trees of depth 5, as the sea lion 2nd place's.

    Args:
        quick: 2,000 windows; else 20,000.

    Returns:
        One row per contender; ratios to ours. The limit is asking the forest in memory, without
        writing or reading it.
    """
    import skops.io
    from sklearn.ensemble import ExtraTreesRegressor

    rng = np.random.default_rng(0)
    windows = rng.random((2_000 if quick else 20_000, 8)).astype(np.float32)
    counts = windows[:, 0] * 5 + rng.random(len(windows))
    model = ExtraTreesRegressor(300, max_depth=5, min_samples_split=10, random_state=0, n_jobs=1)
    model.fit(windows, counts)
    forest = forest_of(model, kind="extratrees", task="value")
    with tempfile.TemporaryDirectory(prefix="transect-bench-") as folder:
        theirs_at, ours_at = Path(folder) / "model.skops", Path(folder) / "model.safetensors"

        def theirs() -> object:
            skops.io.dump(model, theirs_at)
            asked = skops.io.get_untrusted_types(file=theirs_at)
            return skops.io.load(theirs_at, trusted=asked).predict(windows)

        def ours() -> object:
            save_forest(forest, ours_at)
            return load_forest(ours_at).predict(windows)

        seconds = interleaved(
            {
                "scikit-learn kept by skops": theirs,
                "ours": ours,
                "limit: scikit-learn in memory": lambda: model.predict(windows),
            },
            1 if quick else 5,
        )
        same = np.allclose(forest.predict(windows), model.predict(windows), rtol=1e-9)
    notes = {"ours": "equal answers" if same else "answers differ"}
    path = f"trees, {len(windows)} windows"
    return [
        Row(path, name, value, value / seconds["ours"], notes.get(name, ""))
        for name, value in seconds.items()
    ]
