"""The messages of ensembles that other tests do not reach."""

import pytest

from transect.ensemble import stacking
from transect.errors import TransectError


def test_a_model_larger_than_any_of_ours(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("{}")
    monkeypatch.setattr(stacking, "_LIMIT_BYTES", 1)
    with pytest.raises(TransectError, match="larger than any model"):
        stacking.load_stack(tmp_path / "a.json")
