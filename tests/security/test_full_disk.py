import errno
import os

import pytest

from transect.errors import TransectError
from transect.files import write_text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path, monkeypatch, number):
    path = tmp_path / "a.json"
    write_text(path, "old")

    def full(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TransectError, match="full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_writer_left_is_removed_by_the_next_owner(tmp_path):
    from transect.run import locked

    (tmp_path / "oof").mkdir()
    (tmp_path / "oof" / ".part-abc.npy").write_bytes(b"half")
    (tmp_path / "oof" / ".tmpvteBuW").write_bytes(b"half")  # as safetensors names them
    (tmp_path / "oof" / "whole.npy").write_bytes(b"whole")
    with locked(tmp_path):
        assert [p.name for p in (tmp_path / "oof").iterdir()] == ["whole.npy"]
