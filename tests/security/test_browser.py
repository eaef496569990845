"""Pages with hostile names, opened in a real browser: nothing in them is run."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import transect
from tests.small import tiny_recipe, write_disc_survey
from transect.audit import AuditReport, Finding
from transect.report import charts
from transect.report.page import Page

pytestmark = pytest.mark.slow

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome")
     if (found := shutil.which(name))), None
)  # fmt: skip
RUN = "document.documentElement.dataset.ran=1"
HOSTILE = (
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"\"><svg onload='{RUN}'>",
    f"' onmouseover='{RUN}' autofocus onfocus='{RUN}",
    f"</style><script>{RUN}</script>",
    f"</textarea></title><script>{RUN}</script>",
    f"javascript:{RUN}",
    f"]]><script>{RUN}</script>",
)


def opened(path: Path) -> str:
    """The document as it is after its scripts have run."""
    if BROWSER is None:
        pytest.skip("no Chromium here")
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
             "--dump-dom", path.as_uri()]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "<html" in done.stdout, done.stderr[-500:]
    return done.stdout


def test_a_page_that_runs_code_is_noticed(tmp_path):
    (tmp_path / "a.html").write_text(f"<html><head></head><body>{HOSTILE[1]}</body></html>")
    assert "data-ran" in opened(tmp_path / "a.html").split("<head>")[0]


def test_hostile_words_in_every_part_of_a_page_are_text(tmp_path):
    page = Page(HOSTILE[0], subtitle=HOSTILE[1], footer=HOSTILE[2])
    picture = np.zeros((4, 4, 3), np.uint8)
    for bad in HOSTILE:
        page.section(bad, lead=bad).heading(bad).text(bad).note(bad).code(bad)
        page.facts([(bad, bad, bad)])
        page.table((bad,), [(bad,)], caption=bad, folded=bad)
        page.pictures([(picture, bad)])
        page.key([((255, 0, 0), bad)])
        page.figure(charts.bars({bad: 1.0, "a": 2.0}, title=bad), bad)
        page.figure(charts.histogram({bad: [1.0, 2.0]}, title=bad, x_label=bad, y_label=bad), bad)
        page.figure(charts.matrix([[1, 2], [3, 4]], [bad, "a"], title=bad), bad)
        page.figure(charts.lines({bad: ([1.0, 2.0], [1.0, 2.0])}, title=bad, x_label=bad,
                                 y_label=bad), bad)  # fmt: skip
        AuditReport((Finding("leak", "fault", (bad,), bad, bad),)).fill(page)
    path = page.write(tmp_path / "a.html")
    assert "data-ran" not in opened(path).split("<head>")[0]


def test_the_report_of_a_survey_with_hostile_names_runs_nothing(tmp_path):
    root = write_disc_survey(tmp_path / "s")
    for i, bad in enumerate(name for name in HOSTILE if "/" not in name):
        for folder in ("images", "masks"):
            (root / folder / f"p{i}.png").rename(root / folder / f"{bad}.png")
    (root / "images.csv").write_text(
        "image,group\np7.png,<script>document.documentElement.dataset.ran=1</script>\n"
    )
    run = transect.train(root, recipe=tiny_recipe(), out=tmp_path / "run", threads=1)
    assert "data-ran" not in opened(run.report()).split("<head>")[0]
