from types import SimpleNamespace

import numpy as np

from tests.count.conftest import TINY
from transect.count import maps
from transect.count.maps import CellMap, predict_held_out
from transect.count.training import Task
from transect.run import RunFolder
from transect.types import Image, Quiet


def test_a_fold_begins_with_the_same_photo_after_a_kill(tmp_path, monkeypatch):
    """The first batch settles the precision, so what comes first must not depend on kills."""
    seen = []

    class Networks:
        def __init__(self, *args, **more):
            pass

        def map(self, reader, image, *, scale=1.0):
            seen.append(image.name)
            return CellMap(np.zeros((1, 4, 4), np.uint16), 1.0, (8, 8))

    monkeypatch.setattr(maps, "Networks", Networks)
    images = [Image(f"{k}.png", tmp_path, (8, 8), 3) for k in range(4)]
    pictures = SimpleNamespace(
        images=images,
        photos=images,
        blocks=[SimpleNamespace(photo=k, top=0, left=0, size_hw=(8, 8)) for k in range(4)],
        cache=SimpleNamespace(image=lambda k: np.zeros((8, 8, 3), np.uint8)),
    )
    run, task = RunFolder(tmp_path / "run"), Task(TINY.decide, 1)

    def predict():
        seen.clear()
        predict_held_out(
            run, TINY, task, pictures, np.array([0, 0, 1, 0]), 0, device="cpu", progress=Quiet()
        )
        return list(seen)

    assert predict() == ["0.png", "1.png", "3.png"]
    (run.oof("maps") / "3.png.npz").unlink()
    assert predict() == ["0.png", "3.png"]
    assert predict() == []
    assert maps.oof_map(run, task, images[3]).stored.shape == (1, 4, 4)
    assert maps.oof_map(run, task, images[2]) is None
