"""Files and functions are short, open with a claim and keep no state."""

from __future__ import annotations

import pytest

from tests.tidy.shape_rules import (
    FILE_LINES_MAX,
    FUNCTION_LINES_MAX,
    check_docstring,
    check_lengths,
    check_median,
    check_module_state,
)
from tests.tidy.sources import PACKAGE_FOLDERS, Source, product_sources, python_sources, report


def test_lengths() -> None:
    findings = [finding for source in python_sources() for finding in check_lengths(source)]
    for folder in PACKAGE_FOLDERS:
        findings += check_median(folder, [source for source in product_sources() if source.path.startswith(folder)])
    assert not findings, report(findings)


def test_each_module_opens_with_a_claim() -> None:
    findings = [finding for source in python_sources() for finding in check_docstring(source)]
    assert not findings, report(findings)


def test_nothing_is_mutable_at_module_level() -> None:
    findings = [finding for source in product_sources() for finding in check_module_state(source)]
    assert not findings, report(findings)


def test_a_long_function_is_found() -> None:
    body = "    x = 1\n" * FUNCTION_LINES_MAX
    (finding,) = check_lengths(Source.parse("a.py", f"def f():\n{body}"))
    assert "f has 71 lines" in finding.message


def test_a_docstring_does_not_make_a_function_long() -> None:
    body = "    x = 1\n" * (FUNCTION_LINES_MAX - 1)
    assert not check_lengths(Source.parse("a.py", f'def f():\n    """What.\n\n    Why.\n    """\n{body}'))


def test_a_long_file_is_found() -> None:
    (finding,) = check_lengths(Source.parse("a.py", "x = 1\n" * (FILE_LINES_MAX + 1)))
    assert "601 lines" in finding.message


def test_a_high_median_is_found() -> None:
    source = Source.parse("a.py", "".join(f"def f{i}():\n" + "    x = 1\n" * 10 for i in range(3)))
    assert "median function has 11 lines" in check_median("sdk/", [source])[0].message


@pytest.mark.parametrize("text", ["x = 1", '"""A title without an end"""', "# a comment\n"])
def test_a_module_without_a_claim_is_found(text: str) -> None:
    assert check_docstring(Source.parse("a.py", text))


@pytest.mark.parametrize(
    "text",
    [
        "CACHE = {}",
        "SEEN = set()",
        "QUEUE: list[int] = []",
        "import collections\nQUEUE = collections.deque()",
        "NAMES = [x for x in y]",
        "COUNTER = itertools.count()",
        "ROWS: dict[str, int] = dict()",
        "TABLE = defaultdict[str, int](int)",
        "try:\n    CACHE = {}\nexcept E:\n    pass",
        "def f():\n    global x\n    x = 1",
    ],
)
def test_module_state_is_found(text: str) -> None:
    assert check_module_state(Source.parse("a.py", text))


@pytest.mark.parametrize(
    "text",
    [
        "ROWS = (1, 2)",
        "TABLE: Final[Mapping[str, int]] = {'a': 1}",
        "TABLE = MappingProxyType({'a': 1})",
        "NAMES = frozenset({'a'})",
        "__all__ = ['a']",
        "def f():\n    rows = []\n    return rows",
        "class A:\n    def f(self):\n        self.rows = {}",
    ],
)
def test_constants_pass(text: str) -> None:
    assert not check_module_state(Source.parse("a.py", text))
