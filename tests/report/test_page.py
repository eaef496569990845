import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from transect.errors import TransectError
from transect.report import charts
from transect.report.page import Page

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">"\'>{{ 7*7 }}'
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Checker(HTMLParser):
    """Collects tags and attributes, and sees that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def checked(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


def full_page(name, size=60, count=3):
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)
    page = Page(name, subtitle=name, footer=name).facts([(name, 0.5), (name, name, name)])
    page.section(name, lead=name).text(name).heading(name).note(name, kind="warn").code(name)
    page.figure(charts.bars({name: 1.0}, title=name), name, title=name)
    page.figure(charts.bars({name: 1.0}, title=name))
    page.table([name, "n"], [[name, 1], [name, None]], caption=name, best=0, folded=name)
    page.key([((1, 2, 3), name), ("#aabbcc", name)])
    return page.pictures([(noise, f"{name} {i}") for i in range(count)])


def test_everything_from_outside_is_escaped():
    text = full_page(EVIL).html()
    found = checked(text)
    assert "script" not in found.tags
    assert not [a for a in found.attributes if a[1].startswith("on")]
    assert "49" not in re.sub(r"data:[^\"]*", "", text).split("<main>")[1].replace("{{ 7*7 }}", "")
    assert sum(EVIL in word for word in found.words) > 10
    alts = [value for tag, key, value in found.attributes if (tag, key) == ("img", "alt")]
    assert EVIL + " 0" in alts


def test_nothing_is_loaded_from_anywhere():
    text = full_page("plain").html()
    found = checked(text)
    assert not re.search(r"https?://|//[a-z]|url\(|@import", re.sub(r"data:image[^\"]*", "", text))
    for _, key, value in found.attributes:
        if key in ("src", "href"):
            assert value.startswith(("data:image/", "#"))
    assert not {"script", "iframe", "object", "embed", "link", "form"} & set(found.tags)


def test_the_policy_allows_our_style_and_nothing_else():
    text = full_page("plain").html()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = re.search(r'Security-Policy" content="([^"]*)"', text).group(1)
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert " style=" not in text.replace("<style", "")


def test_pictures_shrink_until_the_page_fits():
    page = full_page("plain", size=700, count=6)
    text = page.html(limit_bytes=400_000)
    assert 100_000 < len(text.encode()) <= 400_000
    assert text.count("<img") == 6
    assert page.html(limit_bytes=400_000) == text


def test_what_cannot_fit_is_left_out_and_counted():
    text = full_page("plain", size=200, count=60).html(limit_bytes=60_000)
    assert len(text.encode()) <= 60_000
    shown = text.count("<img")
    assert 0 < shown < 60
    assert f"{60 - shown} more did not fit into the page." in text


def test_contents_lead_to_the_sections():
    text = Page("t").section("First").text("a").section("Second").html()
    found = checked(text)
    links = [v for tag, key, v in found.attributes if (tag, key) == ("a", "href")]
    ids = {v for _, key, v in found.attributes if key == "id"}
    assert links == ["#s1", "#s2"]
    assert {"s1", "s2"} <= ids


def test_links_lead_to_pages_beside_this_one_and_nowhere_else():
    found = checked(Page("t").links([("queries/001.html", "<1>"), ("../a b.html", "up")]).html())
    assert [v for tag, _, v in found.attributes if tag == "a"] == [
        "queries/001.html",
        "../a b.html",
    ]
    assert "<1>" in found.words
    for elsewhere in ("http://x.html", "//x/y.html", "/etc/x.html", "../../x.html", "javascript:1"):
        with pytest.raises(TransectError, match="beside it"):
            Page("t").links([(elsewhere, "x")])


def test_numbers_stand_at_the_right():
    rows = [["a", 1234567, "0.91 ± 0.02", "12 %", None], ["b", 3.14159, "1", "3 %", float("nan")]]
    text = Page("t").section("s").table(["name", "x", "y", "z", "w"], rows).html()
    assert 'class="n">1,234,567</td>' in text
    assert 'class="n">3.142</td>' in text
    assert 'class="n">0.91 ± 0.02</td>' in text
    assert 'class="n">–</td>' in text
    assert '<td data-label="name">a</td>' in text


def test_a_sentence_that_begins_with_a_number_is_no_number():
    rows = [["1 of 31 identities are contradicted by answers that are sure of themselves."]]
    assert 'class="n"' not in Page("t").section("s").table(["what"], rows).html()


def test_a_chart_stands_below_its_title():
    chart = charts.bars({"a": 1.0}, title="time of training")
    assert '<p class="title">Time of training</p>' in Page("t").figure(chart).html()


def test_long_tables_are_cut_and_say_so():
    text = Page("t").section("s").table(["n"], [[i] for i in range(700)]).html()
    assert "200 more rows are not shown." in text


def test_long_file_names_lose_their_middle_in_captions_only():
    name = "0" * 20 + "1" * 20 + ".png"
    picture = np.zeros((4, 4, 3), np.uint8)
    text = Page("t").section("s").pictures([(picture, name)]).html()
    assert "00000000000…11111111.png" in text
    assert f'alt="{name}"' in text


def test_the_page_is_written(tmp_path):
    path = full_page("plain").write(tmp_path / "run" / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert path.stat().st_size < 3_000_000


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: p.figure("<svg></svg>"), "drawing of transect"),
        (lambda p: p.note("x", kind="worse"), "kind of a note"),
        (lambda p: p.table(["a"], [[1, 2]]), "1 cells"),
        (lambda p: p.pictures([(np.zeros((3, 3)), "x")]), "uint8"),
        (lambda p: p.key([("red;}", "x")]), "a colour must be"),
    ],
)
def test_mistakes_are_explained(call, says):
    with pytest.raises(TransectError, match=says):
        call(Page("t"))


def test_a_page_without_sections_has_no_table_of_contents(tmp_path):
    page = Page("Alone").text("Nothing is divided here.")
    assert "Contents" not in page.write(tmp_path / "a.html").read_text(encoding="utf-8")
    page.section("A part")
    assert "Contents" in page.write(tmp_path / "b.html").read_text(encoding="utf-8")
