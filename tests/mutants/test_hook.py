"""The import hook, on a toy module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from understudy_sim.mutants.edit import Mutant, MutantError
from understudy_sim.mutants.hook import forget_product, install, source_of, uninstall

TOY = '"""A toy."""\n\ndef largest(rows):\n    return max(rows)\n\nMANY = 1 + 1\n'
MUTANT = Mutant(
    id="T1",
    group="T",
    module="toy_package.toy",
    before="return max(rows)",
    after="return min(rows)",
    why="the smallest is taken for the largest",
    needs=("workload",),
)


def _changed(*, before: str = MUTANT.before, after: str = MUTANT.after, module: str = MUTANT.module) -> Mutant:
    return attrs.evolve(MUTANT, before=before, after=after, module=module)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "toy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    yield folder / "toy.py"
    sys.meta_path[:] = finders
    for name in ("toy_package.toy", "toy_package"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def test_the_edit_is_applied_at_import_and_the_file_stays_as_it_is(toy: Path) -> None:
    install(MUTANT)
    module = importlib.import_module("toy_package.toy")
    assert module.largest([1, 2, 3]) == 1
    assert module.__file__ == str(toy)
    assert toy.read_text() == TOY


def test_an_edit_ignores_what_was_compiled_before(toy: Path) -> None:
    assert importlib.import_module("toy_package.toy").largest([1, 2]) == 2
    del sys.modules["toy_package.toy"]
    finder = install(MUTANT)
    assert importlib.import_module("toy_package.toy").largest([1, 2]) == 1
    del sys.modules["toy_package.toy"]
    uninstall(finder)
    assert importlib.import_module("toy_package.toy").largest([1, 2]) == 2


def test_a_module_imported_already_refuses(toy: Path) -> None:
    importlib.import_module("toy_package.toy")
    with pytest.raises(MutantError, match="imported already"):
        install(MUTANT)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"before": "return median(rows)"}, "found 0 times"),
        ({"before": "1"}, "found 2 times"),
        ({"after": "return max(rows)"}, "the text after is the text before"),
        ({"module": "toy_package.gone"}, "no module toy_package.gone"),
        ({"module": "gone.toy"}, "no module gone"),
        ({"module": "sys"}, "no module sys"),
    ],
)
def test_a_mutant_that_does_not_fit_is_refused_by_name(toy: Path, change: dict[str, str], found: str) -> None:
    before = list(sys.meta_path)
    mutant = _changed(**change)
    sys.modules.pop("toy_package.toy", None)
    saved = sys.modules.pop(mutant.module, None)
    try:
        with pytest.raises(MutantError, match=rf"mutant T1: .*{found}"):
            install(mutant)
    finally:
        if saved is not None:
            sys.modules[mutant.module] = saved
    assert sys.meta_path == before


def test_needs_are_words_of_the_list() -> None:
    with pytest.raises(MutantError, match="words of"):
        attrs.evolve(MUTANT, needs=("luck",))
    assert not MUTANT.needs_a_fault
    assert attrs.evolve(MUTANT, needs=("crash",)).needs_a_fault


def test_the_source_is_read_without_importing(toy: Path) -> None:
    assert source_of(MUTANT) == TOY
    assert "toy_package.toy" not in sys.modules


def test_the_product_is_forgotten_but_for_the_mutants(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = dict(sys.modules)
    monkeypatch.setattr(sys, "modules", modules)
    for name in ("understudy", "understudy.vm", "understudy_runtime.node", "understudy_sim"):
        modules[name] = sys
    forget_product()
    left = [name for name in modules if name.split(".")[0].startswith("understudy")]
    assert left
    assert all(name.startswith("understudy_sim.mutants") for name in left)
