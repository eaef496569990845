"""What long work shows: how far it is, and how much of the whole time is left."""

import io
import re

import pytest

from transect.cli import bars
from transect.cli.bars import Bars
from transect.types import Expecting


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_every_phase_has_a_line_with_the_time_left(clock, capsys):
    shown = Bars()
    assert isinstance(shown, Expecting)
    with shown:
        shown.expect(600)
        shown.step("decoding", 1, 50)
        clock[0] += 120
        shown.step("decoding", 30, 50)
        shown.step("decoding", 50, 50)
        shown.step("predicting fold 0", 0, 3)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "decoding images ... (10 min left)",
        "decoding images: 30 of 50 (8 min left)",
        "decoding images: 120 s (8 min left)",
        "predicting what fold 1 held out ... (8 min left)",
    ]


def test_on_a_terminal_one_bar_is_for_all_of_it(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Bars() as shown:
        shown.expect(90)
        shown.step("deciding", 3, 10)
        shown._bars.refresh()
        shown.say("a finding")
        shown.step("deciding", 10, 10)
        shown.step("training", 1, 4, "loss 0.5")
        shown._bars.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "all of it" in text
    assert re.search(r"(8\d|90) s left|1 min left|2 min left", text)
    assert "tuning decisions on held-out images" in text
    assert "a finding" in text
