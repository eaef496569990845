"""The page in the package is the one that its source makes, and brings its licences along."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web" / "review"
STATIC = ROOT / "src" / "transect" / "review" / "static"
HINT = "run `make review-bundle` and commit what it writes"


def digest(names, root):
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(f"{name}\n".encode() + (root / name).read_bytes() + b"\n")
    return total.hexdigest()


def test_the_bundle_was_made_of_this_source():
    names = ["build.mjs", "package-lock.json", "package.json", "tsconfig.json"]
    names += [f"src/{path.name}" for path in (WEB / "src").iterdir()]
    assert json.loads((STATIC / "bundle.json").read_text())["source"] == digest(names, WEB), HINT


def test_the_bundle_was_not_changed_by_hand():
    names = [path.name for path in STATIC.iterdir() if path.name != "bundle.json"]
    assert set(names) == {"LICENSES.txt", "index.html", "review.css", "review.js"}
    assert json.loads((STATIC / "bundle.json").read_text())["bundle"] == digest(names, STATIC), HINT


def test_the_bundle_is_small_and_asks_nobody_else():
    script = (STATIC / "review.js").read_text()
    assert len(script) < 500_000
    assert "eval(" not in script
    assert "new Function(" not in script


def test_every_bundled_package_brings_its_licence():
    text = (STATIC / "LICENSES.txt").read_text()
    for words in ("ol 10.", "BSD-2-Clause", "rbush", "MIT", "Copyright"):
        assert words in text


@pytest.mark.parametrize("name", ["index.html", "review.css"])
def test_the_page_has_no_script_or_style_of_its_own(name):
    text = (STATIC / name).read_text()
    for forbidden in ("http:", "https:", "<style", " style=", " onclick", "javascript:", "@import"):
        assert forbidden not in text
