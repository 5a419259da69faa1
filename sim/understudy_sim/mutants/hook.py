"""Plants a mutant: an import hook edits the source of its modules while they are imported.

The hook must be in place before the module is imported; `forget_product` makes that so in a process that has imported
it already.  Compiled files are neither read nor written for an edited module.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from understudy_sim.mutants.edit import Mutant, MutantError

PRODUCT = ("understudy", "understudy_runtime", "understudy_sim")
KEPT = "understudy_sim.mutants"


class _MutantLoader(SourceFileLoader):
    """Loads one module from its file, with the bug in it."""

    def __init__(self, mutant: Mutant, module: str, path: str) -> None:
        super().__init__(module, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_source(fullname)
        assert text is not None, "a module loaded from a source file has a source"
        code = compile(self._mutant.applied_to(text, fullname), self.path, "exec", dont_inherit=True)
        assert isinstance(code, CodeType)
        return code


class MutantFinder(MetaPathFinder):
    """Finds the mutant's modules; leaves every other to the finders behind it."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec with the editing loader.  Raises MutantError when it has no source file."""
        if fullname not in self.mutant.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            raise MutantError(f"mutant {self.mutant.id}: there is no source file for module {fullname}")
        spec.loader = _MutantLoader(self.mutant, fullname, spec.loader.path)
        return spec


def install(mutant: Mutant) -> MutantFinder:
    """Plant *mutant* for every later import in this process.

    Raises MutantError when a module of it is imported already, or when its text no longer fits.
    """
    for module in mutant.modules:
        if module in sys.modules:
            raise MutantError(f"mutant {mutant.id}: {module} is imported already; plant the mutant first")
        mutant.applied_to(source_of(mutant, module), module)
    finder = MutantFinder(mutant)
    sys.meta_path.insert(0, finder)
    return finder


def uninstall(finder: MutantFinder) -> None:
    """Take the hook out again.  Modules imported meanwhile keep the bug."""
    sys.meta_path.remove(finder)


def source_of(mutant: Mutant, module: str = "") -> str:
    """The text of *module* (the mutant's first, unless named) as it lies on disk.  The module is not imported."""
    path: Sequence[str] | None = None
    module = module or mutant.module
    names = module.split(".")
    for count in range(1, len(names) + 1):
        spec = PathFinder.find_spec(".".join(names[:count]), path)
        if spec is None:
            raise MutantError(f"mutant {mutant.id}: there is no module {'.'.join(names[:count])}")
        path = spec.submodule_search_locations
    assert spec is not None
    if not isinstance(spec.loader, SourceFileLoader):
        raise MutantError(f"mutant {mutant.id}: there is no source file for module {module}")
    text = spec.loader.get_source(module)
    assert text is not None
    return text


def forget_product() -> None:
    """Drop every product module from this process, so that the next import reads its source again."""
    for name in list(sys.modules):
        if name.split(".")[0] in PRODUCT and not (name == KEPT or name.startswith(KEPT + ".")):
            del sys.modules[name]
