import numpy as np
import pytest

from tests.matching.views import VIEW, seen_from, textured
from transect.matching.features import KeypointSpec, extract


@pytest.fixture(scope="session")
def pictures():
    """Four individuals; the last two pictures are other views of the first two."""
    base = [textured(seed) for seed in range(4)]
    return [*base, seen_from(base[0], VIEW), seen_from(base[1], np.linalg.inv(VIEW))]


@pytest.fixture(scope="session")
def keypoints(pictures):
    return [extract(picture, KeypointSpec(max_keypoints=150)) for picture in pictures]
