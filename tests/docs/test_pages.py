"""Pages: Python blocks run, commands exist, links lead somewhere, what they name is in the tree."""

from __future__ import annotations

import re

import click
import pytest
from understudy_runtime.cli.main import understudy

from tests.docs.pages import Block, all_blocks, blocks, broken_links, commands, pages
from tests.tidy.sources import ROOT

LANGUAGES = ("python", "console", "bash", "sh", "text", "toml", "json", "")
# In the pages, a file of the product may be written without its package folder: `machine/apply.py`.
ROOTS = (
    "",
    "sdk/understudy/",
    "runtime/understudy_runtime/",
    "sim/understudy_sim/",
    "sim/understudy_sim/stage/",
    "sim/understudy_sim/stage/properties/",
    "sim/understudy_sim/kernel/",
)
# Names of roles, one in every part.
ROLES = ("core.py", "shell.py")
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|md|proto))`")


@pytest.mark.parametrize("block", all_blocks("python"), ids=str)
def test_python_blocks_run(block: Block) -> None:
    code = compile("\n" * (block.line - 1) + block.text, block.path, "exec", dont_inherit=True)
    exec(code, {"__name__": "example"})


@pytest.mark.parametrize("path", pages())
def test_each_block_says_its_language(path: str) -> None:
    found = [block for block in blocks(path, (ROOT / path).read_text()) if block.language not in LANGUAGES]
    assert not found


@pytest.mark.parametrize("path", pages())
def test_links_lead_somewhere(path: str) -> None:
    assert not broken_links(path, (ROOT / path).read_text())


@pytest.mark.parametrize("path", pages())
def test_files_named_in_a_page_exist(path: str) -> None:
    named = NAMED_FILE.findall((ROOT / path).read_text())
    folder = str((ROOT / path).parent.relative_to(ROOT)) + "/"
    missing = [n for n in named if n not in ROLES and not any((ROOT / root / n).exists() for root in (*ROOTS, folder))]
    assert not missing


def _shell_commands(name: str) -> list[tuple[str, list[str]]]:
    return [(str(b), words) for b in all_blocks("bash", "sh", "console") for words in commands(b.text, name)]


@pytest.mark.parametrize(("where", "words"), _shell_commands("understudy"))
def test_commands_in_the_pages_parse(where: str, words: list[str]) -> None:
    with click.Context(understudy, info_name="understudy") as context:
        command = understudy.get_command(context, words[0])
        assert command is not None, f"{where}: there is no command {words[0]}"
        with command.make_context(words[0], words[1:], parent=context):
            pass


def test_a_broken_link_is_found() -> None:
    assert broken_links("README.md", "see [this](docs/nowhere.md) and [that](LICENSE)") == [
        "README.md: docs/nowhere.md"
    ]


def test_a_command_line_is_found() -> None:
    block = "cd somewhere\nunderstudy dev a:b \\\n    --data x  # a comment\ncurl localhost\n"
    assert list(commands(block, "understudy")) == [["dev", "a:b", "--data", "x"]]


def test_readme_has_the_three_blocks_a_newcomer_needs() -> None:
    setup, tests, dev, calls = [block.text for block in blocks("README.md", (ROOT / "README.md").read_text())][:4]
    assert "pip install -e '.[all]'" in setup
    assert "understudy simulate scenarios/ticket_tour.py --seeds 200" in setup
    assert "understudy simulate scenarios/ticket_tour_naive.py --expect-failure" in setup
    assert "pip install -e '.[all,dev]'" in tests
    assert [line for line in tests.splitlines() if line][-1] == "pytest -n 2"
    assert "understudy dev scenarios.ticket_tour:app" in dev
    assert all(line.startswith("curl localhost:8080/") for line in calls.splitlines())


def test_the_check_command_runs_what_the_readme_says() -> None:
    lines = [line.strip() for line in (ROOT / ".ci/run").read_text().splitlines()]
    assert "pytest -n 2" in lines


def test_each_decision_is_numbered_and_says_why() -> None:
    decisions = [path for path in pages() if path.startswith("docs/decisions/")]
    numbers = [int(path.removeprefix("docs/decisions/")[:4]) for path in decisions if "README" not in path]
    assert numbers == list(range(1, len(numbers) + 1))
    for path in decisions:
        text = (ROOT / path).read_text()
        missing = [h for h in ("Choice", "Reasons", "Refused", "What would change our mind") if f"**{h}.**" not in text]
        assert not missing or "README" in path, f"{path}: {missing}"
