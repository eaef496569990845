import numpy as np
from PIL import Image

from transect.data.survey import open_survey
from transect.recipe import Member
from transect.segment.dataset import MaskDataset


def test_a_sampler_knows_the_class_at_each_point_it_may_aim_at(tmp_path):
    labels = np.ones((30, 40), np.uint8)
    labels[10:14, 20:30] = 2
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(2):
        Image.fromarray(np.full((30, 40), 90, np.uint8)).save(tmp_path / f"images/{i}.png")
        Image.fromarray(labels).save(tmp_path / f"masks/{i}.png")
    (tmp_path / "classes.csv").write_text("value,name\n1,rock\n2,salt\n")
    pictures = MaskDataset(open_survey(tmp_path, mask_kind="classes"))
    source = pictures.source(Member().geometry)
    x, y = source.centres(0).astype(int).T
    np.testing.assert_array_equal(source.classes(0), labels[y, x])
    assert set(source.classes(0)) == {1, 2}
