"""The parts of the command line that need no process: loading, the host, the lazy group."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest
import trio
from click.testing import CliRunner
from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.cli.hosting import RealHost
from understudy_runtime.cli.loading import load_app, load_asgi
from understudy_runtime.cli.main import COMMANDS, understudy
from understudy_runtime.node import sole_error

ROOT = Path(__file__).parents[3]


def test_an_application_is_found_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "here_only.py").write_text("import understudy\nclass inner:\n    app = understudy.app(services=[])\n")
    assert load_app("here_only:inner.app", tmp_path).services == {}


@pytest.mark.parametrize("spec", ["", ":", "a:", ":b", "a"])
def test_a_spec_without_both_halves(spec, tmp_path):
    with pytest.raises(UsageProblem, match="MODULE:ATTRIBUTE"):
        load_app(spec, tmp_path)


class Callable3:
    """An application as a class makes them."""

    async def __call__(self, scope, receive, send) -> None: ...


class Foreign(Callable3):
    """One that needs another loop."""


Foreign.__module__ = "restate.server"


def test_any_asgi_application_can_be_hosted(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "asgi_apps.py").write_text(
        "from tests.runtime.cli.test_pieces import Callable3, Foreign\n"
        "import understudy\n"
        "async def function(scope, receive, send): ...\n"
        "async def too_few(scope): ...\n"
        "def plain(scope, receive, send): ...\n"
        "made, foreign, ours = Callable3(), Foreign(), understudy.app(services=[])\n"
    )
    for name in ("function", "made", "ours"):
        assert callable(load_asgi(f"asgi_apps:{name}", tmp_path))
    for name in ("too_few", "plain", "Callable3"):
        with pytest.raises(UsageProblem, match="not an ASGI application"):
            load_asgi(f"asgi_apps:{name}", tmp_path)
    with pytest.raises(UsageProblem, match=r"needs asyncio.*hypercorn asgi_apps:foreign"):
        load_asgi("asgi_apps:foreign", tmp_path)


class World:
    """The part of a World that a host uses."""

    def now_ms(self) -> int:
        return 5

    async def run_sync(self, function):
        return function()


async def test_the_host_reports_each_place_once(nursery):
    reports = []
    host = RealHost(World(), nursery, lambda *report: reports.append(report))
    for line in (1, 1, 2, 1):
        host.report_hazard("clock", "time.time()", "a.py", line)
    host.report_hazard("entropy", "random()", "a.py", 1)
    assert [(kind, line) for kind, _, _, line in reports] == [("clock", 1), ("clock", 2), ("entropy", 1)]
    assert host.now_ms() == 5
    assert await host.run_sync(lambda: 6) == 6


async def test_a_task_of_the_host_outlives_its_starter(autojump_clock, nursery):
    done = trio.Event()
    host = RealHost(World(), nursery, lambda *report: None)
    before = host.monotonic_ms()

    async def task() -> None:
        await trio.sleep(1)
        done.set()

    host.start_task(task)
    await done.wait()
    assert host.monotonic_ms() - before >= 1000


def test_sole_unwraps_groups_of_one():
    inner = ValueError("x")
    assert sole_error(BaseExceptionGroup("g", [BaseExceptionGroup("g", [inner])])) is inner
    group = ExceptionGroup("g", [inner, KeyError()])
    assert sole_error(group) is group


def test_help_lists_every_command_without_importing_it():
    result = CliRunner().invoke(understudy, ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert name in result.output


def test_every_row_names_a_command():
    context = click.Context(understudy)
    for name in COMMANDS:
        assert isinstance(understudy.get_command(context, name), click.Command)


def test_a_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "understudy_sim.cli.simulate", None)
    result = CliRunner().invoke(understudy, ["simulate", "x"])
    assert result.exit_code == 2
    assert "pip install 'understudy[all]'" in result.output


def test_an_unknown_command_is_bad_usage():
    assert CliRunner().invoke(understudy, ["rehearse"]).exit_code == 2
