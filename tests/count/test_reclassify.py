"""Patches that the second network learns from."""

from types import SimpleNamespace

import numpy as np

from transect.count import reclassify
from transect.recipe import Embedding, Geometry, Member, Stage


def test_patches_are_centred_within_six_pixels_of_a_dot(monkeypatch):
    places = []
    original = reclassify._window

    def recorded(centre, member):
        places.append(np.array(centre))
        return original(centre, member)

    monkeypatch.setattr(reclassify, "_window", recorded)
    monkeypatch.setattr(reclassify, "_NOTHING", 0.0)
    dot = np.array([[50.0, 40.0]])
    pictures = SimpleNamespace(
        classes=("a", "b"),
        dots=lambda i: (dot, np.array([1])),
        pixels=lambda i: np.zeros((100, 100, 3), np.uint8),
        images=[SimpleNamespace(size_hw=(100, 100))],
        inputs=lambda geometry: SimpleNamespace(
            prepare=lambda pixels, image, window: pixels.astype(np.float32)
        ),
    )
    member = Member(network=Embedding(), geometry=Geometry(size_hw=(16, 16)))
    patches = reclassify._Patches(pictures, member, Stage(batch=40, steps=5), [0], seed=0)
    batch = next(iter(patches.epoch(0)))
    list(patches.epoch(1))
    away = np.abs(np.array(places) - dot)
    assert away.max() <= 6.0  # sea lion 2nd place
    assert away.max() > 5.5
    assert batch["target"][:, 1].min() == 1
