"""Every reader meets spoiled files: it gives a result or our own error, and nothing else.

The default profile is short; ``pytest -m slow tests/security`` runs a hundred times as many.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security.strangers import annotations, pictures, spoiled
from transect.data.cells import numbers
from transect.data.convert import read_annotations
from transect.data.images import image_info, open_reader, read_image, read_labels
from transect.data.rle import decode, decompress_counts
from transect.data.tables import match_images, read_table
from transect.errors import TransectError
from transect.recipe import Recipe, from_json, set_field, to_json
from transect.run import RunFolder

EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=8)
EXTRA = st.binary(max_size=24)
CUT = st.one_of(st.just(0), st.integers(0, 1 << 12))
QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
HEAVY = settings(max_examples=2500, deadline=None, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def reads_or_refuses(data: bytes, suffix: str) -> None:
    """All readers of pictures on one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        path.write_bytes(data)
        for read in (read_image, read_labels, image_info, _window):
            try:
                found = read(path)
            except TransectError:
                continue
            else:
                if isinstance(found, np.ndarray):
                    assert found.size < 50_000_000


def _window(path: Path) -> np.ndarray:
    reader = open_reader(path)
    high, wide = reader.shape[:2]
    return reader.window(0, 0, min(high, 64), min(wide, 64))


def fuzz_picture(kind: str, edits, cut, extra) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reads_or_refuses(spoiled(pictures()[kind], edits, cut, extra), kind)


@pytest.mark.parametrize("kind", sorted(pictures()))
@QUICK
@given(EDITS, CUT, EXTRA)
def test_spoiled_pictures_are_read_or_refused(kind, edits, cut, extra):
    fuzz_picture(kind, edits, cut, extra)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(pictures()))
@HEAVY
@given(EDITS, CUT, EXTRA)
def test_many_spoiled_pictures_are_read_or_refused(kind, edits, cut, extra):
    fuzz_picture(kind, edits, cut, extra)


def fuzz_annotations(kind: str, edits, cut, extra) -> None:
    name, data = annotations()[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(spoiled(data, edits, cut, extra))
        (Path(folder) / "images").mkdir()
        (Path(folder) / "images" / "a.png").write_bytes(pictures()["png"])
        try:
            read_annotations(path, source_format=kind, images=Path(folder) / "images")
        except TransectError:
            return


@pytest.mark.parametrize("kind", sorted(annotations()))
@QUICK
@given(EDITS, CUT, EXTRA)
def test_spoiled_annotations_are_read_or_refused(kind, edits, cut, extra):
    fuzz_annotations(kind, edits, cut, extra)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(annotations()))
@HEAVY
@given(EDITS, CUT, EXTRA)
def test_many_spoiled_annotations_are_read_or_refused(kind, edits, cut, extra):
    fuzz_annotations(kind, edits, cut, extra)


@pytest.mark.parametrize("kind", ["coco", "labelme", "via", "geo"])
@QUICK
@given(JSON)
def test_any_json_is_read_or_refused(kind, value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(json.dumps(value))
        try:
            read_annotations(path, source_format=kind)
        except TransectError:
            return


def fuzz_table(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.csv"
        path.write_bytes(data)
        try:
            table, _ = read_table(path, ["image", "x", "y"], optional=["class"])
            numbers(table["x"])
            match_images(table, ["a.png"], Path(folder), path.name)
        except TransectError:
            return


@settings(QUICK, max_examples=80)
@given(EDITS, CUT, EXTRA, st.text(max_size=40))
def test_spoiled_tables_are_read_or_refused(edits, cut, extra, text):
    good = b"image,x,y,class\na.png,1,2,seal\nb.png,3,4,pup\n" + text.encode("utf-8", "replace")
    fuzz_table(spoiled(good, edits, cut, extra))


@pytest.mark.slow
@HEAVY
@given(st.binary(max_size=200))
def test_any_bytes_as_a_table_are_read_or_refused(data):
    fuzz_table(data)


@QUICK
@given(JSON)
def test_any_json_as_a_recipe_is_refused(value):
    with pytest.raises(TransectError):
        from_json(value)


@settings(QUICK, max_examples=60)
@given(st.sampled_from(sorted(to_json(Recipe()))), JSON)
def test_a_recipe_with_a_strange_field_is_read_or_refused(name, value):
    record = to_json(Recipe())
    record[name] = value
    try:
        assert isinstance(from_json(record), Recipe)
    except TransectError:
        return


@settings(QUICK, max_examples=60)
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_set_is_taken_or_refused(path, value):
    try:
        set_field(Recipe(), path, value)
    except TransectError:
        return


@settings(QUICK, max_examples=60)
@given(st.text(alphabet="0123456789 -.,x\n\u0661", max_size=30))
def test_any_run_lengths_are_read_or_refused(text):
    for read in (lambda t: decode(t, (9, 11)), decompress_counts):
        try:
            read(text)
        except TransectError:
            continue


@QUICK
@given(EDITS, CUT, EXTRA)
def test_a_spoiled_run_folder_is_read_or_refused(edits, cut, extra):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for name, value in (("recipe.json", to_json(Recipe())), ("data.json", {"folder": "x"})):
            (path / name).write_bytes(spoiled(json.dumps(value).encode(), edits, cut, extra))
        run = RunFolder.open(path)
        for read in (run.recipe, run.data):
            try:
                read()
            except TransectError:
                continue
