"""Every reader on mutated files: annotations or our own error, never anything else."""

import contextlib
import copy
import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.formats.samples import annotated, make_pictures
from tests.data.formats.test_dicom import write_slice
from tests.data.formats.test_geo import given as on_the_ground
from tests.data.formats.test_geo import write_geotiff
from transect.data.convert import read_annotations, write_annotations
from transect.data.exchange import Pictures
from transect.data.formats import FORMATS, detect
from transect.data.rle import MASK_LIMIT_PX
from transect.data.shapes import mask_of
from transect.errors import TransectError

ALL = ("polygon", "hole", "mask", "box", "point", "word", "identity")
TARGETS = {
    "coco": "a.json",
    "via": "a.json",
    "via-csv": "a.csv",
    "labelstudio": "a.json",
    "geo": "a.geojson",
    "geo-gpkg": "a.gpkg",
    "cvat": "a.xml",
    "kaggle": "a.csv",
    "identities": "a.csv",
    "table": "a.csv",
    "camtrap": "folder",
    "yolo": "folder",
    "labelme": "folder",
    "survey": "folder",
    "megadetector": "a.json",
    "dotdotgoose": "a.pnt",
    "voc": "folder",
    "deepforest": "a.csv",
    "herdnet": "a.csv",
    "wildlife": "a.csv",
    "imagej": "folder",
    "qupath": "folder",
    "napari": "folder",
    "cellpose": "folder",
}
JSON_FORMATS = (
    *("coco", "via", "labelstudio", "geo", "labelme"),
    *("megadetector", "dotdotgoose", "qupath"),
)
HOSTILE = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1e308,
        float("nan"),
        float("inf"),
        2**70,
        "",
        "../../x.png",
        "a.png",
        "\ud800",
        "\0",
        "x" * 5000,
        [],
        [[]],
        [[1, 2], [3]],
        [1, [2]],
        [0] * 50,
        {},
        {"a": {}},
        {"size": [1e6, 1e6], "counts": "0"},
        {"size": [12, 16], "counts": [10**30]},
    ]
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A valid file of every format, with its pictures."""
    root = tmp_path_factory.mktemp("samples")
    pictures = Pictures(make_pictures(root / "pictures"))
    for i, name in enumerate(("a.tif", "site/b.tif", "empty.tif")):
        size_hw = ((12, 16), (9, 7), (5, 6))[i]
        write_geotiff(root / "tiffs" / name, size_hw, 500_000.0 + 100 * i, 4_000_000.0)
    for case, target in TARGETS.items():
        ground = case.startswith("geo")
        source = on_the_ground(*ALL) if ground else annotated(*ALL)
        folder = Pictures(root / "tiffs") if ground else pictures
        write_annotations(
            source, root / case / target, target_format=case.split("-")[0], pictures=folder
        )
    return root


def check(case, path, root):
    """Read as a user would: detect, read, look at every object."""
    name = case.split("-")[0]
    folder = root / ("tiffs" if name == "geo" else "pictures")
    with contextlib.suppress(TransectError):
        detect(path)
    try:
        found, _ = read_annotations(
            path, source_format=name, images=None if name == "survey" else folder
        )
    except TransectError:
        return
    for picture in found.pictures:
        for instance in picture.instances:
            if picture.size_hw and np.prod(picture.size_hw) < MASK_LIMIT_PX:
                mask_of(instance, picture.size_hw)


def mutate_bytes(data, draw):
    """Cut, repeat, replace or flip a few bytes."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            data[at:] = b""
        elif kind == 1:
            data[at : at + 1] = draw(st.binary(max_size=4))
        elif kind == 2:
            data[at : at + 8] = draw(st.sampled_from([b"9" * 30, b"-", b"nan", b",", b'"', b"\n"]))
        else:
            data[at:at] = data[max(at - 40, 0) : at]
    return bytes(data)


def mutate_json(value, draw):
    """Replace a few values anywhere by hostile ones."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        parent, key, node = None, None, value
        while isinstance(node, (dict, list)) and node and (parent is None or draw(st.booleans())):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            parent, key = node, draw(st.sampled_from(keys))
            node = parent[key]
        if parent is not None:
            parent[key] = copy.deepcopy(draw(HOSTILE))
    return value


def run(samples, tmp_path, data, case):
    """One mutated copy of one format's sample."""
    source = samples / case / TARGETS[case]
    path = tmp_path / f"{case}-{os.urandom(6).hex()}" / TARGETS[case]
    path.parent.mkdir()
    if source.is_dir():
        shutil.copytree(source, path)
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.stat().st_nlink == 1)
        victim = data.draw(st.sampled_from(files))
    else:
        victim = path
        shutil.copy(source, path)
    original = victim.read_bytes()
    is_json = case.split("-")[0] in JSON_FORMATS and victim.suffix in (".json", ".geojson", ".pnt")
    if is_json and data.draw(st.booleans()):
        mutated = mutate_json(json.loads(original), data.draw)
        victim.write_text(json.dumps(mutated))
        check(case, path, samples)
        return
    victim.write_bytes(mutate_bytes(original, data.draw))
    check(case, path, samples)


CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("case", TARGETS)
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=CHECKS, derandomize=True)
def test_mutated_files(samples, tmp_path, case, data):
    run(samples, tmp_path, data, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", TARGETS)
@given(data=st.data())
@settings(max_examples=1500, deadline=None, suppress_health_check=CHECKS)
def test_many_mutated_files(samples, tmp_path, case, data):
    run(samples, tmp_path, data, case)


@pytest.mark.parametrize("case", TARGETS)
def test_any_format_on_any_other_file(samples, case):
    name = case.split("-")[0]
    for other, target in TARGETS.items():
        if other != case:
            path = samples / other / target
            with contextlib.suppress(TransectError):
                FORMATS[name].read(path, pictures=Pictures(samples / "pictures"))


def test_samples_are_detected_as_what_they_are(samples):
    for case, target in TARGETS.items():
        assert detect(samples / case / target) == case.split("-")[0]


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=1000, deadline=None, suppress_health_check=CHECKS)
def test_mutated_dicom(tmp_path, data):
    from transect.data.formats import dicom

    pytest.importorskip("pydicom")
    path = tmp_path / "a.dcm"
    if not (tmp_path / "whole").exists():
        write_slice(path, np.zeros((4, 6)), 1.0)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    path.write_bytes(mutate_bytes((tmp_path / "whole").read_bytes(), data.draw))
    with contextlib.suppress(TransectError):
        dicom.read_slice(path)
