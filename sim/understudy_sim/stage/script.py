"""Finding the scenario in a script, with an error a person can act on when there is none."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from understudy_sim.stage.scenario import Scenario


class NoScenario(Exception):
    """The script has no scenario to run: what was looked at, what was found, what to do."""


def load_scenario(path: str, root: Path | None = None) -> Scenario:
    """The scenario in the script at *path*; `path::name` picks one of several.  Raises NoScenario.

    The working directory is importable, as it is for `understudy dev`; or *root* in its place.
    """
    filename, _, wanted = path.partition("::")
    found = scenarios_in(load_module(filename, root))
    if wanted:
        found = [one for one in found if one.name == wanted]
    if not found:
        which = f"no scenario named {wanted!r}" if wanted else "no scenario"
        raise NoScenario(f"{filename} has {which}: declare one with @scenario(app=..., workload=...)")
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise NoScenario(f"{filename} has {len(found)} scenarios: {names}; name one as {filename}::{found[0].name}")
    return found[0]


def scenarios_in(module: ModuleType) -> list[Scenario]:
    """The scenarios a module declares itself, in order."""
    return [one for one in vars(module).values() if isinstance(one, Scenario)]


def load_module(filename: str, root: Path | None = None) -> ModuleType:
    """Import the script.  Raises NoScenario when there is no such file or it is no Python.

    *root* is the folder from which it is named and imports what it needs: the working directory, unless given.
    """
    root = (root or Path.cwd()).resolve()
    file = root / filename
    if file.is_dir():
        raise NoScenario(f"{filename!r} is a folder: name the script in it")
    if not file.exists():
        raise NoScenario(f"there is no file {filename!r}")
    if file.suffix != ".py":
        raise NoScenario(f"{filename!r} is no Python file")
    here = str(root)
    if here not in sys.path:
        sys.path.insert(0, here)
    resolved = file.resolve()
    try:
        dotted = ".".join(resolved.relative_to(root).with_suffix("").parts)
    except ValueError:
        dotted = ""
    try:
        return importlib.import_module(dotted) if dotted.replace(".", "").isidentifier() else _load_alone(resolved)
    except NoScenario:
        raise
    except SystemExit as error:
        raise NoScenario(f"{filename} ends the program when it is imported: put that under __main__") from error
    except Exception as error:
        raise NoScenario(
            f"{filename} cannot be imported: {type(error).__name__}: {error}{_hint(resolved, error)}"
        ) from error


def _hint(file: Path, error: Exception) -> str:
    """Where to stand, when the script looks for a module in the folder it lies in."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        top = error.name.partition(".")[0]
        for folder in file.parents:
            if folder.name == top:
                return f"; run this from {folder.parent}, whose {top}/ it looks for"
    return ""


def _load_alone(file: Path) -> ModuleType:
    name = file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None, "a Python file has a loader"
    assert spec.loader is not None, "a Python file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
