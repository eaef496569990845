"""Small worlds of scores, in which the truth is known."""

import numpy as np

from transect.openset.evidence import UNKNOWN, evidence_from_scores


def world(seed=0, queries=300, names=20, share=0.3, lift=2.0, pictures=3):
    """Scores of pictures: normal noise, and a lift for those of the true identity."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, names, queries)
    truth[rng.random(queries) < share] = UNKNOWN
    owners = np.repeat(np.arange(names), pictures)
    images = rng.normal(0, 0.6, (queries, len(owners)))
    images += (owners[None] == truth[:, None]) * rng.gamma(4, lift / 4, (queries, 1))
    scores = images.reshape(queries, names, pictures).max(axis=2)
    return evidence_from_scores(scores, image_scores=images, gallery_identities=owners), truth
