"""The page about properties has each of them, with a command that can be run."""

from __future__ import annotations

import re

import pytest
from understudy_sim.mutants.catalogue import mutant_by_id
from understudy_sim.stage.properties import PROPERTIES

from tests.docs.pages import FENCE
from tests.tidy.sources import ROOT

PAGE = (ROOT / "docs/how-to/properties.md").read_text()
SECTIONS = dict(re.findall(r"^### (P\d+) [^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
NUMBERS = [one.number for one in PROPERTIES]
INVARIANTS = (ROOT / "docs/invariants.md").read_text()


def test_each_property_has_a_section() -> None:
    assert sorted(SECTIONS) == sorted(NUMBERS)
    assert f"P1 to P{len(NUMBERS)}" in PAGE


@pytest.mark.parametrize("number", NUMBERS)
def test_a_section_has_the_name_of_the_claim_and_a_command_that_exists(number: str) -> None:
    (name,) = re.findall(rf"^\*\*{number}, ([^*]+)\.\*\*", INVARIANTS, re.MULTILINE)
    assert f"### {number} {name}\n" in PAGE
    ((language, command),) = FENCE.findall(SECTIONS[number])
    assert language == "console"
    words = command.split()
    (script,) = [word for word in words if word.endswith(".py")]
    assert (ROOT / script).exists()
    if "with" in words:
        assert mutant_by_id(words[words.index("with") + 1])
