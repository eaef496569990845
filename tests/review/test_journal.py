"""Nothing that was answered is lost; what was half written is left out and told."""

from __future__ import annotations

import os

import pytest

from transect.errors import TransectError
from transect.review.journal import Journal, read_journal


def written(path, count):
    journal = Journal(path)
    for number in range(count):
        journal.append({"what": "add", "number": number, "text": "Zähne\u2028"})
    journal.close()
    return path


def test_what_was_appended_is_read_again(tmp_path):
    read = read_journal(written(tmp_path / "j", 3))
    assert [entry["number"] for entry in read.entries] == [0, 1, 2]
    assert read.torn == 0


def test_every_cut_of_the_last_line_leaves_the_lines_before(tmp_path):
    whole = written(tmp_path / "j", 3).read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for end in range(start + 1, len(whole)):
        (tmp_path / "cut").write_bytes(whole[:end])
        read = read_journal(tmp_path / "cut")
        assert len(read.entries) == 2
        assert read.torn == end - start


def test_a_journal_goes_on_after_a_torn_line(tmp_path):
    path = written(tmp_path / "j", 3)
    os.truncate(path, path.stat().st_size - 5)
    journal = Journal(path)
    assert journal.read.torn > 0
    journal.append({"number": 9})
    journal.close()
    assert [entry["number"] for entry in read_journal(path).entries] == [0, 1, 9]


def test_damage_before_the_last_line_is_refused_with_its_place(tmp_path):
    path = written(tmp_path / "j", 3)
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":7'))
    with pytest.raises(TransectError, match=r"line 2 is damaged.*1 actions above are whole"):
        read_journal(path)


def test_a_missing_line_is_noticed(tmp_path):
    path = written(tmp_path / "j", 3)
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third + third)
    with pytest.raises(TransectError, match="line 2"):
        read_journal(path)


def test_an_action_is_on_the_disk_before_it_is_answered(tmp_path, monkeypatch):
    synced = []
    journal = Journal(tmp_path / "j")
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    journal.append({"number": 1})
    assert synced == [(tmp_path / "j").stat().st_size]
    journal.close()


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    path = written(tmp_path / "j", 2)
    before = path.read_bytes()
    journal = Journal(path)

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TransectError, match="full"):
            journal.append({"number": 2})
    assert path.read_bytes() == before
    journal.append({"number": 3})
    journal.close()
    assert [entry["number"] for entry in read_journal(path).entries] == [0, 1, 3]
