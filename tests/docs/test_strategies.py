"""The page about strategies has each of them, with a command of its own."""

from __future__ import annotations

import re

import pytest
from understudy_sim.stage.strategies import DEFAULT, STRATEGIES

from tests.docs.pages import FENCE
from tests.tidy.sources import ROOT

PAGE = (ROOT / "docs/how-to/choose-a-strategy.md").read_text()
SECTIONS = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_each_strategy_has_a_section() -> None:
    assert SECTIONS.keys() == STRATEGIES.keys()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_section_says_when_to_take_it_and_has_a_command(name: str) -> None:
    assert re.search(r"[Tt]ake\s+it", SECTIONS[name])
    ((language, command),) = FENCE.findall(SECTIONS[name])
    assert language == "console"
    assert (f"--strategy {name} " in command) == (name != DEFAULT)
