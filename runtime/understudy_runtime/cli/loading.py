"""Finding the user's application: `MODULE:ATTRIBUTE`, with the working directory importable.

`load_app` wants one of ours, to look into; `load_asgi` takes any ASGI application, to call.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from inspect import iscoroutinefunction, signature
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, cast

from understudy.endpoint import App

from understudy_runtime.cli.errors import UsageProblem

AsgiApp = Callable[[MutableMapping[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]
# Packages whose applications await asyncio, whatever loop runs them.
ASYNCIO_ONLY: Final = ("restate",)


def load_app(spec: str, folder: Path) -> App:
    """The application *spec* names.  Raises UsageProblem, which also tells where the module itself failed."""
    found = load(spec, folder)
    if not isinstance(found, App):
        raise UsageProblem(
            f"{spec} is a {type(found).__name__}, not an application: make one with understudy.app(services=[…])"
        )
    return found


def load_asgi(spec: str, folder: Path) -> AsgiApp:
    """The ASGI application *spec* names.  Raises UsageProblem, also for one that cannot run under trio."""
    found = load(spec, folder)
    if isinstance(found, App):
        return found
    if origin(found) in ASYNCIO_ONLY:
        raise UsageProblem(
            f"{spec} comes from {origin(found)}, which needs asyncio, and this loop is trio: host it with "
            f"hypercorn {spec}, or make the application with understudy.app(services=[…])"
        )
    if not is_asgi(found):
        raise UsageProblem(
            f"{spec} is a {type(found).__name__}, not an ASGI application: make one with understudy.app(services=[…])"
        )
    return cast(AsgiApp, found)


def origin(found: object) -> str:
    """The package that made *found*."""
    module = getattr(found, "__module__", None) or type(found).__module__
    return str(module).partition(".")[0]


def is_asgi(found: object) -> bool:
    """Whether *found* can be called with a scope and two channels."""
    if not callable(found) or isinstance(found, type):
        return False
    try:
        signature(found).bind({}, None, None)
    except (TypeError, ValueError):
        return False
    return iscoroutinefunction(found) or iscoroutinefunction(getattr(found, "__call__", None))  # noqa: B004


def load(spec: str, folder: Path) -> object:
    """Whatever *spec* names.  Raises UsageProblem."""
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
    except (Exception, SystemExit) as error:
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
    return found
