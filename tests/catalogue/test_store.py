import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.catalogue.store import LOCK, Catalogue, Photo
from transect.errors import TransectError
from transect.files import alone
from transect.identify.catalogue_commands import propose_groups


def filled(folder, count=6):
    book = Catalogue.create(folder, about={"run": "r"})
    rng = np.random.default_rng(0)
    photos = [Photo(f"{i}.jpg", f"w{i // 2}", f"e{i}", "2026-01-02", "left") for i in range(count)]
    book.add(photos, rng.random((count, 4)), who="test")
    return book


def contents(folder):
    kept = [folder / "identities.csv", *sorted((folder / "embeddings").glob("*.npy"))]
    return [(p.name, p.read_bytes()) for p in kept]


def test_merge_then_split_restores_the_catalogue_byte_for_byte(tmp_path):
    book = filled(tmp_path)
    before = contents(tmp_path)
    book.merge("w0", "w1")
    assert book.individuals == ("w0", "w2")
    book.split("w0", ["2.jpg", "3.jpg"], "w1")
    assert contents(tmp_path) == before


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_undoing_everything_restores_every_step(tmp_path_factory, moves, seed):
    folder = tmp_path_factory.mktemp("book")
    book = filled(folder)
    rng = np.random.default_rng(seed)
    steps = [contents(folder)[0]]
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
        else:
            continue
        steps.append(contents(folder)[0])
    for expected in steps[-2::-1]:
        book.undo()
        assert contents(folder)[0] == expected
    reopened = Catalogue.open(folder)
    assert reopened.photos == book.photos
    assert len(reopened.embeddings()) == len(book.photos)


def test_a_catalogue_opens_as_it_was_closed(tmp_path):
    book = filled(tmp_path)
    book.add([Photo("z.png", "=cmd()")], np.ones((1, 4)))
    again = Catalogue.open(tmp_path)
    assert again.photos == book.photos
    assert again.photos[-1].identity == "=cmd()"
    assert "'=cmd()" in (tmp_path / "identities.csv").read_text()
    assert np.array_equal(again.embeddings()[-1], np.ones(4, np.float32))
    assert again.about == {"run": "r"}
    assert [e["op"] for e in again.log] == ["add", "add"]
    assert again.log[0]["who"] == "test"


def test_undo_of_an_addition_takes_the_photos_back(tmp_path):
    book = filled(tmp_path)
    book.add([Photo("z.png", "w9")], np.ones((1, 4)))
    assert book.undo()["op"] == "add"
    assert len(book.photos) == len(book.embeddings()) == 6
    book.add([Photo("z.png", "w8")], np.zeros((1, 4)))
    assert (Catalogue.open(tmp_path).embeddings()[-1] == 0).all()


@pytest.mark.parametrize("half", [0, 1, 40])
def test_a_kill_in_the_middle_of_a_change_is_mended(tmp_path, half):
    book = filled(tmp_path)
    old = (tmp_path / "identities.csv").read_bytes()
    book.merge("w0", "w1")
    new = (tmp_path / "identities.csv").read_bytes()
    lines = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "identities.csv").write_bytes(old)  # logged, not made
    if half:
        (tmp_path / "log.jsonl").write_text(lines[:-half])  # not even logged whole
        if half == 1:
            half = 0  # only the line end is missing: the change is known
    again = Catalogue.open(tmp_path)
    assert (tmp_path / "identities.csv").read_bytes() == (old if half else new)
    assert [e["op"] for e in again.log] == (["add"] if half else ["add", "merge"])
    again.rename("w2", "w7")
    assert Catalogue.open(tmp_path).individuals == again.individuals


def test_names_changed_by_hand_are_logged_and_can_be_undone(tmp_path):
    filled(tmp_path)
    table = tmp_path / "identities.csv"
    before = table.read_bytes()
    table.write_bytes(b"\xef\xbb\xbf" + before.replace(b"w2", b"Ishmael").replace(b"\n", b"\r\n"))
    book = Catalogue.open(tmp_path)
    assert book.individuals == ("Ishmael", "w0", "w1")
    assert book.log[-1]["op"] == "edit"
    book.undo()
    assert table.read_bytes() == before


def test_photos_removed_by_hand_are_refused(tmp_path):
    filled(tmp_path)
    table = tmp_path / "identities.csv"
    table.write_text("\n".join(table.read_text().split("\n")[:-2]) + "\n")
    with pytest.raises(TransectError, match="only names"):
        Catalogue.open(tmp_path)


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
    from transect.catalogue import store as room

    class KilledError(Exception):
        pass

    def killed(path, value):
        raise KilledError

    monkeypatch.setattr(room, "write_json", killed)
    with pytest.raises(KilledError):
        Catalogue.create(tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "catalogue.json").exists()
    assert Catalogue.create(tmp_path).photos == ()


@pytest.mark.parametrize(
    "line",
    ["{}", '{"n": 1, "op": "add"}', "no", '{"n":2,"op":"undo","undoes":7,"after":"","before":""}'],
)
def test_a_hostile_log_is_refused(tmp_path, line):
    filled(tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + line + "\n")
    with pytest.raises(TransectError):
        Catalogue.open(tmp_path)


def test_a_log_leads_to_no_file_outside(tmp_path):
    book = filled(tmp_path / "a")
    log = tmp_path / "a" / "log.jsonl"
    np.save(tmp_path / "secret.npy", np.ones((6, 4)))
    entry = json.loads(log.read_text())
    log.write_text(json.dumps({**entry, "file": "../../secret.npy"}) + "\n")
    with pytest.raises(TransectError, match="relative path"):
        Catalogue.open(tmp_path / "a").embeddings()
    assert len(book.photos) == 6


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


@pytest.mark.parametrize("act", [lambda b: b.merge("w0", "w1"), lambda b: Catalogue.open(b.folder)])
def test_a_change_and_a_reader_wait_for_the_lock(tmp_path, act):
    book = filled(tmp_path)
    with alone(tmp_path / LOCK):
        waiting = threading.Thread(target=act, args=(book,))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + bytes([b[-1] ^ 64]), lambda b: b[:40]])
def test_damaged_vectors_are_refused(tmp_path, damage):
    filled(tmp_path)
    path = tmp_path / "embeddings" / "000001.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TransectError, match=r"000001\.npy"):
        Catalogue.open(tmp_path).embeddings()
