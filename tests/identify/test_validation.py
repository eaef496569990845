"""What ranks the epochs of a recogniser: held-out photos, worked by hand."""

import numpy as np
import pytest

from transect.identify import validation
from transect.recipe import Geometry

NAMES = np.array(["a", "b", "a", "b", "new", "c"])


class Photos:
    unknown = "new"


def measured(monkeypatch, vectors, rows):
    """The measure of a model whose vectors are given."""
    table = np.array(vectors, np.float32)
    monkeypatch.setattr(
        validation, "embed_with", lambda model, photos, some, *_, **__: table[some][:, None, None]
    )
    evaluate = validation.recognition(Photos(), NAMES, np.array(rows), Geometry(), device="cpu")
    return evaluate(None)["map5"]


def test_the_place_of_the_right_one_counts(monkeypatch):
    # Trained on 0 and 1; 2 looks like its own, 3 looks like the other; 4 and 5 are no question.
    vectors = [[1, 0], [0, 1], [0.9, 0.1], [0.8, 0.2], [1, 1], [1, 1]]
    assert measured(monkeypatch, vectors, [0, 1]) == pytest.approx((1 + 1 / 2) / 2)


def test_nothing_that_could_be_recognised_is_no_merit(monkeypatch):
    assert measured(monkeypatch, np.eye(6, 2), [0, 1, 2, 3]) == 0.0
