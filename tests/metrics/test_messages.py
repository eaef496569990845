"""The messages of metrics that their own tests do not reach."""

import pytest

from transect.errors import TransectError
from transect.metrics import classify, identify, spread


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: classify.log_loss([0.5], [0, 1]), "one answer per truth"),
        (lambda: identify.baks(["a"], ["a", "b"], {"a"}), "one identity per picture"),
        (lambda: identify.open_set_rates(["a"], ["a", "b"], {"a"}, "new"), "one identity per"),
        (lambda: spread.bootstrap([1.0, 2.0], groups=["a"]), "the group of every value"),
    ],
)
def test_answers_and_truths_must_fit(call, words):
    with pytest.raises(TransectError, match=words):
        call()
