"""Masks that need no training, beside which those of a run are judged."""

import numpy as np
import pytest

from tests.small import write_disc_survey
from transect.data.survey import open_survey
from transect.segment.dataset import MaskDataset
from transect.segment.scoring import METRICS_OF, picture_scores
from transect.segment.trivial import EMPTY, FOREGROUND, GREY, fit_grey, trivial_values


@pytest.fixture(params=["binary", "classes", "instances"])
def dataset(request, tmp_path):
    return MaskDataset(open_survey(write_disc_survey(tmp_path, kind=request.param)))


def test_they_get_what_the_run_would_get_for_the_same_masks(dataset):
    numbers = range(len(dataset.images))
    grey, _ = fit_grey(dataset, dict.fromkeys(numbers, 0))
    found = trivial_values(dataset, numbers, [grey] * len(numbers))
    metric, classes = METRICS_OF[dataset.kind][0], len(dataset.survey.classes)
    for i in numbers:
        truth = dataset.labels(i)
        for name, answer in (
            (EMPTY, np.zeros_like(truth)),
            (FOREGROUND, np.full_like(truth, grey.label)),
            (GREY, grey.mask(dataset.cache.image(i), dataset.kind)),
        ):
            own = picture_scores(answer, truth, dataset.kind, classes)
            assert found[name][i] == pytest.approx(own[metric])


def test_bright_discs_are_found_by_their_brightness(dataset):
    numbers = range(len(dataset.images))
    grey, nested = fit_grey(dataset, {i: i % 2 for i in numbers})
    assert grey.above
    assert 60 < grey.level < 160
    own = [nested[i % 2] for i in numbers]
    found = trivial_values(dataset, numbers, own)
    assert found[GREY].mean() > 0.6 * (dataset.kind != "classes")
    assert found[EMPTY].mean() < 0.05


def test_a_threshold_is_fitted_without_the_part_that_it_answers(tmp_path):
    """Part 1 is dark where part 0 is bright: its own threshold would be the other way round."""
    dataset = MaskDataset(open_survey(write_disc_survey(tmp_path)))
    parts = {i: int(i == 0) for i in range(len(dataset.images))}
    image = dataset.cache.image
    dataset.cache.image = lambda i: 255 - image(i) if i == 0 else image(i)
    _, nested = fit_grey(dataset, parts)
    assert nested[1].above
    assert not nested[0].above
