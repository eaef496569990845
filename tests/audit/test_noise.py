import numpy as np

from transect.audit import doubtful_labels, doubtful_values


def test_flipped_labels_are_named_first():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    chance = rng.dirichlet([1, 1, 1], 120) * 0.3
    chance[np.arange(120), truth] += 0.7
    labels = truth.copy()
    labels[[3, 50, 100]] = [1, 2, 0]
    names = [str(i) for i in range(120)]
    (finding,) = doubtful_labels(chance, labels, names)
    assert set(finding.images) == {"3", "50", "100"}
    assert doubtful_labels(chance, truth, names) == []


def test_masks_that_sure_predictions_contradict_are_named():
    rng = np.random.default_rng(1)
    agreement = rng.normal(0.85, 0.04, 60)
    agreement[[7, 20]] = 0.1
    names = [str(i) for i in range(60)]
    sure = np.full(60, 0.95)
    assert set(doubtful_values(agreement, sure, names)[0].images) == {"7", "20"}
    sure[:] = np.linspace(0.5, 0.99, 60)
    sure[[7, 20]] = 0.4  # the model is unsure: no word against the label
    assert doubtful_values(agreement, sure, names) == []
