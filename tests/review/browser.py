"""A real Chromium on the page of a review, and a server that can be killed under it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.review.conftest import MAKERS
from transect.data.survey import open_survey
from transect.review.serve import serving
from transect.review.session import opened

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 120_000  # a busy machine is slow, and that is no fault of the page


@contextlib.contextmanager
def chromium():
    """Debian's browser through Playwright; its own downloads are not needed."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def served(folder, kind, *, name="me", run=None, **options):
    """The page's address, answered by this process."""
    root = folder / kind
    if not root.exists():
        MAKERS[kind](root, **options)
    survey = open_survey(root, missing="unlabelled")
    with (
        opened(survey, folder / "review", name=name, run=run) as session,
        serving(session) as address,
    ):
        yield address, session


class Command:
    """``transect review`` as a process of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "transect", "review", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told = []
        for line in self.process.stdout:
            self.told.append(line)
            if line.startswith("open"):
                self.url = line.split()[1]
                return
        raise AssertionError("".join(self.told))

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


class Sight:
    """A tab with the page in it, and what went wrong in it."""

    def __init__(self, browser, url, *, size=(1200, 800), scheme="light") -> None:
        self.faults, self.asked = [], []
        self.page = browser.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
        )
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)
        self.ready()

    def _console(self, message) -> None:
        if message.type == "error" and "400 (Bad Request)" not in message.text:
            self.faults.append(message.text)

    def ready(self) -> None:
        self.page.wait_for_selector("#map[data-shown], .candidates", state="visible")

    def shows(self, name: str) -> None:
        """Wait until an image is drawn."""
        self.page.wait_for_selector(f"#map[data-shown='{name}']")

    def names(self, name: str) -> None:
        """Wait until an image is the current one."""
        expect(self.page.locator("#title")).to_contain_text(name, timeout=PATIENCE_MS)

    def said(self, text: str) -> None:
        """Wait until the page says so, where a screen reader hears it."""
        expect(self.page.locator("#said")).to_contain_text(text, timeout=PATIENCE_MS)

    def at(self, x: float, y: float, size_hw):
        """Where a place of the image is on the screen, after the whole of it was fitted."""
        box = self.page.locator("#map").bounding_box()
        height, width = size_hw
        scale = min((box["width"] - 24) / width, (box["height"] - 24) / height)
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return (
            middle[0] + (x + 0.5 - width / 2) * scale,
            middle[1] + (y + 0.5 - height / 2) * scale,
        )

    def drag(self, *points) -> None:
        """Press at the first point, move over the others, let go."""
        mouse = self.page.mouse
        mouse.move(*points[0])
        mouse.down()
        for point in points[1:]:
            mouse.move(*point, steps=4)
        mouse.up()
