"""The messages of matching that other tests do not reach."""

import numpy as np
import pytest

from transect.errors import TransectError
from transect.matching import features


def test_keypoints_of_another_version(tmp_path, monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    found = features.extract(image)
    features.write_keypoints(tmp_path / "a.npz", found)
    monkeypatch.setattr(features, "FORMAT", features.FORMAT + 1)
    with pytest.raises(TransectError, match="of another version"):
        features.read_keypoints(tmp_path / "a.npz")
