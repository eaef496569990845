"""The page in a real browser: pointer, keys, screen reader, phone, and a killed server."""

from __future__ import annotations

import signal

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.review.browser import PATIENCE_MS, Command, Sight, chromium, served
from tests.small import write_disc_survey
from transect.cli import main
from transect.data.survey import open_survey

SIZE = (60, 80)  # of the photos of conftest


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def areas(session, name="p0.png"):
    return {mark.id: int(mark.area.mask().sum()) for mark in session.marks(name)}


def test_drawn_undone_killed_reloaded_and_exported(browser, tmp_path):
    write_disc_survey(tmp_path / "survey", count=3)
    size = cv2.imread(str(tmp_path / "survey/images/p0.png"), 0).shape
    before = cv2.imread(str(tmp_path / "survey/masks/p0.png"), 0)
    words = ("survey", "--out", "kept")
    first = Command(tmp_path, *words)
    sight = Sight(browser, first.url)
    low = size[0] - 4
    sight.drag(sight.at(20, low, size), sight.at(40, low, size))
    sight.said("brush: done")
    sight.page.keyboard.press("Escape")
    sight.drag(sight.at(5, 5, size), sight.at(15, 5, size))
    sight.said("brush: done")
    sight.page.keyboard.press("z")
    sight.said("undo: done")
    sight.page.locator("#accept").click()
    sight.shows("p1.png")
    first.kill()
    sight.page.locator("#accept").click()
    expect(sight.page.locator("#error")).not_to_be_empty(timeout=PATIENCE_MS)
    sight.page.close()

    second = Command(tmp_path, *words)
    sight = Sight(browser, second.url)
    assert sight.page.locator("#done").text_content() == "1 of 3 accepted, 1 corrected"
    sight.page.get_by_role("button", name="p0.png").click()
    sight.shows("p0.png")
    sight.page.keyboard.press("z")
    sight.said("undo: done")
    sight.page.keyboard.press("y")
    sight.said("redo: done")
    second.kill()
    sight.page.close()

    out = tmp_path / "new"
    survey = str(tmp_path / "survey")
    assert main(["review", survey, "--out", str(tmp_path / "kept"), "--export", str(out)]) == 0
    after = cv2.imread(str(out / "masks/p0.png"), 0)
    assert after[low, 20:40].all()
    assert (after[:10, :20] == before[:10, :20]).all()
    rest = slice(0, low - 8)
    assert ((after > 0)[rest] == (before > 0)[rest]).all()
    for name in ("p1.png", "p2.png"):
        same = (tmp_path / "survey/masks" / name).read_bytes()
        assert (out / "masks" / name).read_bytes() == same
    assert len(open_survey(out).masks) == 3


def test_ctrl_c_ends_the_command_and_says_what_is_next(tmp_path):
    write_disc_survey(tmp_path / "survey", count=1)
    command = Command(tmp_path, "survey", "--out", "kept")
    command.process.send_signal(signal.SIGINT)
    said = command.process.communicate(timeout=60)[0]
    assert command.process.returncode == 0
    assert "next:    transect train survey --from-review kept" in said


def test_nothing_leaves_the_machine_and_nothing_fails(browser, tmp_path):
    with served(tmp_path, "masks") as (url, _):
        sight = Sight(browser, url)
        assert sight.asked
        assert all(asked.startswith((url, "data:")) for asked in sight.asked)
        assert sight.faults == []
        sight.page.close()


def test_masks_by_pointer(browser, tmp_path):
    with served(tmp_path, "masks", count=1) as (url, session):
        size = session.image("p0.png").size_hw
        sight = Sight(browser, url)
        page = sight.page
        started = areas(session)
        page.keyboard.press("p")
        for place in ((2, 45), (12, 45), (12, 55)):
            page.mouse.click(*sight.at(*place, size))
        page.mouse.dblclick(*sight.at(2, 55, size))
        sight.said("polygon: done")
        (new,) = set(areas(session)) - set(started)
        assert 80 <= areas(session)[new] <= 130
        page.keyboard.press("s")
        sight.drag(sight.at(7, 40, size), sight.at(7, 59, size))
        sight.said("split: done")
        assert len(areas(session)) == len(started) + 2
        page.keyboard.press("v")
        page.mouse.click(*sight.at(4, 50, size))
        sight.said("selected")
        page.keyboard.down("Shift")
        page.mouse.click(*sight.at(10, 50, size))
        page.keyboard.up("Shift")
        sight.said("2 objects selected")
        page.keyboard.press("m")
        sight.said("merge: done")
        assert len(areas(session)) == len(started) + 1
        page.keyboard.press("Escape")
        page.keyboard.press("e")
        sight.drag(sight.at(2, 45, size), sight.at(12, 55, size), sight.at(2, 55, size))
        sight.said("brush: done")
        assert sum(areas(session).values()) < sum(started.values()) + 100
        assert sight.faults == []
        page.close()


def test_dots_and_boxes_by_pointer(browser, tmp_path):
    with served(tmp_path, "dots") as (url, session):
        sight = Sight(browser, url)
        page = sight.page
        page.mouse.click(*sight.at(60, 20, SIZE))
        sight.said("add: done")
        dot = session.marks("p0.png")[-1]
        assert np.hypot(dot.dot[0] - 60, dot.dot[1] - 20) < 0.6
        page.keyboard.press("v")
        sight.drag(sight.at(10, 12, SIZE), sight.at(20, 22, SIZE))
        sight.said("move: done")
        assert np.hypot(*np.subtract(session.marks("p0.png")[0].dot, (20, 22))) < 0.6
        page.keyboard.press("x")
        sight.drag(sight.at(50, 40, SIZE), sight.at(70, 55, SIZE))
        sight.said("add: done")
        assert np.abs(np.subtract(session.marks("p0.png")[-1].box, (50, 40, 70, 55))).max() < 0.6
        page.keyboard.press("v")
        sight.drag(sight.at(70, 55, SIZE), sight.at(75, 58, SIZE))
        sight.said("move: done")
        assert np.abs(np.subtract(session.marks("p0.png")[-1].box, (50, 40, 75, 58))).max() < 1.2
        assert sight.faults == []
        page.close()


def test_everything_by_keys(browser, tmp_path):
    """No pointer at all: a dot, its class, another place, away with it, back, accepted."""
    with served(tmp_path, "dots") as (url, session):
        sight = Sight(browser, url)
        keys = sight.page.keyboard
        for _ in range(60):  # the list, the tools and the map are reached by Tab
            if sight.page.evaluate("document.activeElement.id") == "map":
                break
            keys.press("Tab")
        assert sight.page.evaluate("document.activeElement.id") == "map"
        keys.press("d")
        keys.press("2")
        for _ in range(3):
            keys.press("ArrowRight")
        keys.press("Shift+ArrowDown")
        keys.press("Space")
        sight.said("add: done")
        new = session.marks("p0.png")[-1]
        assert (new.dot, new.label) == ((43.0, 40.0), session.about()["classes"][1])
        keys.press(",")
        sight.said("3 of 3 selected")
        keys.press("Alt+ArrowLeft")
        sight.said("move: done")
        assert session.marks("p0.png")[-1].dot == (42.0, 40.0)
        keys.press("1")
        sight.said("relabel: done")
        keys.press("Delete")
        sight.said("drop: done")
        keys.press("Control+z")
        sight.said("undo: done")
        assert session.marks("p0.png")[-1].label == session.about()["classes"][0]
        keys.press("Enter")
        sight.shows("p1.png")
        assert session.sheets.accepted("p0.png")
        keys.press("PageUp")
        sight.shows("p0.png")
        sight.page.close()


def test_a_stroke_by_keys(browser, tmp_path):
    with served(tmp_path, "masks", count=1) as (url, session):
        sight = Sight(browser, url)
        before = areas(session)
        sight.page.locator("#map").focus()
        keys = sight.page.keyboard
        for key in ("b", "Space", *["Shift+ArrowRight"] * 2, "Space"):
            keys.press(key)
        sight.said("brush: done")
        now = areas(session)
        assert sum(now.values()) > sum(before.values()) + 200
        sight.page.close()


def test_individuals_by_keys(browser, tmp_path):
    with served(tmp_path, "individuals") as (url, session):
        sight = Sight(browser, url)
        page = sight.page
        page.wait_for_selector(".candidates [aria-pressed=true]")
        assert "Ada" in page.locator(".candidates button").first.text_content()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("c")
        sight.names("p1.png")
        assert session.marks("p0.png")[0].label == "Bo"
        assert session.sheets.accepted("p0.png")
        page.keyboard.press("n")
        page.wait_for_selector("dialog[open] input")
        page.keyboard.type("Zoe")
        page.keyboard.press("Enter")
        sight.names("p2.png")
        assert session.marks("p1.png")[0].label == "Zoe"
        page.keyboard.press("u")
        sight.names("p3.png")
        assert session.marks("p2.png")[0].label == ""
        page.keyboard.press("a")
        page.keyboard.type("Zoe")
        page.keyboard.press("Enter")
        sight.names("p4.png")
        assert session.marks("p3.png")[0].label == "Zoe"
        for _ in range(4):
            page.locator("#undo").click()
            sight.said("undo: done")
        expect(page.locator("#done")).to_contain_text("0 of 5", timeout=PATIENCE_MS)
        assert [session.marks(f"p{i}.png")[0].label for i in range(3)] == ["Ada", "Ada", "Bo"]
        assert sight.faults == []
        page.close()


def test_lines_are_drawn_between_two_photos_of_one(browser, tmp_path):
    with served(tmp_path, "individuals") as (url, _):
        texture = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
        texture = cv2.resize(texture, (600, 400), interpolation=cv2.INTER_CUBIC)
        for name in ("p0.png", "p1.png"):
            cv2.imwrite(str(tmp_path / "individuals/images" / name), texture)
        sight = Sight(browser, url)
        sight.page.wait_for_selector("#pair svg line", state="attached")
        assert sight.page.locator("#pair svg line").count() >= 8
        sight.page.keyboard.press("l")
        assert sight.page.locator("#pair svg line").count() == 0
        sight.page.close()


@pytest.mark.parametrize("kind", ["masks", "dots", "individuals", "labels"])
def test_axe_finds_nothing_serious(browser, tmp_path, kind):
    from axe_playwright_python.sync_playwright import Axe

    with served(tmp_path, kind) as (url, _):
        sight = Sight(browser, url)
        for scheme in ("light", "dark"):
            sight.page.emulate_media(color_scheme=scheme)
            found = Axe().run(sight.page).response["violations"]
            serious = [
                (rule["id"], [node["html"] for node in rule["nodes"]][:2])
                for rule in found
                if rule["impact"] in ("serious", "critical")
            ]
            assert serious == []
        sight.page.close()


def test_what_is_on_the_page_has_a_name(browser, tmp_path):
    with served(tmp_path, "masks") as (url, _):
        sight = Sight(browser, url)
        tree = sight.page.locator("body").aria_snapshot()
        for name in (
            'button "Brush B"',
            'button "foreground 1"',
            'application "Image p0.png, ',
            'progressbar "Images accepted"',
            'searchbox "Find an image by name"',
            'navigation "Images"',
            'slider "Brush',
        ):
            assert name in tree, tree
        sight.page.close()


@pytest.mark.parametrize("kind", ["masks", "individuals", "labels"])
def test_a_phone_needs_no_sideways_scrolling(browser, tmp_path, kind):
    with served(tmp_path, kind) as (url, _):
        sight = Sight(browser, url, size=(375, 700))
        page = sight.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        wide = page.locator("button:visible").all()
        assert all(b.bounding_box()["x"] + b.bounding_box()["width"] <= 376 for b in wide[:14])
        page.locator("#accept").click()
        sight.said("accept: done")
        page.close()
