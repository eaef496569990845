"""What surrounds the code: licences of all that is used, files that people expect, a site."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named(requirements):
    return {re.split(r"[<>=\[; ]", requirement)[0] for requirement in requirements}


def test_every_dependency_has_its_licence():
    text = (ROOT / "docs" / "dependencies.md").read_text().partition("## Licences")[2]
    told = set(re.findall(r"[a-z0-9-]+", re.sub(r"^\| [^|]+\|", "", text, flags=re.M)))
    extras = [
        requirements
        for extra, requirements in PROJECT["optional-dependencies"].items()
        if extra != "dev"
    ]
    for requirements in (PROJECT["dependencies"], *extras):
        assert named(requirements) <= told, named(requirements) - told


def test_the_version_is_one():
    import transect

    version = PROJECT["version"]
    assert transect.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_every_page_of_the_site_is_there():
    pages = re.findall(r"[\w./]+\.md", (ROOT / "mkdocs.yml").read_text())
    made = {"reference/README.md"}  # from docstrings, by make docs
    assert len(pages) > 10
    assert not [page for page in pages if page not in made and not (ROOT / "docs" / page).is_file()]


def test_extras_of_the_image_exist():
    text = (ROOT / "Dockerfile").read_text()
    (extras,) = re.findall(r"ARG EXTRAS=(\S+)", text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
