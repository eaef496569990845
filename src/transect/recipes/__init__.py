"""The bundled recipes, one value a file: what the winners did, by name."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from pathlib import Path

from transect.errors import TransectError, unknown_name
from transect.files import read_json
from transect.recipe import Recipe, from_json

__all__ = ["load", "names"]


def names() -> tuple[str, ...]:
    """The bundled recipes, as a user types them (``salt-1st``)."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))


def load(name: str, *, quick: bool = False) -> Recipe:
    """Find a recipe by bundled name, or in a file of the user's own.

    Args:
        name: A bundled name; a Python file that sets ``recipe`` (and perhaps ``quick``), which
            is run, since it is the user's own; or a ``recipe.json`` of a run, which is only read.
        quick: Take the twin that finishes in about a minute on two cores.

    Returns:
        The recipe; its ``name`` is the bundled name or the file's stem.

    Raises:
        TransectError: If there is no such recipe, or the file holds none.
    """
    path = Path(name)
    if path.suffix == ".json":
        recipe = from_json(read_json(path), where=str(path))
        if not isinstance(recipe, Recipe):
            raise TransectError(f"{path} holds a {type(recipe).__name__}, not a recipe.")
        return recipe
    if path.suffix == ".py":
        return _from_module(_module_of(path), str(path), quick)
    if name not in names():
        raise unknown_name("recipe", name, (*names(), "auto"))
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return _from_module(module, name, quick)


def _module_of(path: Path) -> object:
    """Run a user's recipe file and give its module."""
    if not path.is_file():
        raise TransectError(f"there is no recipe file {path}. Give a bundled name or a file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # so it is for files that end in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _from_module(module: object, where: str, quick: bool) -> Recipe:
    """Take ``recipe`` or ``quick`` out of a module, checked."""
    wanted = "quick" if quick else "recipe"
    recipe = getattr(module, wanted, None)
    if not isinstance(recipe, Recipe):
        raise TransectError(
            f"{where} sets no {wanted}. Add a line such as: {wanted} = Recipe(members=(...))."
        )
    return recipe
