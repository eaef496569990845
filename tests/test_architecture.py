"""Imports look down, never up or sideways; and the command line starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "transect"
FLOORS = {
    0: ("types", "errors", "files", "recipe", "filters", "network", "weight_file", "commands"),
    1: (
        "data",
        "simulate",
        "folds",
        "augment",
        "models",
        "losses",
        "postprocess",
        "metrics",
        "matching",
        "tabular",
        "run",
    ),
    2: (
        "train",
        "predict",
        "ensemble",
        "openset",
        "catalogue",
        "audit",
        "report",
        "launch",
        "task",
    ),
    3: ("segment", "count", "identify", "classify"),
    4: ("pipeline", "review"),
    5: (
        "recipes",
        "api",
        "cli",
        "__main__",
        "demo",
        "doctor",
        "experiments",
        "scores",
        "predictions",
    ),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported_rooms(path: Path) -> set[str]:
    """Every room of ours that a file imports, at its head or inside a function."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "transect":
                names = [f"transect.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("transect.")}
    return rooms


def test_every_file_stands_on_a_floor():
    rooms = {room_of(path) for path in SOURCE.rglob("*.py")} - {"__init__"}
    assert rooms <= set(FLOOR_OF)


def test_imports_look_down():
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        room = room_of(path)
        if room == "__init__":
            continue
        for other in imported_rooms(path) - {room, "__version__"}:
            floor = FLOOR_OF.get(other)
            sideways = FLOOR_OF[room] == floor and floor in {1, 2, 3}
            if floor is None or floor > FLOOR_OF[room] or sideways:
                wrong.append(f"{path.relative_to(SOURCE)} looks at {other}")
    assert not wrong, "\n".join(wrong)


def test_help_and_import_load_no_torch():
    code = (
        "import sys, transect, transect.cli\n"
        "try: transect.cli.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'cv2', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
