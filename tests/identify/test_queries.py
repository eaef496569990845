"""Pages of queries: as many as there are, linked, none left over from before."""

import re

import numpy as np

from tests.verbs import identify
from transect.identify import queries
from transect.identify.queries import PER_PAGE, Query, page_of, write_queries


def drawn(place):
    picture = np.full((8, 20, 3), place % 255, np.uint8)
    return Query(f"photo{place}.jpg: Ada", "why", [(picture, f"photo{place}.jpg")])


def pages(folder):
    return {path.name: path.read_text() for path in sorted(folder.glob("*.html"))}


def test_every_query_stands_on_the_page_that_is_told(tmp_path):
    listed = write_queries(tmp_path, 70, drawn, title="Asked", back=("../a.html", "all"))
    found = pages(tmp_path)
    assert [name for name, _ in listed] == list(found) == ["001.html", "002.html"]
    for place in range(70):
        assert f"photo{place}.jpg: Ada" in found[page_of(place)]
    assert found["001.html"].count("<img") == PER_PAGE
    assert 'href="../a.html"' in found["001.html"]
    assert 'href="002.html"' in found["001.html"]
    assert 'href="001.html"' in found["002.html"]
    write_queries(tmp_path, 3, drawn, title="Asked", back=("../a.html", "all"))
    assert list(pages(tmp_path)) == ["001.html"]


def test_a_large_folder_gets_a_bounded_number_of_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(queries, "MOST", 60)
    write_queries(tmp_path, 1_000_000, drawn, title="Asked", back=("../a.html", "all"))
    found = pages(tmp_path)
    assert list(found) == ["001.html", "002.html"]
    assert found["002.html"].count("<img") == 10
    assert page_of(60) == ""


def test_the_report_leads_to_every_held_out_photo(tiny_run, photos):
    text = identify.report(tiny_run.path).read_text()
    linked = re.findall(r'href="queries/(\d+\.html)"', text)
    found = pages(tiny_run.path / "queries")
    assert linked == list(found)
    together = "".join(found.values())
    for subject in photos.subjects:
        assert f"{subject.key}: is " in together
    assert "places agree with" in together
    assert "Runner-up" in together
