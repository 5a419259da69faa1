"""`python -m tests.interop.whole [WORDS]`: the whole contract on every pairing, and what came of it as a table.

pytest runs a sample of it on the pairings that differ only in how an attempt is driven.  WORDS are as for `pytest -k`:
`killed`, `our_server-our_sdk`.  Exit code 1 when a test failed.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.interop.pairings import PAIRINGS

CONTRACT = "tests/interop/test_contract.py"


class Tally:
    """Counts outcomes by pairing, as a plugin of pytest."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of a test, or of a fixture that failed."""
        if report.when != "call" and report.outcome == "passed":
            return
        pairing = pairing_of(report.nodeid)
        if pairing:
            self.outcomes.setdefault(pairing, Counter())[report.outcome] += 1


def pairing_of(nodeid: str) -> str:
    """The pairing in a test's id, which begins with it; empty when there is none."""
    told = nodeid.partition("[")[2].rstrip("]")
    return max((name for name in PAIRINGS if told == name or told.startswith(f"{name}-")), key=len, default="")


def table(outcomes: dict[str, Counter[str]]) -> str:
    """How many tests passed on which pairing."""
    lines = ["| pairing | passed | failed |", "|---|---|---|"]
    for name in PAIRINGS:
        if name in outcomes:
            passed, total = outcomes[name]["passed"], outcomes[name].total()
            lines.append(f"| `{name}` | {passed} | {total - passed} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit code."""
    os.environ["INTEROP_WHOLE"] = "1"
    tally = Tally()
    chosen = ["-k", " ".join(arguments)] if arguments else []
    code = pytest.main(["-q", "-s", CONTRACT, *chosen], plugins=[tally])
    print(table(tally.outcomes))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
