"""Public names are listed in api.json, so that none is lost unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.test_reference import builder

LISTED = Path(__file__).with_name("api.json")


def test_no_public_name_is_lost_or_added_unnoticed():
    listed = {f"{m}.{n}" for m, names in json.loads(LISTED.read_text()).items() for n in names}
    found = {f"{m}.{n}" for m, names in builder().public_names().items() for n in names}
    lost, new = sorted(listed - found), sorted(found - listed)
    hint = "If that is meant, run `make names` and tell users in CHANGELOG.md."
    assert not lost, f"lost from the public names: {', '.join(lost)}. {hint}"
    assert not new, f"new public names: {', '.join(new)}. {hint}"


def test_every_public_name_exists():
    for module in builder().modules():
        missing = set(module.public) - set(module.nodes) - set(module.constants)
        if not missing:
            continue
        text = (Path(__file__).parents[1] / module.path).read_text()
        # What a file offers without defining it, it imports (also lazily, by name).
        unknown = sorted(name for name in missing if text.count(name) < 2)
        assert not unknown, f"{module.path} lists {', '.join(unknown)} in __all__ and has none"
