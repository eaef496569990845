import importlib
import shutil
import sqlite3
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.catalogue import database, store, vectors
from transect.catalogue.photos import table_of
from transect.catalogue.store import LOCK, Catalogue, Photo
from transect.errors import TransectError
from transect.files import alone
from transect.identify.grouping import propose_groups


def filled(folder, count=6):
    book = Catalogue.create(folder, about={"run": "r"})
    rng = np.random.default_rng(0)
    photos = [Photo(f"{i}.jpg", f"w{i // 2}", f"e{i}", "2026-01-02", "left") for i in range(count)]
    book.add(photos, rng.random((count, 4)), who="test")
    return book


def contents(folder):
    """The table and the vectors, as one who opens the folder gets them."""
    book = Catalogue.open(folder)
    return table_of(book.photos), book.embeddings().tobytes()


def test_merge_then_split_restores_the_catalogue_byte_for_byte(tmp_path):
    book = filled(tmp_path)
    before = contents(tmp_path)
    book.merge("w0", "w1")
    assert book.individuals == ("w0", "w2")
    book.split("w0", ["2.jpg", "3.jpg"], "w1")
    assert contents(tmp_path) == before


@given(st.lists(st.integers(0, 6), max_size=12), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_undoing_everything_restores_every_step(tmp_path_factory, moves, seed):
    folder = tmp_path_factory.mktemp("book")
    book = filled(folder)
    rng = np.random.default_rng(seed)
    steps = [contents(folder)]
    for number, move in enumerate(moves):
        names = book.individuals
        one, two = rng.choice(names, 2, replace=len(names) < 2)
        mine = [p.image for p in book.photos if p.identity == one]
        if move == 0 and one != two:
            book.merge(one, two)
        elif move == 1:
            book.rename(one, f"new{number}")
        elif move == 2:
            book.split(one, mine[:1], f"part{number}")
        elif move == 3:
            book.add([Photo(f"x{number}.jpg", one)], rng.random((1, 4)))
        elif move == 4:
            book.assign(mine[-1:], f"seen{number}")
        elif move == 6 and len(book.photos) > 1:
            book.remove(mine[:1])
        else:
            continue
        steps.append(contents(folder))
    for expected in steps[-2::-1]:
        book.undo()
        assert contents(folder) == expected
    reopened = Catalogue.open(folder)
    assert reopened.photos == book.photos
    assert len(reopened.embeddings()) == len(book.photos)


def test_a_catalogue_opens_as_it_was_closed(tmp_path):
    book = filled(tmp_path)
    book.add([Photo("z.png", "=cmd()")], np.ones((1, 4)))
    again = Catalogue.open(tmp_path)
    assert again.photos == book.photos
    assert again.photos[-1].identity == "=cmd()"
    assert np.array_equal(again.embeddings()[-1], np.ones(4, np.float32))
    assert again.about == {"run": "r"}
    assert [e.op for e in again.log] == ["add", "add"]
    assert again.log[0].who == "test"
    assert again.log[0].photos == 6
    assert len(again) == 7


def test_a_copied_folder_is_the_catalogue(tmp_path):
    book = filled(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    book.merge("w0", "w1")
    other = Catalogue.open(tmp_path / "b")
    assert other.individuals == ("w0", "w1", "w2")
    assert other.undo().op == "add"
    assert len(book) == 6


def test_names_go_out_and_come_in_as_a_table(tmp_path):
    book = filled(tmp_path / "book")
    book.add([Photo("z.png", "=cmd()")], np.ones((1, 4)))
    table = tmp_path / "names.csv"
    book.export(table)
    before = table.read_bytes()
    assert b"z.png,'=cmd()" in before
    table.write_bytes(b"\xef\xbb\xbf" + before.replace(b"w2", b"Ishmael").replace(b"\n", b"\r\n"))
    book.take_names(table)
    assert book.individuals == ("=cmd()", "Ishmael", "w0", "w1")
    assert (book.log[-1].op, book.log[-1].photos) == ("edit", 2)
    book.undo()
    book.export(table)
    assert table.read_bytes() == before
    table.write_bytes(before.replace(b"0.jpg", b"nobody.jpg"))
    with pytest.raises(TransectError, match=r"not in the catalogue \(first: nobody"):
        book.take_names(table)


def test_removed_photos_are_gone_and_come_back(tmp_path):
    book = filled(tmp_path)
    before = contents(tmp_path)
    rows = book.embeddings().copy()
    book.remove(["1.jpg", "4.jpg"], who="Ada")
    assert [p.image for p in book.photos] == ["0.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert np.array_equal(book.embeddings(), rows[[0, 2, 3, 5]])
    assert book.counts() == [("w0", 1), ("w1", 2), ("w2", 1)]
    book.add([Photo("1.jpg", "other")], np.ones((1, 4)))  # the name is free again
    book.merge("w0", "w1")
    for _ in range(3):
        book.undo()
    assert contents(tmp_path) == before
    with pytest.raises(TransectError, match="not in the catalogue"):
        book.remove(["none.jpg"])
    with pytest.raises(TransectError, match="no photo to remove"):
        book.remove([])


def test_many_groups_are_named_in_one_change(tmp_path):
    book = filled(tmp_path)
    before = contents(tmp_path)
    book.name_groups({"a": ["0.jpg", "2.jpg"], "b": ["5.jpg"]})
    assert book.counts() == [("a", 2), ("b", 1), ("w0", 1), ("w1", 1), ("w2", 1)]
    book.undo()
    assert contents(tmp_path) == before


def test_undo_of_an_addition_takes_the_photos_back(tmp_path):
    book = filled(tmp_path)
    book.add([Photo("z.png", "w9")], np.ones((1, 4)))
    undone = book.undo()
    assert (undone.op, undone.images) == ("add", ("z.png",))
    assert len(book.photos) == len(book.embeddings()) == 6
    book.add([Photo("z.png", "w8")], np.zeros((1, 4)))
    assert (Catalogue.open(tmp_path).embeddings()[-1] == 0).all()


class KilledError(Exception):
    pass


@pytest.mark.parametrize("at", ["append_rows", "digest_of_rows"])
def test_a_kill_in_the_middle_of_a_change_leaves_what_was_there(tmp_path, monkeypatch, at):
    book = filled(tmp_path)
    before = contents(tmp_path)
    real = getattr(vectors, at)

    def killed(*args):
        if at == "append_rows":
            real(*args)
        raise KilledError

    monkeypatch.setattr(vectors, at, killed)
    with pytest.raises(KilledError):
        book.add([Photo("x.jpg", "w9")], np.ones((1, 4)))
    monkeypatch.undo()
    assert contents(tmp_path) == before
    assert [entry.op for entry in book.log] == ["add"]
    book.add([Photo("y.jpg", "w9")], np.zeros((1, 4)))
    assert (book.embeddings()[-1] == 0).all()


def test_a_process_killed_while_it_writes_is_rolled_back(tmp_path):
    filled(tmp_path)
    before = contents(tmp_path)
    path = tmp_path / database.FILE
    kept = path.read_bytes()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA cache_size = 1")
    db.execute("BEGIN IMMEDIATE")
    for number in range(400):  # more than the cache holds: the file itself is changed
        db.execute("INSERT INTO changed VALUES (?, 1, ?, ?)", (number, "x" * 400, "y" * 400))
    shutil.copytree(tmp_path, tmp_path / "copy")  # as a kill would leave it
    db.close()
    assert (tmp_path / "copy" / database.FILE).read_bytes() != kept
    assert contents(tmp_path / "copy") == before


def test_mistakes_are_explained(tmp_path):
    book = filled(tmp_path / "a")
    before = contents(tmp_path / "a")
    for wrong, say in (
        (lambda: book.rename("w0", "w1"), "Use merge"),
        (lambda: book.rename("w8", "w9"), "an individual must be one of"),
        (lambda: book.merge("w0", "w0"), "itself"),
        (lambda: book.split("w0", ["4.jpg"], "w9"), "Name photos"),
        (lambda: book.split("w0", [], "w9"), "Name photos"),
        (lambda: book.split("w0", ["0.jpg"], "w1"), "free name"),
        (lambda: book.assign(["nope.jpg"], "w1"), "not in the catalogue"),
        (lambda: book.add([Photo("0.jpg", "w1")], np.ones((1, 4))), "already"),
        (lambda: book.add([Photo("q.jpg", "w1")] * 2, np.ones((2, 4))), "already"),
        (lambda: book.add([Photo("q.jpg", "w1")], np.ones((1, 5))), "Use the run"),
        (lambda: book.add([Photo("q.jpg", "w1")], np.ones(4)), "embeddings"),
        (lambda: book.add([Photo("q.jpg", "a\nb")], np.ones((1, 4))), "printable"),
        (lambda: Catalogue.create(tmp_path / "a"), "already holds"),
        (lambda: Catalogue.open(tmp_path / "b"), "missing"),
    ):
        with pytest.raises(TransectError, match=say):
            wrong()
    assert contents(tmp_path / "a") == before
    Catalogue.create(tmp_path / "c")
    with pytest.raises(TransectError, match="nothing is left"):
        Catalogue.open(tmp_path / "c").undo()


def test_grouping_needs_two_names_and_vectors(tmp_path):
    book = filled(tmp_path / "nameless", count=2)
    with pytest.raises(TransectError, match="fewer than two named"):
        propose_groups(book, None)
    with pytest.raises(TransectError, match="holds no vectors of an embedding"):
        propose_groups(filled(tmp_path / "named"), None)


def test_a_kill_while_a_catalogue_is_begun_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "TABLES", (*database.TABLES, "CREATE nonsense"))
    with pytest.raises(TransectError):
        Catalogue.create(tmp_path)
    monkeypatch.undo()
    assert not Catalogue.there(tmp_path)
    assert Catalogue.create(tmp_path).photos == ()


@pytest.mark.parametrize(
    "line",
    [
        "CREATE TRIGGER t AFTER INSERT ON photo BEGIN DELETE FROM change; END",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE part",
        "UPDATE about SET format = 3",
    ],
)
def test_a_file_of_other_tables_is_refused(tmp_path, line):
    filled(tmp_path)
    with sqlite3.connect(tmp_path / database.FILE) as db:
        db.execute(line)
    db.close()
    with pytest.raises(TransectError, match="another version"):
        Catalogue.open(tmp_path)


@pytest.mark.parametrize(
    ("line", "ask"),
    [
        ("UPDATE photo SET identity = 'w1' WHERE id = 1", lambda b: b.photos),
        ("UPDATE photo SET gone = 1 WHERE id = 1", lambda b: b.photos),
        ("DELETE FROM photo WHERE id = 5", lambda b: b.photos),
        ("UPDATE photo SET identity = 'w1' WHERE id = 1", lambda b: b.merge("w1", "w2")),
        ("UPDATE changed SET before = 'w2' WHERE id = 1", lambda b: b.undo()),
        ("UPDATE change SET words = '{}' WHERE n = 2", lambda b: b.undo()),
        ("UPDATE about SET json = '{}'", lambda b: b.about),
    ],
)
def test_damaged_tables_are_refused(tmp_path, line, ask):
    book = filled(tmp_path)
    book.rename("w0", "v")
    with sqlite3.connect(tmp_path / database.FILE) as db:
        db.execute(line)
    db.close()
    with pytest.raises(TransectError, match=r"catalogue\.db was changed or damaged"):
        ask(Catalogue.open(tmp_path))


def test_no_database_and_a_cut_one_are_refused(tmp_path):
    filled(tmp_path)
    path = tmp_path / database.FILE
    whole = path.read_bytes()
    for broken in (b"not a database" * 100, whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(TransectError, match=r"catalogue\.db"):
            assert Catalogue.open(tmp_path).photos


def test_two_changes_at_once_lose_nothing(tmp_path):
    filled(tmp_path)
    one, other = Catalogue.open(tmp_path), Catalogue.open(tmp_path)
    one.add([Photo("x.jpg", "w0")], np.zeros((1, 4)))
    other.add([Photo("y.jpg", "w0"), Photo("z.jpg", "w1")], np.ones((2, 4)))
    one.merge("w0", "w1")
    other.merge("w0", "w2")
    book = Catalogue.open(tmp_path)
    assert book.individuals == ("w0",)
    assert [p.image for p in book.photos[6:]] == ["x.jpg", "y.jpg", "z.jpg"]
    assert book.embeddings()[6:, 0].tolist() == [0, 1, 1]
    with pytest.raises(TransectError, match="already"):
        one.add([Photo("y.jpg", "w0")], np.zeros((1, 4)))


def test_a_change_waits_for_the_lock(tmp_path):
    book = filled(tmp_path)
    with alone(tmp_path / LOCK):
        waiting = threading.Thread(target=book.merge, args=("w0", "w1"))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        assert Catalogue.open(tmp_path).individuals == ("w0", "w1", "w2")  # readers need not
    waiting.join(5)
    assert not waiting.is_alive()
    assert Catalogue.open(tmp_path).individuals == ("w0", "w2")


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + bytes([b[-1] ^ 64]), lambda b: b[:40]])
def test_damaged_vectors_are_refused(tmp_path, damage):
    book = filled(tmp_path)
    path = tmp_path / vectors.FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TransectError, match=r"vectors\.f32"):
        Catalogue.open(tmp_path).embeddings()
    with pytest.raises(TransectError, match=r"vectors\.f32"):
        book.add([Photo("z.png", "w9")], np.ones((1, 4)))  # nothing is signed over damage


def test_a_catalogue_that_cannot_be_written_is_read(tmp_path, monkeypatch):
    book = filled(tmp_path)
    monkeypatch.setattr(store.os, "access", lambda path, mode: False)
    assert len(Catalogue.open(tmp_path).photos) == 6
    with pytest.raises(TransectError, match="cannot be written"):
        book.merge("w0", "w1")


def test_parts_are_signed_where_they_meet(tmp_path, monkeypatch):
    for room in ("rows", "ledger"):
        monkeypatch.setattr(importlib.import_module(f"transect.catalogue.{room}"), "PART", 4)
    book = filled(tmp_path)  # six photos: a whole part and half of one
    for number in range(7):
        book.add([Photo(f"x{number}", f"w{number}")], np.full((1, 4), number))
    book.merge("w0", "w5")
    book.remove(["3.jpg", "x0", "x6"])
    assert len(Catalogue.open(tmp_path).photos) == 10
    for _ in range(9):
        book.undo()
        assert len(Catalogue.open(tmp_path).photos) == len(Catalogue.open(tmp_path).embeddings())
    assert Catalogue.open(tmp_path).photos == filled(tmp_path / "again").photos


@pytest.mark.slow
def test_a_hundred_thousand_photos_are_listed_and_one_is_added_at_once(tmp_path):
    book = Catalogue.create(tmp_path)
    many = [Photo(f"{i:06d}.jpg", f"w{i // 10}") for i in range(100_000)]
    book.add(many, np.zeros((len(many), 8), np.float32))
    began = time.process_time()
    assert len(Catalogue.open(tmp_path).counts()) == 10_000
    listed = time.process_time()
    book.add([Photo("z.jpg", "z")], np.ones((1, 8)))
    added = time.process_time()
    assert listed - began < 1.0
    assert added - listed < 0.1
