"""Catalogues of CSV and JSON lines, as earlier versions wrote them, become SQLite ones."""

import hashlib
import json
import logging

import numpy as np
import pytest

from transect.catalogue import earlier
from transect.catalogue.photos import Photo, table_of
from transect.catalogue.store import Catalogue
from transect.errors import TransectError

PHOTOS = [Photo(f"{i}.jpg", f"w{i // 2}", f"e{i}", "2026-01-02", "left") for i in range(6)]
ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


def entry(n, op, **more):
    return {"n": n, "op": op, "time": f"2026-01-0{n}T00:00:00+00:00", "who": "Ada", **more}


def write_old(folder, *, lines=(), table=PHOTOS, sha256=None):
    """Six photos and what was done to them since."""
    (folder / "embeddings").mkdir(parents=True)
    np.save(folder / "embeddings" / "000001.npy", ROWS)
    data = (folder / "embeddings" / "000001.npy").read_bytes()
    first = entry(
        1,
        "add",
        file="000001.npy",
        rows=6,
        photos=[list(p) for p in PHOTOS],
        sha256=sha256 or hashlib.sha256(data).hexdigest(),
    )
    (folder / "catalogue.json").write_text(json.dumps({"format": 1, "about": {"layout": []}}))
    (folder / "identities.csv").write_text(table_of(table))
    log = "".join(json.dumps(line) + "\n" for line in (first, *lines))
    (folder / "log.jsonl").write_text(log)


def append(folder, line):
    log = folder / "log.jsonl"
    log.write_text(log.read_text() + line + "\n")


def renamed(photos, names):
    return [p._replace(identity=names.get(p.identity, p.identity)) for p in photos]


MERGED = entry(2, "merge", keep="w0", other="w1", changes={"2": ["w1", "w0"], "3": ["w1", "w0"]})


def test_it_is_turned_over_with_its_log_and_can_be_undone(tmp_path, caplog):
    write_old(
        tmp_path,
        lines=(
            MERGED,
            entry(3, "rename", old="w2", new="v", changes={"4": ["w2", "v"]}),
            entry(4, "undo", undoes=3),
        ),
        table=renamed(PHOTOS, {"w1": "w0"}),
    )
    with caplog.at_level(logging.WARNING):
        book = Catalogue.open(tmp_path)
    assert "was turned over into catalogue.db" in caplog.text
    assert list(book.photos) == renamed(PHOTOS, {"w1": "w0"})
    assert np.array_equal(book.embeddings(), ROWS)
    assert book.about == {"layout": []}
    assert [(e.op, e.who, e.time[:10]) for e in book.log] == [
        ("add", "Ada", "2026-01-01"),
        ("merge", "Ada", "2026-01-02"),
        ("rename", "Ada", "2026-01-03"),
        ("undo", "Ada", "2026-01-04"),
    ]
    assert book.undo().op == "merge"
    assert list(book.photos) == PHOTOS
    assert not (tmp_path / "embeddings").exists()
    assert sorted(p.name for p in (tmp_path / "earlier").iterdir()) == sorted(earlier.SMALL)
    caplog.clear()
    Catalogue.open(tmp_path)
    assert not caplog.text


def test_what_was_changed_by_hand_is_a_change_of_its_own(tmp_path):
    write_old(tmp_path, table=renamed(PHOTOS, {"w2": "Ishmael"}))
    book = Catalogue.open(tmp_path)
    assert book.individuals == ("Ishmael", "w0", "w1")
    assert (book.log[-1].op, book.log[-1].who) == ("edit", "by hand")
    book.undo()
    assert list(book.photos) == PHOTOS


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_change_that_a_kill_cut_short_is_finished_or_never_was(tmp_path, cut):
    write_old(tmp_path, lines=(MERGED,))  # logged, the table not yet written
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text()[: len(log.read_text()) - cut])
    book = Catalogue.open(tmp_path)
    assert book.individuals == (("w0", "w1", "w2") if cut == 40 else ("w0", "w2"))


def test_an_addition_that_a_kill_cut_short_is_finished(tmp_path):
    write_old(tmp_path, table=[])
    assert list(Catalogue.open(tmp_path).photos) == PHOTOS


def test_keypoints_that_lay_in_the_run_move_into_the_catalogue(tmp_path):
    from transect.identify.belongings import catalogue_of

    (tmp_path / "keypoints").mkdir()
    (tmp_path / "keypoints" / "a.npz").write_bytes(b"x")
    assert (catalogue_of(tmp_path) / "keypoints" / "a.npz").read_bytes() == b"x"
    assert catalogue_of(tmp_path) == tmp_path / "catalogue"


@pytest.mark.parametrize(
    ("spoil", "say"),
    [
        (lambda f: append(f, "{}\n"), "line 2"),
        (lambda f: append(f, '{"n": 2, "op": "add"}'), "does not fit"),
        (lambda f: append(f, '{"n": 2, "op": "undo", "undoes": 7}'), "does not fit"),
        (lambda f: (f / "identities.csv").write_text(table_of(PHOTOS[:-1])), "only names"),
        (lambda f: (f / "catalogue.json").write_text('{"format": 0}'), "another version"),
        (lambda f: np.save(f / "embeddings" / "000001.npy", ROWS + 1), "was changed after"),
        (lambda f: (f / "embeddings" / "000001.npy").unlink(), "cannot be read"),
        (lambda f: (f / "log.jsonl").write_bytes(b"\xff"), "cannot be read"),
    ],
)  # fmt: skip
def test_old_files_that_do_not_fit_are_refused_and_left_alone(tmp_path, spoil, say):
    write_old(tmp_path)
    spoil(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"}
    with pytest.raises(TransectError, match=say):
        Catalogue.open(tmp_path)
    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"}
    assert after == before


def test_an_old_log_leads_to_no_file_outside(tmp_path):
    write_old(tmp_path / "a")
    np.save(tmp_path / "secret.npy", ROWS)
    log = tmp_path / "a" / "log.jsonl"
    log.write_text(log.read_text().replace("000001.npy", "../../secret.npy"))
    with pytest.raises(TransectError, match="relative path"):
        Catalogue.open(tmp_path / "a")
