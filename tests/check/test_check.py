"""Five edits that break what is in flight are caught, five others pass; from folder, admin and file alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from understudy_runtime.cli.check import check_command
from understudy_runtime.cli.journals import document, read_document
from understudy_runtime.real_world import RealDisk

from tests.check.tour import Stopped, asked_after_an_upgrade, edited, stopped_tour
from tests.docs.pages import blocks, commands
from tests.tidy.sources import ROOT

PAY = '    paid = await ctx.run_typed("charge", pay)\n'
KEY = '    key = await ctx.run_typed("payment key", lambda: str(uuid.uuid4()))\n'
MAIL = '    await ctx.run_typed("mail", mail)\n'
CALL = "    paid = await ctx.service_call(handle, arg=Order(user=ctx.key(), seats=sorted(holds)))\n"

BREAKING: Mapping[str, tuple[Mapping[str, str], str, str]] = {
    "reordered_steps": (
        {
            KEY: "    invocation_id = ctx.request().id\n    key = invocation_id\n",
            "    invocation_id = ctx.request().id\n    amount": "    amount",
            PAY: PAY + '    await ctx.run_typed("payment key", lambda: str(uuid.uuid4()))\n',
        },
        "run 'payment key'",
        "run 'charge'",
    ),
    "removed_step": ({KEY: "    key = ctx.request().id\n"}, "run 'payment key'", "run 'charge'"),
    "changed_run_name": ({'"charge", pay': '"payment", pay'}, "run 'charge'", "run 'payment'"),
    "changed_target": (
        {'@checkout_service.handler("handle")': '@checkout_service.handler("pay")'},
        "call CheckoutService/handle",
        "call CheckoutService/pay",
    ),
    "changed_await": (
        {CALL: '    await ctx.signal("approved")\n' + CALL},
        "call CheckoutService/handle",
        "wait for the signal 'approved'",
    ),
}

COMPATIBLE: Mapping[str, Mapping[str, str]] = {
    "renamed_variable": {
        '    paid = await ctx.run_typed("charge", pay)\n': '    was_paid = await ctx.run_typed("charge", pay)\n',
        '"your seats" if paid else': '"your seats" if was_paid else',
        '    await ctx.run_typed("mail", mail)\n    return paid': MAIL + "    return was_paid",
    },
    "added_log_line": {KEY: KEY + "    print('drew', key)\n"},
    "changed_run_body": {"return await providers.charge(key,": "return not await providers.charge('2' + key,"},
    "added_handler": {
        "# --- carts": "@checkout_service.handler()\nasync def refund(ctx: Context) -> None: ...\n\n\n# --- carts"
    },
    "changed_after_the_last_step": {
        MAIL: MAIL + "    await ctx.sleep(HOLD_FOR)\n",
        CALL: CALL + "    await ctx.sleep(HOLD_FOR)\n",
    },
    "formatted_and_commented": {
        '    amount = SEAT_PRICE * len(order["seats"])': (
            '    amount = (  # cents\n        SEAT_PRICE * len(order["seats"]))'
        )
    },
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    return stopped_tour(tmp_path_factory.mktemp("tour"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(check_command, [str(one) for one in arguments], catch_exceptions=False)


def test_the_code_that_recorded_fits(stopped: Stopped, here: Path) -> None:
    found = run("scenarios.ticket_tour:app", "--data", stopped.data)
    assert found.exit_code == 0, found.output
    assert (
        found.stdout == "4 of 4 journals fit this code; 3 invocations have not begun and will run it from the start\n"
    )


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_is_caught(stopped: Stopped, here: Path, name: str) -> None:
    edits, recorded, replayed = BREAKING[name]
    found = run(edited(here, name, edits), "--data", stopped.data)
    assert found.exit_code == 1, found.output
    was, now = [line for line in found.stdout.splitlines() if line.startswith(("   - ", "   + "))][:2]
    assert recorded in was
    assert "(the journal)" in was
    assert replayed in now
    assert "(this code)" in now
    assert "570: " in found.stdout
    assert "journals fit this code" in found.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", COMPATIBLE)
def test_what_does_not_break_passes(stopped: Stopped, here: Path, name: str) -> None:
    found = run(edited(here, name, COMPATIBLE[name]), "--data", stopped.data)
    assert found.exit_code == 0, found.output


def test_the_admin_and_a_file_say_what_the_folder_says(stopped: Stopped, here: Path) -> None:
    assert found_in(run("--data", stopped.data, "--export", "kept.json"), here) == [
        (one.recorded, one.deployment_id)
        for one in sorted(stopped.asked.journals, key=lambda one: one.recorded.invocation_id)
    ]
    assert stopped.asked.waiting == 3
    assert stopped.asked.is_complete
    assert run("scenarios.ticket_tour:app", "--journal", "kept.json").exit_code == 0
    name = edited(here, "removed_step", BREAKING["removed_step"][0])
    assert run(name, "--journal", "kept.json").exit_code == 1
    assert run(name, "--journal", here).exit_code == 1
    assert run(name, "--journal", "kept.json", "--service", "CartObject").exit_code == 0


def test_what_an_upgrade_parked_is_looked_at(stopped: Stopped, here: Path) -> None:
    shutil.copytree(stopped.data, here / "data")
    asked = asked_after_an_upgrade(here / "data")
    assert [one.recorded for one in asked.journals] == [one.recorded for one in stopped.asked.journals]
    assert "parked" in [one.status for one in asked.journals]
    assert asked.waiting == 3


def found_in(result: Result, folder: Path) -> list[Any]:
    assert result.exit_code == 0, result.output
    read = read_document(json.loads((folder / "kept.json").read_text()))
    return [(one.recorded, one.deployment_id) for one in read]


def test_findings_in_json(stopped: Stopped, here: Path) -> None:
    name = edited(here, "changed_run_name", BREAKING["changed_run_name"][0])
    found = json.loads(run(name, "--data", stopped.data, "--json").stdout)
    assert (found["checked"], found["fitting"], found["waiting"]) == (4, 3, 3)
    assert {one["target"] for one in found["journals"]} == {
        "CartObject/ann/checkout",
        "CartObject/bob/checkout",
        "CheckoutService/handle",
    }
    misfits = [one["misfit"] for one in found["journals"] if not one["fits"]]
    assert [(one["code"], one["step"], one["recorded"], one["replayed"]) for one in misfits] == [
        (570, 2, "run 'charge'", "run 'payment'")
    ]
    fates = sorted(one["fate"].partition(" with")[0] for one in found["journals"] if one["fits"])
    waits = "waits for the result of step 2, call CheckoutService/handle"
    assert fates == [waits, waits, "waits for the result of step 2, run 'payment'"]


def test_a_service_that_is_gone_is_a_misfit(stopped: Stopped, here: Path) -> None:
    name = edited(here, "without_checkout", {"services=[cart, ticket, checkout_service]": "services=[cart, ticket]"})
    found = run(name, "--data", stopped.data)
    assert found.exit_code == 1
    assert "there is no handler CheckoutService/handle here" in found.stdout
    assert run(name, "--data", stopped.data, "--service", "CartObject").exit_code == 0


def test_a_handler_that_never_comes_back_is_interrupted(stopped: Stopped, here: Path) -> None:
    name = edited(here, "spins", {KEY: "    while True: pass\n"})
    found = run(name, "--data", stopped.data, "--time-limit", "0.2")
    assert found.exit_code == 1
    assert "neither waited nor ended within 0.2 s" in found.stdout


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_the_folder_is_left_as_it_is(stopped: Stopped, here: Path) -> None:
    before = contents(stopped.data)
    stopped.data.chmod(0o500)
    try:
        assert run("scenarios.ticket_tour:app", "--data", stopped.data).exit_code == 0
    finally:
        stopped.data.chmod(0o700)
    assert contents(stopped.data) == before


def test_a_folder_in_use_is_refused(stopped: Stopped, here: Path) -> None:
    disk = RealDisk(stopped.data)
    disk.lock("lock")
    try:
        found = run("scenarios.ticket_tour:app", "--data", stopped.data)
    finally:
        disk.unlock()
    assert found.exit_code == 2
    assert "ask it with --admin" in found.stderr


def test_a_damaged_folder_is_refused_by_name(stopped: Stopped, here: Path) -> None:
    data = here / "copy"
    shutil.copytree(stopped.data, data)
    segment = next(path for path in (data / "partition-0").iterdir())
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged.rstrip(bytes(1))) // 3] ^= 0xFF
    segment.write_bytes(damaged)
    found = run("scenarios.ticket_tour:app", "--data", data)
    assert found.exit_code == 2
    assert segment.name in found.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name the application"),
        (("a:b",), "say where the journals are"),
        (("a:b", "--data", ".", "--admin", "http://localhost:1"), "say where the journals are"),
        (("a:b", "--data", "."), "there is no data folder here"),
        (("a:b", "--admin", "ftp://x"), "is no address of an admin"),
        (("a:b", "--admin", "http://[::1"), "is no address of an admin"),
        (("a:b", "--admin", "http://127.0.0.1:99999"), "is no address of an admin"),
        (("a:b", "--admin", "http://127.0.0.1:1"), "cannot be asked"),
        (("a:b", "--admin", "http://127.0.0.1:1", "--admin-token", "a\nb"), "printable"),
        (("a:b", "--journal", "folder"), "holds no .json files"),
        (("a:b", "--journal", "none.json", "--time-limit", "inf"), "is not in the range"),
        (("leaves:app", "--journal", "none.json"), "leaves failed while it was imported: SystemExit"),
        (("a:b", "--journal", "gone.json"), "cannot be read"),
        (("a:b", "--journal", "bad.json"), "holds no exported journals"),
        (("nowhere:app", "--journal", "none.json"), "there is no module 'nowhere'"),
    ],
)
def test_what_cannot_be_found_out_is_exit_code_2(here: Path, arguments: tuple[str, ...], says: str) -> None:
    (here / "bad.json").write_text('{"journals": 5, "format": 1}')
    (here / "none.json").write_text(json.dumps(document([])))
    (here / "leaves.py").write_text("raise SystemExit(0)\n")
    (here / "folder").mkdir()
    found = run(*arguments)
    assert found.exit_code == 2
    assert says in found.stderr
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    "damage",
    [{"state": None}, {"state": 5}, {"target_service_key": 5}, {"entries": [5]}, {"random_seed": "-1"}, {"id": None}],
    ids=str,
)
def test_a_damaged_export_is_refused_by_name(stopped: Stopped, here: Path, damage: dict[str, object]) -> None:
    value = document(stopped.asked.journals)
    value["journals"][0] |= damage
    (here / "damaged.json").write_text(json.dumps(value))
    found = run("scenarios.ticket_tour:app", "--journal", "damaged.json")
    assert found.exit_code == 2
    assert "damaged.json holds no exported journals" in found.stderr


def test_a_deeply_nested_file_is_no_export(here: Path) -> None:
    (here / "deep.json").write_text("[" * 100_000)
    assert run("a:b", "--journal", "deep.json").exit_code == 2


def test_the_how_to_says_what_works(stopped: Stopped, here: Path) -> None:
    page = (ROOT / "docs/how-to/check-code-changes.md").read_text()
    shutil.copytree(stopped.data, here / "understudy-data")
    lines = [
        words for block in blocks("", page) if block.language == "bash" for words in commands(block.text, "understudy")
    ]
    tried = [words[1:] for words in lines if "--admin" not in words]
    assert len(tried) == 5
    for words in tried:
        found = run(*words)
        assert found.exit_code == 0, (words, found.output)
    name = edited(here, "changed_target", BREAKING["changed_target"][0])
    told = run(name, "--data", "understudy-data").stdout
    shown = next(block.text for block in blocks("", page) if block.language == "text")
    for line in shown.splitlines()[1:6]:
        assert line in told
