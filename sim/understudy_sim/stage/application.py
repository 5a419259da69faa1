"""The application under rehearsal, by import path: loaded afresh for each incarnation, so its globals die with it.

It is one of ours, made by `understudy.app`, or a *guest*: any asyncio ASGI application, the official SDK's among them.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from understudy_runtime.model.ids import deployment_id

from understudy_sim.kernel.fence_sites import Sites
from understudy_sim.kernel.modules import FreshModules
from understudy_sim.stage.equivalence import Allowed
from understudy_sim.stage.guest import NotDiscovered, discover

if TYPE_CHECKING:
    from understudy.endpoint import App


# Libraries and our own packages: what they keep is not of one application.
SHARED: Final = ("cattrs", "understudy_sim", "understudy_runtime")


class NoApplication(Exception):
    """There is no application under that path: what was asked for, what was found, what to do."""


class Application:
    """An application named `package.module:attribute`.  Keep one for many runs: it caches code and fence sites."""

    def __init__(self, path: str) -> None:
        module, separator, attribute = path.partition(":")
        if not separator or not module or not attribute:
            raise NoApplication(f"{path!r} names no application: write it as package.module:attribute")
        self.path = path
        self._later: dict[str, Application] = {}
        self._attribute = attribute
        self.sites = Sites()
        self._module = module
        self.allowed: dict[tuple[str, int, str], Allowed] = {}  # what undisturbed orders of a seed came to
        self._modules = FreshModules(lambda: self.sites.answers, SHARED)

    def later(self, path: str) -> Application:
        """Another version of the application, at *path*: its code is kept with this one's."""
        other = self._later.get(path)
        if other is None:
            other = self._later[path] = Application(path)
            other.sites, other._modules = self.sites, self._modules
        return other

    def load(self, place: str | None = None) -> App:
        """Import the module and everything beside it anew, and return the application.  Raises NoApplication.

        *place* names the process that wants it: its next incarnation may get the same modules, unless they changed.
        A guest is returned as what it is, a callable of ASGI.
        """
        found: Any = getattr(self._modules.load(self._module, place), self._attribute, None)
        if not hasattr(found, "attempt") and not callable(found):
            raise NoApplication(
                f"{self.path} is {'missing' if found is None else repr(type(found).__name__)}: an application made by "
                "understudy.app(services=[...]), or an ASGI application like restate.app(services=[...]), was expected"
            )
        app: App = found
        return app

    @cached_property
    def is_guest(self) -> bool:
        """Whether it is an ASGI application that is not ours: it runs on asyncio, and is reached by bytes only."""
        return not hasattr(self._example, "attempt")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What its services are, as discovery tells it.  Raises NoApplication where a guest tells of none."""
        if not self.is_guest:
            return dict(self._example.manifest())
        guest: Any = self._example
        try:
            return discover(guest)
        except NotDiscovered as error:
            raise NoApplication(f"{self.path} serves no endpoint: {error}") from error
        except ImportError as error:
            raise NoApplication(f"{self.path} is an ASGI application: {error}") from error

    @cached_property
    def deployment_id(self) -> str:
        """What the application is called where a server is given it: the name of this version of it, as in `dev`."""
        return deployment_id(self._example.fingerprint())

    @cached_property
    def _example(self) -> App:
        try:
            return self.load()
        except NoApplication:
            raise
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            raise NoApplication(f"{self.path} cannot be imported from {os.getcwd()}: {found}") from error
