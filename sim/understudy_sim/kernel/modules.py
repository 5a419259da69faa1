"""A fresh import of user modules per incarnation, so that their globals die with their process.

`FreshModules.load` imports a module, and every other user module it imports, into objects of their own;
`sys.modules` is put back as it was, so nobody else sees them.  Code is read and compiled once.  What counts
as a user module: everything under the top-level name of the module asked for.  An import that a function does
later, at call time, gets the shared module: it is the one thing that outlives an incarnation, so import at
the top of the file.

An import is dear.  Modules of a dead incarnation are therefore used again by the next one in the same *place*, if they
are provably as they were right after their import (`pristine.py`), and if that import had looked at nothing that may be
different now: no clock and no entropy was asked meanwhile, and the environment is the same.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any

import attrs

from understudy_sim.kernel.pristine import Pristine


@attrs.frozen
class _Kept:
    """A module that may be used again, how everything it reaches was, and what it saw while it was imported."""

    module: ModuleType
    pristine: Pristine
    environment: dict[str, str]


class FreshModules:
    """Keep one per program run: it holds the compiled code, and modules nobody has changed.

    *answers* says how often the outside was asked so far (a fence counts that).  Objects of the packages *shared* are
    the same for all incarnations, whatever is imported.
    """

    def __init__(self, answers: Callable[[], int] = int, shared: tuple[str, ...] = ()) -> None:
        self._specs: dict[str, importlib.machinery.ModuleSpec | None] = {}
        self._codes: dict[str, CodeType] = {}
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._answers = answers
        self._shared = shared

    def load(self, name: str, place: str | None = None) -> ModuleType:
        """Import *name* afresh.  Raises what importing it raises; ModuleNotFoundError when there is none.

        With *place*, where one incarnation lives at a time, modules of a dead one may be used again.
        """
        assert name, "a module has a name"
        if place is None:
            return self._load(name, {})
        kept = self._kept.pop((name, place), None)
        environment = dict(os.environ)
        if kept is None or kept.environment != environment or not kept.pristine.holds():
            kept = None
            found: dict[str, ModuleType] = {}
            answers = self._answers()
            module = self._load(name, found)
            pristine = Pristine.of(found.values(), self._shared) if self._answers() == answers else None
            if pristine is None:
                return module
            kept = _Kept(module, pristine, environment)
        self._kept[name, place] = kept
        return kept.module

    def _load(self, name: str, found: dict[str, ModuleType]) -> ModuleType:
        importlib.import_module(name)  # Once, shared: resolvers of type hints look classes up in sys.modules.
        root = name.partition(".")[0]
        with self._apart(root, found):
            return importlib.import_module(name)

    @contextmanager
    def _apart(self, root: str, found: dict[str, ModuleType]) -> Iterator[None]:
        prefix = f"{root}."
        shared = {name: sys.modules[name] for name in sys.modules if name.startswith(prefix) or name == root}
        finder = _CachedFinder(self, root)
        for name in shared:
            del sys.modules[name]
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name.startswith(prefix) or name == root]:
                found[name] = sys.modules.pop(name)
            sys.modules.update(shared)

    def spec(self, name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
        """Where *name* is found, looked up once; only plain Python source is cached."""
        if name not in self._specs:
            self._specs[name] = _find(name, path)
        return self._specs[name]

    def code(self, spec: importlib.machinery.ModuleSpec) -> CodeType:
        """The compiled module."""
        code = self._codes.get(spec.name)
        if code is None:
            loader = spec.loader
            assert isinstance(loader, importlib.abc.InspectLoader), "only source modules are cached"
            found = loader.get_code(spec.name)
            assert found is not None, f"{spec.name} has no code"
            code = self._codes[spec.name] = found
        return code


class _CachedFinder(importlib.abc.MetaPathFinder):
    """Finds user modules by the cached spec and runs the cached code."""

    def __init__(self, cache: FreshModules, root: str) -> None:
        self._cache = cache
        self._root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != self._root:
            return None
        found = self._cache.spec(fullname, path)
        if found is None or not isinstance(found.loader, importlib.abc.InspectLoader):
            return found
        spec = importlib.util.spec_from_file_location(
            fullname,
            found.origin,
            loader=_CachedLoader(self._cache, found),
            submodule_search_locations=found.submodule_search_locations,
        )
        assert spec is not None, "a module with an origin has a spec"
        return spec


class _CachedLoader(importlib.abc.Loader):
    def __init__(self, cache: FreshModules, spec: importlib.machinery.ModuleSpec) -> None:
        self._cache = cache
        self._spec = spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._cache.code(self._spec), module.__dict__)


def _find(name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        if isinstance(finder, _CachedFinder):
            continue
        find: Any = getattr(finder, "find_spec", None)
        spec: importlib.machinery.ModuleSpec | None = find(name, path) if find is not None else None
        if spec is not None:
            return spec
    return None
