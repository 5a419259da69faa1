"""Finding the user's application: `MODULE:ATTRIBUTE`, with the working directory importable."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from traceback import extract_tb

from understudy.endpoint import App

from understudy_runtime.cli.errors import UsageProblem


def load_app(spec: str, folder: Path) -> App:
    """The application *spec* names.  Raises UsageProblem, which also tells where the module itself failed."""
    module_name, separator, attribute = spec.partition(":")
    if not separator or not module_name or not attribute:
        raise UsageProblem(f"{spec!r} does not name an application: write MODULE:ATTRIBUTE, such as services:app")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(missing + "."):
            raise UsageProblem(f"there is no module {missing!r} in {folder} nor on the Python path") from None
        raise UsageProblem(f"{module_name} imports {missing!r}, which is not installed") from None
    except Exception as error:
        place = extract_tb(error.__traceback__)[-1]
        raise UsageProblem(
            f"{module_name} failed while it was imported: {type(error).__name__}: {error} "
            f"({place.filename}:{place.lineno})"
        ) from None
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageProblem(f"the module {module_name!r} has no {attribute!r}")
        found = getattr(found, part)
    if not isinstance(found, App):
        raise UsageProblem(
            f"{spec} is a {type(found).__name__}, not an application: make one with understudy.app(services=[…])"
        )
    return found
