"""What became of the entries of a file: how many were left out or read otherwise, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Tally", "Told", "lost_objects", "tally_lines"]


@dataclass(frozen=True)
class Told:
    """Entries that are not in the result as they stood in the source, all for one reason.

    Attributes:
        why: The reason in a few words: "crowd region".
        lost: Whether they are left out; False if they are there, read or written otherwise.
        objects: How many objects.
        pictures: How many pictures.
    """

    why: str
    lost: bool = True
    objects: int = 0
    pictures: int = 0


class Tally:
    """Adds up what is told while a file is read or written."""

    def __init__(self, told: Iterable[Told] = ()) -> None:
        """Begin with what was told before."""
        self._sums: dict[tuple[str, bool], tuple[int, int]] = {}
        for one in told:
            self.tell(one.why, lost=one.lost, objects=one.objects, pictures=one.pictures)

    def tell(self, why: str, *, lost: bool = True, objects: int = 0, pictures: int = 0) -> None:
        """Add to one reason."""
        before = self._sums.get((why, lost), (0, 0))
        self._sums[why, lost] = (before[0] + objects, before[1] + pictures)

    def done(self) -> tuple[Told, ...]:
        """Everything told, what was lost first."""
        every = [Told(why, lost, *sums) for (why, lost), sums in self._sums.items()]
        return tuple(sorted(every, key=lambda t: not t.lost))


def lost_objects(told: Iterable[Told]) -> int:
    """How many objects were left out.

    Example:
        >>> lost_objects([Told("crowd region", True, 2), Told("circle", False, 5)])
        2
    """
    return sum(one.objects for one in told if one.lost)


def tally_lines(told: Iterable[Told]) -> list[str]:
    """One line per reason, for the end of a conversion.

    Example:
        >>> tally_lines([Told("crowd region", True, 2), Told("circle read as outline", False, 5)])
        ['left out  2 objects: crowd region', 're-read   5 objects: circle read as outline']
    """
    lines = []
    for one in told:
        counted = [_counted(one.objects, "object"), _counted(one.pictures, "picture")]
        amount = " and ".join(c for c in counted if c)
        head = "left out" if one.lost else "re-read"
        lines.append(f"{head:<8}  {amount + ': ' if amount else ''}{one.why}")
    return lines


def _counted(count: int, what: str) -> str:
    """``2 objects``, or nothing for 0."""
    return f"{count} {what}{'s' if count != 1 else ''}" if count else ""
