"""Forests as plain arrays: fitted by scikit-learn, kept in safetensors, walked by numpy.

A forest of 300 trees takes skops seconds to write and to read, object by object; as six arrays it
takes milliseconds, and there is nothing in the file but numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import atomic_path

__all__ = ["Forest", "forest_of", "load_forest", "save_forest"]

_ROWS = 4096  # walked at once, so that memory is bounded
_ARRAYS = {
    "roots": np.int32,
    "feature": np.int32,
    "left": np.int32,
    "right": np.int32,
    "threshold": np.float64,
    "value": np.float64,
}


@dataclass(frozen=True)
class Forest:
    """Regression or probability trees, all nodes of all trees in one row.

    Attributes:
        roots: (trees,) the first node of each tree.
        feature: (nodes,) the feature that a node asks for; -1 in leaves.
        left: (nodes,) where rows go whose feature is at most the threshold; later in the row.
        right: (nodes,) where the others go.
        threshold: (nodes,).
        value: (nodes,) the answer of a leaf.
        importance: (features,) shares with sum 1.
        kind: As it was called when it was fitted.
        task: ``probability`` or ``value``.
    """

    roots: NDArray[np.int32]
    feature: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]
    importance: NDArray[np.float64]
    kind: str
    task: str

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """The mean over trees: from (N, F) to (N,)."""
        x = np.asarray(features, np.float32)  # as scikit-learn compares
        result = np.empty(len(x))
        for start in range(0, len(x), _ROWS):
            part = x[start : start + _ROWS]
            rows = np.arange(len(part))[:, None]
            node = np.broadcast_to(self.roots, (len(part), len(self.roots)))
            while (inner := self.feature[node] >= 0).any():
                asked = part[rows, np.maximum(self.feature[node], 0)]
                below = np.where(asked <= self.threshold[node], self.left[node], self.right[node])
                node = np.where(inner, below, node)
            result[start : start + _ROWS] = self.value[node].mean(axis=1)
        return result


def forest_of(model: Any, *, kind: str, task: str) -> Forest:
    """Take the arrays out of a fitted forest of scikit-learn.

    Args:
        model: A forest regressor of one output, or a classifier of the classes 0 and 1.
        kind: Kept with it.
        task: ``probability`` or ``value``.
    """
    trees = [estimator.tree_ for estimator in model.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])

    def children(name: str) -> NDArray[np.int32]:
        parts = [getattr(tree, name) for tree in trees]
        moved = [np.where(p < 0, 0, p + r) for p, r in zip(parts, roots, strict=True)]
        return np.concatenate(moved).astype(np.int32)

    leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    values = [tree.value[:, 0] for tree in trees]
    if task == "probability":
        value = np.concatenate([v[:, 1] / v.sum(axis=1) for v in values])
    else:
        value = np.concatenate([v[:, 0] for v in values])
    feature = np.concatenate([tree.feature for tree in trees])
    gains = np.asarray(model.feature_importances_, np.float64)
    return Forest(
        roots=roots.astype(np.int32),
        feature=np.where(leaf, -1, feature).astype(np.int32),
        left=children("children_left"),
        right=children("children_right"),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        value=value,
        importance=gains / gains.sum() if gains.sum() > 0 else np.full(len(gains), 1 / len(gains)),
        kind=kind,
        task=task,
    )


def save_forest(forest: Forest, path: Path) -> None:
    """Write a forest as safetensors."""
    from safetensors.numpy import save_file

    words = {
        "kind": forest.kind,
        "task": forest.task,
        "importance": json.dumps(forest.importance.tolist()),
    }
    arrays = {name: np.ascontiguousarray(getattr(forest, name)) for name in _ARRAYS}
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, metadata=words)


def load_forest(path: Path) -> Forest:
    """Read a forest, checking that every walk through it ends inside it.

    Raises:
        TransectError: If the file is damaged or holds something else.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            words = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        importance = np.array(json.loads(words["importance"]), np.float64)
        forest = Forest(**arrays, importance=importance, kind=words["kind"], task=words["task"])
        _check(forest)
    except Exception as error:  # a parser of strangers' files may raise anything
        raise TransectError(
            f"{path} holds no trees of ours ({str(error)[:100]}). Restore it or train again."
        ) from error
    return forest


def _check(forest: Forest) -> None:
    """Refuse nodes that point outside, backwards, or to features that are not there."""
    count = len(forest.feature)
    for name, dtype in _ARRAYS.items():
        array = getattr(forest, name)
        if array.dtype != dtype or array.ndim != 1 or not np.isfinite(array).all():
            raise ValueError(f"{name} is no row of {np.dtype(dtype)}")
        if name != "roots" and len(array) != count:
            raise ValueError(f"{name} has {len(array)} nodes, not {count}")
    here = np.arange(count)
    inner = forest.feature >= 0
    below = np.minimum(forest.left, forest.right)[inner]
    above = np.maximum(forest.left, forest.right)[inner]
    roots = forest.roots
    if (
        len(roots) == 0
        or roots.min() < 0
        or roots.max() >= count
        or (below <= here[inner]).any()
        or (above >= count).any()
        or (forest.feature >= len(forest.importance)).any()
    ):
        raise ValueError("its nodes are not in order")
    if forest.task not in ("probability", "value"):
        raise ValueError(f"unknown task {forest.task[:20]}")
