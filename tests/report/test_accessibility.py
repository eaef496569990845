"""A page in a real browser: nothing serious for axe, nothing wider than a phone, light and dark."""

import shutil

import numpy as np
import pytest

from transect.report import charts
from transect.report.page import Page

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome")
     if (found := shutil.which(name))),
    None,
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Every kind of block."""
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    made = Page("A survey", subtitle="with everything", footer="the end")
    made.note("Do not use: no better than nothing.", kind="bad").facts([("Dice", 0.5, "small")])
    made.figure(charts.intervals([("empty", 0.1, -0.1, 0.2)], title="gain", reference=0))
    made.key([("#56b4e9", "truth")]).pictures([(image, "one")] * 3, large=True)
    made.section("Score", lead="Higher is better.").heading("More").text("Words.")
    made.table(["metric", "value", "what it means"], [["a" * 60, 0.5, "a sentence " * 9]] * 3)
    made.table(["x"], [[1]], folded="closed").code("transect predict RUN " + "x" * 200)
    made.note("good", kind="good").note("warn", kind="warn").links([("queries/001.html", "more")])
    made.pictures([(image, "wide")], wide=True)
    return made.write(tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_axe_finds_nothing_and_a_phone_shows_it_all(page, scheme, width):
    playwright = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        view = browser.new_page(
            viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
        )
        view.goto(page.as_uri())
        found = axe.Axe().run(view).response["violations"]
        wide = view.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        cell = view.evaluate("document.querySelector('td').getBoundingClientRect().right")
        browser.close()
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    assert wide <= 0
    assert cell <= width
