"""The catalogue by command: each change is a line of its log and can be undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transect.catalogue.store import Catalogue, Change
from transect.errors import TransectError, unknown_name
from transect.files import alone
from transect.identify.belongings import forget
from transect.identify.catalogue_photos import add_photos, ask_photos, begin
from transect.identify.grouping import propose_groups
from transect.recipe import IdentifyDecide
from transect.run import RunFolder
from transect.types import Progress

__all__ = ["ACTIONS", "change"]

ADDING = ".adding"  # additions wait for one another: keypoints and pictures go by name


@dataclass(frozen=True)
class _Desk:
    """What a command works on.

    Attributes:
        place: The catalogue's folder.
        run: The run that makes its vectors, or None where it is not known.
        words: What the action takes.
        who: Person, for the log.
        write: As in ``change``.
        device: As in ``change``.
        progress: Told what happens.
    """

    place: Path
    run: RunFolder | None
    words: tuple[str, ...]
    who: str
    write: bool
    device: str
    progress: Progress

    def book(self) -> Catalogue:
        """The catalogue."""
        return Catalogue.open(self.place)

    def needed(self) -> RunFolder:
        """The run, which new photos cannot do without."""
        if self.run is None:
            raise TransectError(
                f"new photos need the networks of the run that made {self.place}, and it does not "
                "say which that is. Give it: --run RUN."
            )
        return self.run


@dataclass(frozen=True)
class _Action:
    """A command: how many words it takes, what it is told to do, and what does it."""

    least: int
    most: int | None
    about: str
    act: Callable[[_Desk], list[str]]


def change(
    folder: Path,
    action: str,
    words: Sequence[str] = (),
    *,
    run: Path | None = None,
    who: str = "",
    write: bool = False,
    device: str = "cpu",
    progress: Progress,
) -> list[str]:
    """Carry one command out.

    Args:
        folder: A run, or a catalogue's folder.
        action: One of ``ACTIONS``.
        words: What the action takes.
        run: The run whose networks make the vectors; None takes the one that the catalogue lies
            in, or was begun with.
        who: Person, for the log.
        write: ``group`` gives the proposed individuals names, instead of only telling.
        device: Where the networks of ``add`` and ``ask`` run.
        progress: Told what happens.

    Returns:
        Lines that say what was found or done.

    Raises:
        TransectError: On an unknown action, wrong words, or what the catalogue refuses.
    """
    if action not in ACTIONS:
        raise unknown_name("a change of a catalogue", action, ACTIONS)
    known = ACTIONS[action]
    if len(words) < known.least or (known.most is not None and len(words) > known.most):
        wanted = f"{known.least}" if known.least == known.most else f"{known.least} or more"
        raise TransectError(
            f"catalogue {action} takes {wanted} words; got {len(words)}. {action}: {known.about}."
        )
    place = folder if action == "new" else _place(folder)
    desk = _Desk(place, _run_of(place, run), tuple(words), who, write, device, progress)
    return known.act(desk)


def _list(desk: _Desk) -> list[str]:
    return [f"{name:<24}{count:>6}" for name, count in desk.book().counts()]


def _log(desk: _Desk) -> list[str]:
    return [_line(entry) for entry in desk.book().log]


def _new(desk: _Desk) -> list[str]:
    begin(desk.place, desk.needed())
    return [
        f"{desk.place} is an empty catalogue for {desk.needed().path}",
        f"next:    transect catalogue {desk.place} add IMAGES",
    ]


def _add(desk: _Desk) -> list[str]:
    with alone(desk.place / ADDING):
        images = Path(desk.words[0])
        added = add_photos(
            desk.needed(),
            desk.place,
            images,
            who=desk.who,
            device=desk.device,
            progress=desk.progress,
        )
    return [f"{added} photos added to {desk.place}"]


def _ask(desk: _Desk) -> list[str]:
    images = Path(desk.words[0])
    return ask_photos(desk.needed(), desk.place, images, device=desk.device, progress=desk.progress)


def _rename(desk: _Desk) -> list[str]:
    return _done(desk, lambda book: book.rename(desk.words[0], desk.words[1], who=desk.who))


def _merge(desk: _Desk) -> list[str]:
    return _done(desk, lambda book: book.merge(desk.words[0], desk.words[1], who=desk.who))


def _split(desk: _Desk) -> list[str]:
    name, new, *photos = desk.words
    return _done(desk, lambda book: book.split(name, photos, new, who=desk.who))


def _assign(desk: _Desk) -> list[str]:
    return _done(desk, lambda book: book.assign(desk.words[1:], desk.words[0], who=desk.who))


def _remove(desk: _Desk) -> list[str]:
    return _done(desk, lambda book: book.remove(desk.words, who=desk.who))


def _import(desk: _Desk) -> list[str]:
    return _done(desk, lambda book: book.take_names(Path(desk.words[0]), who=desk.who))


def _export(desk: _Desk) -> list[str]:
    book = desk.book()
    book.export(Path(desk.words[0]))
    return [f"{len(book)} photos written to {desk.words[0]}"]


def _group(desk: _Desk) -> list[str]:
    return propose_groups(desk.book(), desk.run, who=desk.who, write=desk.write)


def _undo(desk: _Desk) -> list[str]:
    with alone(desk.place / ADDING):
        undone = desk.book().undo(who=desk.who)
        if desk.run is not None and undone.images:
            decide = desk.run.recipe().decide
            assert isinstance(decide, IdentifyDecide)
            forget(desk.place, decide, undone.images)
    return [f"taken back: {_line(undone)}"]


ACTIONS = {
    "new": _Action(0, 0, "an empty catalogue in FOLDER, of individuals of its own", _new),
    "list": _Action(0, 0, "individuals and their numbers of photos", _list),
    "log": _Action(0, 0, "all changes, first one first", _log),
    "add": _Action(1, 1, "IMAGES: a folder of photos, perhaps with identities.csv", _add),
    "ask": _Action(1, 1, "IMAGES: which of these individuals do the photos show", _ask),
    "remove": _Action(1, None, "PHOTO...: take photos out", _remove),
    "rename": _Action(2, 2, "OLD NEW", _rename),
    "merge": _Action(2, 2, "KEEP OTHER: two names are one individual", _merge),
    "split": _Action(3, None, "NAME NEW PHOTO...: some photos show another one", _split),
    "assign": _Action(2, None, "NAME PHOTO...: say whom photos show", _assign),
    "group": _Action(0, 0, "propose individuals among the photos without a name", _group),
    "export": _Action(1, 1, "FILE.csv: write the table of photos", _export),
    "import": _Action(1, 1, "FILE.csv: take names from a corrected table", _import),
    "undo": _Action(0, 0, "take the last change back", _undo),
}


def _done(desk: _Desk, act: Callable[[Catalogue], None]) -> list[str]:
    """Make a change and say what the log says of it."""
    book = desk.book()
    act(book)
    return [_line(book.log[-1])]


def _place(folder: Path) -> Path:
    """The catalogue that a folder means."""
    for place in (folder, folder / "catalogue"):
        if Catalogue.there(place):
            return place
    raise TransectError(
        f"{folder} is neither a catalogue nor a run that has one. Give the run folder that "
        "`transect train` wrote, or begin a catalogue: transect catalogue FOLDER new --run RUN."
    )


def _run_of(place: Path, given: Path | None) -> RunFolder | None:
    """The run that makes a catalogue's vectors."""
    if given is not None:
        return RunFolder.open(given)
    above = place.resolve().parent
    if (above / "recipe.json").is_file():
        return RunFolder.open(above)
    begun = str(Catalogue.open(place).about.get("run", "")) if Catalogue.there(place) else ""
    return RunFolder.open(Path(begun)) if begun and Path(begun).is_dir() else None


def _line(entry: Change) -> str:
    """A change as people read it."""
    shown = ("old", "new", "keep", "other", "identity", "individuals", "table", "rows", "undoes")
    told = {
        "change" if kind == "undoes" else kind: entry.words[kind]
        for kind in shown
        if kind in entry.words
    }
    if "rows" not in told and entry.op != "undo":
        told["photos"] = entry.photos
    words = ", ".join(f"{key} {value}" for key, value in told.items())
    by = f" by {entry.who}" if entry.who else ""
    return f"{entry.n}. {entry.time}{by}: {entry.op} {words}".rstrip()
