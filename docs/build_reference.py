"""Write docs/reference from the docstrings of the public names; run by ``make docs``.

Only the standard library is used and nothing of the package is imported: the files are parsed,
so this takes about a second and needs neither torch nor an installed package.

    python docs/build_reference.py    write docs/reference/*.md, which git does not keep
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "transect"
REFERENCE = ROOT / "docs" / "reference"

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|References|Example|Examples):\s*$")
_FIELD = re.compile(r"^(\*{0,2}[\w., ]+?)(?: \([^)]*\))?: (.*)$")


@dataclass(frozen=True)
class Module:
    """One parsed file: its dotted name, where it is, its docstring, and its public names.

    Attributes:
        name: E.g. ``transect.losses.lovasz``.
        path: Relative to the repository.
        text: The docstring, or an empty string.
        public: Names in ``__all__``, in their order.
        nodes: Public functions and classes that this very file defines.
        constants: Public constants of this file, with their source text.
    """

    name: str
    path: str
    text: str
    public: tuple[str, ...]
    nodes: dict[str, ast.FunctionDef | ast.ClassDef]
    constants: dict[str, str]

    @property
    def room(self) -> str:
        """The room, or the file that stands for one: ``losses``, ``api``."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "transect"


@functools.cache
def modules() -> tuple[Module, ...]:
    """Parse every file of the package that names something public."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = _module(path)
        if module.public:
            found.append(module)
    return tuple(found)


def _module(path: Path) -> Module:
    """Read one file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public: tuple[str, ...] = ()
    nodes: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    constants: dict[str, ast.stmt] = {}
    for node in tree.body:
        target = _assigned(node)
        if target == "__all__" and isinstance(node, ast.Assign):
            public = tuple(ast.literal_eval(node.value))
        elif target is not None:
            constants[target] = node
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            nodes[node.name] = node
    dotted = ".".join(("transect", *path.relative_to(SOURCE).with_suffix("").parts))
    return Module(
        name=dotted.removesuffix(".__init__"),
        path=path.relative_to(ROOT).as_posix(),
        text=ast.get_docstring(tree) or "",
        public=public,
        nodes={name: nodes[name] for name in public if name in nodes},
        constants={n: _shortened(ast.unparse(constants[n])) for n in public if n in constants},
    )


def _assigned(node: ast.stmt) -> str | None:
    """The single name that a statement assigns, if it is one."""
    target = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    return target.id if isinstance(target, ast.Name) else None


def _shortened(text: str) -> str:
    """Keep a constant's source to one readable line."""
    text = " ".join(text.split())
    return text if len(text) <= 96 else text[:93] + "..."


def without_docstring() -> list[str]:
    """Public functions and classes that say nothing of themselves."""
    return [
        f"{module.name}.{name}"
        for module in modules()
        for name, node in module.nodes.items()
        if not ast.get_docstring(node)
    ]


def pages() -> dict[str, str]:
    """File name below docs/reference to its text."""
    rooms: dict[str, list[Module]] = {}
    for module in modules():
        rooms.setdefault(module.room, []).append(module)
    written = {f"{room}.md": _page(room, found) for room, found in sorted(rooms.items())}
    written["README.md"] = _contents(rooms)
    return written


def _contents(rooms: dict[str, list[Module]]) -> str:
    """The page that lists the others."""
    about = "Public names, room by room. `make docs` writes these pages from the docstrings."
    lines = ["# Reference", "", about, ""]
    for room, found in sorted(rooms.items()):
        count = sum(len(module.nodes) + len(module.constants) for module in found)
        about = _room_text(room).split("\n")[0]
        lines.append(f"- [{room}]({room}.md) ({count}): {about}")
    return "\n".join(lines) + "\n"


def _room_text(room: str) -> str:
    """What a room, or a file that stands for one, says of itself."""
    inside = SOURCE if room == "transect" else SOURCE / room
    path = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _page(room: str, found: list[Module]) -> str:
    """One room."""
    lines = [f"# {room}", "", _plain(_room_text(room)), ""]
    for module in found:
        if not (module.nodes or module.constants or module.public):
            continue
        lines += [f"## {module.name}", ""]
        if module.text and module.text != _room_text(room):
            lines += [_plain(module.text), ""]
        lines += [f"Source: [{module.path}](../../{module.path})", ""]
        elsewhere = [
            n for n in module.public if n not in module.nodes and n not in module.constants
        ]
        if elsewhere:
            lines += ["Also offers: " + ", ".join(f"`{name}`" for name in elsewhere), ""]
        for name in module.public:
            if name in module.nodes:
                lines += _entry(module.nodes[name])
            elif name in module.constants:
                lines += [f"### {name}", "", "```text", module.constants[name], "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _entry(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """One function or class."""
    yield from (f"### {node.name}", "")
    if isinstance(node, ast.FunctionDef):
        yield from ("```text", _signature(node), "```", "")
    yield from _document(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                first = (ast.get_docstring(method) or "").split("\n\n")[0]
                yield f"- `{_signature(method)}`: {_plain(first).replace(chr(10), ' ')}".rstrip(
                    ": "
                )
        if any(isinstance(m, ast.FunctionDef) and not m.name.startswith("_") for m in node.body):
            yield ""


def _signature(node: ast.FunctionDef) -> str:
    """``name(arguments) -> result``."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def _document(text: str) -> Iterator[str]:
    """A Google docstring as Markdown."""
    section, block = "", []
    for line in [*text.split("\n"), "Args:"]:
        match = _SECTION.match(line)
        if not match:
            block.append(line)
            continue
        yield from _section(section, block)
        section, block = match[1], []


def _section(title: str, block: list[str]) -> Iterator[str]:
    """One section of a docstring."""
    while block and not block[-1].strip():
        block.pop()
    if not block:
        return
    if not title:
        yield from (_plain("\n".join(block)), "")
        return
    inner = [line[4:] if line.startswith("    ") else line for line in block]
    yield from (f"**{title}**", "")
    if title in ("Example", "Examples"):
        yield from ("```text", *inner, "```", "")
    elif title in ("Args", "Attributes", "Raises"):
        for line in inner:
            match = _FIELD.match(line) if not line.startswith(" ") else None
            yield (
                f"- `{match[1]}`: {_plain(match[2])}"
                if match
                else f"  {_plain(line.strip())}".rstrip()
            )
        yield ""
    else:
        yield from (_plain("\n".join(inner)), "")


def _plain(text: str) -> str:
    """Double backticks to single ones."""
    return text.replace("``", "`")


def main() -> int:
    """Write the pages; remove those of rooms that are gone."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for name, text in wanted.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    for path in REFERENCE.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
