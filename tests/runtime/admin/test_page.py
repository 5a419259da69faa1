"""The admin's page in the docs names every route with its methods, and every code with its status."""

from __future__ import annotations

import re
from pathlib import Path

from understudy_runtime.admin import core, deployments

PAGE = (Path(__file__).parents[3] / "docs" / "admin.md").read_text()
ROUTE_ROW = re.compile(r"^\| `/([^`]*)` \| ([A-Z, ]+) \|", re.MULTILINE)
CODE_ROW = re.compile(r"^\| (META[0-9]{4}) \| ([0-9]{3}) \|", re.MULTILINE)


def test_every_route_is_on_the_page() -> None:
    absent = [path for path, _, _ in core.MISSING]
    expected = {}
    for path, methods in core.ROUTES:
        if path in absent:
            continue
        if path.startswith("internal/"):
            path = "internal/invocations_batch_operations/{}"
        expected[path] = ", ".join(methods)
    assert dict(ROUTE_ROW.findall(PAGE)) == expected


def test_every_code_is_on_the_page() -> None:
    expected = {code: str(status) for status, code in deployments.REFUSALS.values() if code}
    assert dict(CODE_ROW.findall(PAGE)) == expected
