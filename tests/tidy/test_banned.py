"""Product code uses none of the banned names."""

from __future__ import annotations

import pytest

from tests.tidy.banned_rules import ATTRIBUTES, CALLS, MODULES, RANDOM, SETS, Ban, check_banned
from tests.tidy.sources import Source, product_sources, report

SOMEWHERE = "runtime/understudy_runtime/partition.py"


def test_the_product_is_free_of_banned_names() -> None:
    findings = [finding for source in product_sources() for finding in check_banned(source)]
    assert not findings, report(findings)


@pytest.mark.parametrize("ban", MODULES, ids=lambda ban: ban.name)
@pytest.mark.parametrize("statement", ["import {}", "from {} import thing", "def f():\n    import {}"])
def test_a_banned_module_is_found_with_its_replacement(ban: Ban, statement: str) -> None:
    (finding,) = check_banned(Source.parse(SOMEWHERE, statement.format(ban.name)))
    assert ban.instead in finding.message


@pytest.mark.parametrize("ban", ATTRIBUTES, ids=lambda ban: ban.name)
def test_a_banned_attribute_is_found_however_it_is_reached(ban: Ban) -> None:
    module, _, name = ban.name.partition(".")
    for text in (f"x = {ban.name}()", f"x = thing.{ban.name}()", f"from {module} import {name}"):
        assert [f.message for f in check_banned(Source.parse(SOMEWHERE, text))] == [f"{ban.name}: {ban.instead}"]


@pytest.mark.parametrize("ban", CALLS, ids=lambda ban: ban.name)
def test_a_banned_call_is_found(ban: Ban) -> None:
    (finding,) = check_banned(Source.parse(SOMEWHERE, f"def f(x):\n    return {ban.name}(x)"))
    assert finding.line == 2
    assert ban.instead in finding.message


@pytest.mark.parametrize("ban", [*MODULES, *ATTRIBUTES, *CALLS, RANDOM], ids=lambda ban: ban.name)
def test_each_exception_has_a_reason(ban: Ban) -> None:
    assert all(ban.allowed.values())


def test_an_allowed_file_may() -> None:
    assert not check_banned(Source.parse("runtime/understudy_runtime/real_world.py", "import time\nimport socket"))


@pytest.mark.parametrize(
    "text", ["import random\nx = random.random()", "import random\nx = random.Random()", "from random import choice"]
)
def test_the_coin_is_found(text: str) -> None:
    assert RANDOM.instead in check_banned(Source.parse(SOMEWHERE, text))[0].message


def test_a_seeded_generator_passes() -> None:
    assert not check_banned(Source.parse(SOMEWHERE, "import random\nx = random.Random(seed)\ny: random.Random = x"))


@pytest.mark.parametrize(
    "text",
    [
        "for x in {1, 2}: pass",
        "names = set(y)\nfor x in names: pass",
        "class A:\n    def f(self):\n        self._open: set[int] = z\n        return [x for x in self._open]",
        "def f(names: frozenset[str]): return list(names)",
        "x = ','.join({a for a in b})",
        "names = set(y)\nx = names.pop()",
        "x = [*{1, 2}]",
        "for x in set(a) - set(b): pass",
        "x = {k: 1 for k in set(a)}",
    ],
)
def test_an_iterated_set_is_found(text: str) -> None:
    assert [finding.message for finding in check_banned(Source.parse(SOMEWHERE, text))] == [SETS]


@pytest.mark.parametrize(
    "text",
    [
        "for x in sorted({1, 2}): pass",
        "x = len({1, 2}) + sum(y for y in {1, 2})",
        "names = set(y)\nfor x in z:\n    if x in names: pass",
        "for x in {1: 2}: pass",
        "names = {}\nnames = {1: 2}\nfor x in names: pass",
    ],
)
def test_an_orderless_use_of_a_set_passes(text: str) -> None:
    assert not check_banned(Source.parse(SOMEWHERE, text))
