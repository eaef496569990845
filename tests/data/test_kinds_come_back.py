"""What convert writes is opened as what it was: kind, classes and objects."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_strangers import pictures
from transect.data.convert import convert
from transect.data.survey import open_survey

NAMES = ("limpet", "clam", "crab")


def coco(root, layout):
    """Squares apart from each other: per picture, the class of each."""
    found, names = [], [f"p{i}.png" for i in range(len(layout))]
    pictures(root, *names)
    for i, classes in enumerate(layout):
        for k, kind in enumerate(classes):
            x, y = 3 + 15 * (k % 5), 3 + 15 * (k // 5)
            ring = [x, y, x + 10, y, x + 10, y + 10, x, y + 10]
            one = {"id": len(found) + 1, "image_id": i, "category_id": kind, "iscrowd": 0}
            found.append({**one, "segmentation": [ring], "bbox": [x, y, 10, 10], "area": 100})
    images = [{"id": i, "file_name": n, "height": 60, "width": 80} for i, n in enumerate(names)]
    kinds = [{"id": i, "name": n} for i, n in enumerate(NAMES)]
    whole = {"images": images, "categories": kinds, "annotations": found}
    (root / "a.json").write_text(json.dumps(whole))
    return root / "a.json"


layouts = st.integers(1, 3).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, n - 1), max_size=6), min_size=1, max_size=4).filter(
        any
    )
)


@settings(max_examples=8, deadline=None)
@given(layouts)
def test_a_survey_is_opened_as_the_kind_that_convert_wrote(layout):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        convert(coco(root, layout), root / "out", images=root / "images")
        survey = open_survey(root / "out")
        used = sorted({kind for classes in layout for kind in classes})
        assert survey.classes == tuple(NAMES[kind] for kind in used)
        if len(used) > 1:
            assert survey.mask_kind == "classes"
            return
        one_each = max(map(len, layout)) == 1
        assert survey.mask_kind == ("binary" if one_each else "instances")
        back = root / "back.json"
        convert(root / "out", back)
        objects = json.loads(back.read_text())["annotations"]
        assert len(objects) == sum(map(len, layout))
        if not one_each:
            counted = open_survey(root / "out", question="count")
            assert len(counted.points) == sum(map(len, layout))
