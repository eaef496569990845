from pathlib import Path

import numpy as np

from transect.errors import TransectError
from transect.segment.predicting import MaskAnswer, Predictor, _batches
from transect.types import Image, Problem


def image(name, size_hw=(10, 10)):
    return Image(name, Path(name), size_hw, 3)


class Picky(Predictor):
    """Refuses the picture that is called odd, and notes how many were asked together."""

    def __init__(self):
        self.asked = []

    def _answered(self, pixels, images):
        self.asked.append(len(images))
        if any(one.name == "odd" for one in images):
            raise TransectError("it has five channels. Give three.")
        return [MaskAnswer(one, self) for one in images]


def test_a_picture_that_does_not_suit_leaves_the_others_of_its_batch_their_answers():
    predictor = Picky()
    found = predictor._suited([np.zeros((1, 2, 2))] * 3, [image(n) for n in ("a", "odd", "b")])
    assert [found[0].image.name, found[2].image.name] == ["a", "b"]
    assert found[1] == Problem("odd", "it has five channels. Give three.")
    assert predictor.asked == [3, 1, 1, 1]


def test_small_pictures_of_one_size_go_together():
    images = [image(str(i)) for i in range(70)] + [image("wide", (10, 20))]
    assert [len(batch) for batch in _batches(images)] == [64, 6, 1]
    large = [image(str(i), (1000, 900)) for i in range(5)]
    assert [len(batch) for batch in _batches(large)] == [2, 2, 1]
    huge = [image(str(i), (9000, 9000)) for i in range(2)]
    assert [len(batch) for batch in _batches(huge)] == [1, 1]
