"""The model card: one page of text that goes with the weights wherever they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["model_card"]

_ORDER = (
    ("use", "What it is for"),
    ("not_for", "What it is not for"),
    ("data", "Data"),
    ("recipe", "Recipe"),
    ("scores", "Scores"),
    ("intervals", "Intervals and calibration"),
    ("leaks", "Leaks"),
    ("limits", "Known limits"),
    ("licences", "Licences"),
    ("environment", "Environment"),
    ("reproduce", "To repeat it"),
)
"""Key and heading, in the order in which they stand."""


def model_card(title: str, sections: Mapping[str, Any], *, summary: str = "") -> str:
    """Write a model card as Markdown.

    Args:
        title: Of the card.
        sections: By key: ``use``, ``not_for``, ``data``, ``recipe``, ``scores``, ``intervals``,
            ``leaks``, ``limits``, ``licences``, ``environment``, ``reproduce``; other keys follow
            with their own name as heading. A value is a sentence, a list (bullets), a mapping (a
            table of two columns) or a list of mappings (a table); empty ones are left out.
        summary: One paragraph at the top.

    Returns:
        The text. Names from outside are escaped, so that they cannot become markup.

    Example:
        >>> print(model_card("Nuclei", {"scores": {"Dice": 0.912}}))
        # Nuclei
        <BLANKLINE>
        ## Scores
        <BLANKLINE>
        | | |
        |---|---|
        | Dice | 0.912 |
        <BLANKLINE>
    """
    known = dict(_ORDER)
    order = [key for key, _ in _ORDER if key in sections]
    order += [key for key in sections if key not in known]
    lines = [f"# {_escaped(title)}", ""]
    if summary:
        lines += [_escaped(summary), ""]
    for key in order:
        value = sections[key]
        if value is None or (isinstance(value, (str, Sequence, Mapping)) and not value):
            continue
        lines += [f"## {_escaped(known.get(key, key.replace('_', ' ').capitalize()))}", ""]
        lines += [*_block(key, value), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _block(key: str, value: Any) -> list[str]:
    """The lines of one section."""
    if key == "reproduce":
        commands = [value] if isinstance(value, str) else [str(line) for line in value]
        return ["```", *(line.replace("```", "'''") for line in commands), "```"]
    if isinstance(value, Mapping):
        rows = [f"| {_cell(k)} | {_cell(v)} |" for k, v in value.items()]
        return ["| | |", "|---|---|", *rows]
    if isinstance(value, Sequence) and not isinstance(value, str):
        if all(isinstance(row, Mapping) for row in value):
            return _table(value)
        return [f"- {_escaped(str(item))}" for item in value]
    return [_escaped(_text(value))]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table whose columns are all keys, in the order in which they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(_cell(c) for c in columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows]


def _cell(value: Any) -> str:
    return _escaped(_text(value)).replace("|", "\\|").replace("\n", " ")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    """Keep names from becoming HTML, links, pictures or code."""
    for sign in ("\\", "`", "*", "_", "[", "]", "#"):
        text = text.replace(sign, "\\" + sign)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
