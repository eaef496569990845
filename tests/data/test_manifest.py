import pytest

from transect.data.manifest import Manifest, read_manifest, write_manifest
from transect.errors import TransectError


@pytest.mark.parametrize(
    "manifest",
    [Manifest("binary"), Manifest("classes", "none"), Manifest("instances"), Manifest(unknown="x")],
)
def test_what_is_written_is_read_back(tmp_path, manifest):
    written = write_manifest(tmp_path, manifest)
    assert written == tmp_path / "survey.json"
    assert read_manifest(tmp_path) == manifest


def test_nothing_known_is_no_file(tmp_path):
    assert write_manifest(tmp_path, Manifest()) is None
    assert read_manifest(tmp_path) == Manifest()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must be an object"),
        ('{"mask": "binary"}', "Did you mean 'masks'"),
        ('{"masks": "instance"}', "Did you mean 'instances'"),
        ('{"unknown": 3}', "must be a name; got 3"),
        ("{", "survey.json"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, text, message):
    (tmp_path / "survey.json").write_text(text)
    with pytest.raises(TransectError, match=message):
        read_manifest(tmp_path)
