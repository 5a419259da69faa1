"""Every incarnation has modules of its own; nobody else sees them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from understudy_sim.kernel.modules import FreshModules


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "kernel_shop"
    folder.mkdir()
    (folder / "__init__.py").write_text("from kernel_shop import state\n")
    (folder / "state.py").write_text("import collections\nseen = []\nloads = 0\nloads += 1\n")
    (folder / "app.py").write_text(
        "from kernel_shop.state import seen\nfrom kernel_shop import state\nimport kernel_shop\n"
        "class Thing: pass\ndef visit(x):\n    seen.append(x)\n    return list(state.seen)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield "kernel_shop.app"
    for name in [name for name in sys.modules if name.startswith("kernel_shop")]:
        del sys.modules[name]


def test_globals_die_with_the_incarnation(shop: str) -> None:
    fresh = FreshModules()
    first, second = fresh.load(shop), fresh.load(shop)
    assert first is not second
    assert first.visit(1) == [1]
    assert first.visit(2) == [1, 2]
    assert second.visit(3) == [3], "and so do those of the modules it imports"
    assert first.Thing is not second.Thing
    assert first.state is not second.state
    assert first.kernel_shop.state is first.state
    assert first.__name__ == second.__name__ == shop
    assert first.state.collections is second.state.collections, "the library is shared"


def test_sys_modules_is_as_it_was(shop: str) -> None:
    fresh = FreshModules()
    fresh.load(shop)
    before = dict(sys.modules)
    path = list(sys.meta_path)
    loaded = fresh.load(shop)
    assert dict(sys.modules) == before
    assert sys.meta_path == path
    assert sys.modules[shop] is not loaded


def test_an_import_that_fails_leaves_no_trace(shop: str, tmp_path: Path) -> None:
    (tmp_path / "kernel_shop" / "broken.py").write_text(
        "from kernel_shop import state\nif state.seen: raise ValueError\n"
    )
    fresh = FreshModules()
    fresh.load("kernel_shop.broken")
    before = dict(sys.modules)
    with pytest.raises(ModuleNotFoundError):
        fresh.load("kernel_shop.nowhere")
    assert dict(sys.modules) == before
