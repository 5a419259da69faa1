"""The fingerprint of an application: what changes it, what does not."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from understudy import Endpoint, Service, app
from understudy.fingerprint import FINGERPRINT_BYTES, reached

HELPERS = '''"""Helpers."""
PRICE = 40


def total(seats):
    """What they cost."""
    return PRICE * len(seats)
'''
SERVICES = '''"""Services."""
from understudy import Service, app as make
import helpers_of_it

service = Service("Shop")


@service.handler()
async def buy(ctx, seats):
    """Buy *seats*."""
    cost = helpers_of_it.total(seats)  # all of them
    return await ctx.run("pay", lambda: cost)


app = make(services=[service])
'''
Fingerprint = Callable[..., str]


@pytest.fixture
def fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fingerprint]:
    """The fingerprint of the two modules above, edited."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def found(*edits: tuple[str, str], version: str | None = None) -> str:
        texts = {"services_of_it": SERVICES, "helpers_of_it": HELPERS}
        for old, new in edits:
            assert any(old in text for text in texts.values()), old
            texts = {name: text.replace(old, new) for name, text in texts.items()}
        for name, text in texts.items():
            sys.modules.pop(name, None)
            (tmp_path / f"{name}.py").write_text(text)
        linecache.clearcache()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        made = import_module("services_of_it").app
        made.version = version
        assert len(made.fingerprint()) == FINGERPRINT_BYTES
        return str(made.fingerprint().hex())

    yield found
    for name in ("services_of_it", "helpers_of_it"):
        sys.modules.pop(name, None)


def test_the_same_code_has_the_same_one(fingerprint: Fingerprint) -> None:
    assert fingerprint() == fingerprint()


@pytest.mark.parametrize(
    "edit",
    [
        ("  # all of them", ""),
        ('    """Buy *seats*."""\n', ""),
        ("Buy *seats*.", "Buy more."),
        ('"pay", lambda: cost)', '"pay",\n        lambda: cost,\n    )'),
        ('"""Helpers."""\n', '"""Other words."""\n\n\n'),
        ('Service("Shop")', "Service('Shop')"),
    ],
    ids=["comment", "docstring gone", "docstring changed", "formatting", "module docstring", "quotes"],
)
def test_what_does_not_count(fingerprint: Fingerprint, edit: tuple[str, str]) -> None:
    assert fingerprint(edit) == fingerprint()


@pytest.mark.parametrize(
    "edit",
    [
        ('"pay"', '"charge"'),
        ('Service("Shop")', 'Service("Store")'),
        ("async def buy", "async def sell"),
        ("lambda: cost", "lambda: cost + 1"),
        ("PRICE = 40", "PRICE = 41"),
        ("PRICE * len", "2 * PRICE * len"),
    ],
    ids=["run name", "service", "handler", "run body", "a helper's constant", "a helper's body"],
)
def test_what_counts(fingerprint: Fingerprint, edit: tuple[str, str]) -> None:
    assert fingerprint(edit) != fingerprint()


def test_a_constant_that_was_imported_by_name_counts(fingerprint: Fingerprint) -> None:
    by_name = ("import helpers_of_it\n", "from helpers_of_it import PRICE\n"), ("helpers_of_it.total(seats)", "PRICE")
    assert fingerprint(*by_name, ("PRICE = 40", "PRICE = 41")) != fingerprint(*by_name)


def test_what_a_handler_imports_when_it_runs_does_not_count(fingerprint: Fingerprint) -> None:
    inside = ("import helpers_of_it\n", ""), ("    cost = ", "    import helpers_of_it\n\n    cost = ")
    before = fingerprint(*inside)
    import_module("helpers_of_it")
    assert import_module("services_of_it").app.fingerprint().hex() == before


def test_relative_imports_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "project_of_it"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "prices.py").write_text("PRICE = 40\n")
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "shop.py").write_text("from ..prices import PRICE\nfrom . import terms\n")
    (package / "deep" / "terms.py").write_text("DAYS = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import_module("project_of_it.deep.shop")
    names = {f"project_of_it{rest}" for rest in (".prices", ".deep.shop", ".deep.terms")}
    assert names <= set(reached(["project_of_it.deep.shop"]))


def test_a_version_counts_alone(fingerprint: Fingerprint) -> None:
    assert fingerprint(version="7") == fingerprint(('"pay"', '"charge"'), version="7")
    assert fingerprint(version="7") != fingerprint(version="8")
    assert fingerprint(version="7") != fingerprint()


def test_libraries_are_not_of_the_project(fingerprint: Fingerprint) -> None:
    fingerprint()
    assert set(reached(["services_of_it"])) == {"services_of_it", "helpers_of_it"}
    assert reached(["json", "trio", "understudy.endpoint", "no_such_module"]) == {}


def test_code_without_source_is_told_apart_too() -> None:
    def made(value: int) -> bytes:
        service = Service("Typed")
        names: dict[str, object] = {"service": service, "__name__": "typed_in"}
        exec(f"@service.handler()\nasync def say(ctx):\n    return {value}\n", names)
        return app([service]).fingerprint()

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_the_version_of_an_endpoint() -> None:
    service = Service("Empty")
    assert Endpoint().bind(service).set_version("1").app().fingerprint() == app([service], version="1").fingerprint()
    with pytest.raises(ValueError, match="not empty"):
        app([service], version="")
