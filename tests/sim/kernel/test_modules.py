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


def test_unchanged_modules_of_a_dead_incarnation_are_used_again(shop: str) -> None:
    fresh = FreshModules()
    first = fresh.load(shop, "here")
    assert fresh.load(shop, "here") is first
    assert fresh.load(shop, "there") is not first, "another place is another incarnation"
    assert fresh.load(shop) is not first


def test_changed_modules_are_imported_again(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = FreshModules()
    first = fresh.load(shop, "here")
    first.visit(1)
    second = fresh.load(shop, "here")
    assert second is not first
    assert second.state.seen == []
    second.Thing.added = 1
    third = fresh.load(shop, "here")
    assert third is not second
    third.state.loads = 5
    fourth = fresh.load(shop, "here")
    assert fourth is not third
    fourth.visit.note = "x"
    fifth = fresh.load(shop, "here")
    assert fifth is not fourth
    monkeypatch.setenv("KERNEL_SHOP", "open")
    assert fresh.load(shop, "here") is not fifth, "an import may have read the environment"


def test_modules_that_asked_the_outside_are_imported_again(shop: str) -> None:
    asked = [0]

    def answers() -> int:
        asked[0] += 1
        return asked[0]

    fresh = FreshModules(answers)
    assert fresh.load(shop, "here") is not fresh.load(shop, "here")


@pytest.mark.parametrize(
    "line",
    [
        "import itertools; numbers = itertools.count()",
        "import functools\n@functools.lru_cache\ndef cached(x): return x",
        "import random; dice = random.Random(1)",
        "import threading; lock = threading.Lock()",
        "numbers = iter([1, 2])",
        "numbers = (number for number in [1])",
        "buffer = bytearray(3)",
        "import contextvars; current = contextvars.ContextVar('current')",
        "import io; text = io.StringIO()",
        "import collections\nclass Own(collections.OrderedDict): pass\nown = Own()",
        "class Held:\n    def __init__(self): self.numbers = iter([1])\nheld = [{'a': Held()}]",
    ],
)
def test_modules_that_reach_something_unknown_are_imported_again(shop: str, tmp_path: Path, line: str) -> None:
    (tmp_path / "kernel_shop" / "odd.py").write_text(line + "\n")
    fresh = FreshModules()
    assert fresh.load("kernel_shop.odd", "here") is not fresh.load("kernel_shop.odd", "here")


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("rows = {'a': [1]}", "rows['a'].append(2)"),
        ("rows = {'a': {1}}", "rows['a'].add(2)"),
        ("class Box:\n    __slots__ = ('value',)\nbox = Box()", "box.value = 1"),
        ("class Box: pass\nbox = (Box(),)", "box[0].value = 1"),
        ("def make():\n    seen = []\n    return lambda x: seen.append(x)\nadd = make()", "add(1)"),
        ("def make():\n    n = 0\n    def up():\n        nonlocal n; n += 1\n    return up\nup = make()", "up()"),
        ("def default(into=[]): into.append(1)", "default()"),
        ("import dataclasses\n@dataclasses.dataclass\nclass Row:\n    n: int = 0\nrow = Row()", "row.n += 1"),
        ("import collections; queue = collections.deque()", "queue.append(1)"),
        ("import enum\nclass Color(enum.Enum):\n    RED = []", "Color.RED.value.append(1)"),
        ("import functools\ndef f(a): a.append(1)\ng = functools.partial(f, [])", "g()"),
        ("class Box:\n    rows = []\n    def put(self): self.rows.append(1)\nput = Box().put", "put()"),
        ("class Rows(dict): pass\nrows = Rows()", "rows['a'] = 1"),
    ],
)
def test_every_change_is_seen(shop: str, tmp_path: Path, line: str, change: str) -> None:
    (tmp_path / "kernel_shop" / "odd.py").write_text(line + "\n")
    fresh = FreshModules()
    first = fresh.load("kernel_shop.odd", "here")
    assert fresh.load("kernel_shop.odd", "here") is first
    exec(change, dict(vars(first)))
    assert fresh.load("kernel_shop.odd", "here") is not first
