"""The pages about faults say what the tables say: every kind, its promise, a strike that can be done; and every gap."""

from __future__ import annotations

import re

import pytest
from understudy_sim.kernel.faults.table import FAULTS
from understudy_sim.stage.endpoint_faults import Busy, Swap
from understudy_sim.stage.faults import PROMISES, Promise
from understudy_sim.stage.not_simulated import GAPS
from understudy_sim.stage.variation import Strike

from tests.tidy.sources import ROOT

PAGE = (ROOT / "docs/how-to/faults.md").read_text()
WORDS = {Promise.SURVIVES: "survives", Promise.STOPS: "stops", Promise.DETECTED: "detected"}
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
HOSTS = {"server", "endpoint", "ann", "payments", "network"}


def test_each_kind_has_a_section() -> None:
    assert SECTIONS.keys() == PROMISES.keys()
    for promise, word in WORDS.items():
        assert f"| {word} | {promise.value} |" in PAGE


def test_each_group_has_a_command_that_allows_it_alone() -> None:
    groups = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    for group in groups:
        (allowed,) = re.findall(r"^understudy simulate .* --faults (\S+)$", group, re.MULTILINE)
        assert set(re.findall(r"^### (\w+)$", group, re.MULTILINE)) <= set(allowed.split(","))


@pytest.mark.parametrize("kind", PROMISES)
def test_a_section_says_the_promise_and_how_to_strike(kind: str) -> None:
    section = SECTIONS[kind]
    assert f"*Promise: {WORDS[PROMISES[kind]]}.*" in section.replace("\n", " ")
    (written,) = re.findall(r"`(Strike\(.*?\))`", section)
    strike = eval(written, {"Strike": Strike})
    assert strike.kind == kind
    assert HOSTS.issuperset(strike.on)


def test_what_is_not_simulated_is_the_table() -> None:
    page = (ROOT / "docs/not-simulated.md").read_text()
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")][2:]
    assert [tuple(cell.strip() for cell in row) for row in rows] == [tuple(gap) for gap in GAPS]


def test_every_fault_says_its_budget() -> None:
    for budget in (*(fault.budget for fault in FAULTS.values()), Busy.budget, Swap.budget):
        assert len(budget) > 8
