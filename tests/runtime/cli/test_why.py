"""What `understudy why --admin` makes of the admin's answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from trio.testing import MockClock
from understudy_runtime.cli.admin_waits import Unknown, told
from understudy_runtime.cli.why import why

from tests.runtime.admin.stand import Stand
from tests.runtime.admin.test_waits import send, tangling

CREATED = "2026-01-02T03:04:05.678000000Z"


class FakeAdmin:
    """Answers what it is given; notes that it was closed."""

    def __init__(self, *views: Mapping[str, Any], complete: bool = True) -> None:
        self.views = {view["id"]: view for view in views}
        self.complete = complete
        self.is_closed = False

    async def get(self, path: str, *, may_be_gone: bool = False) -> Any:
        if path.startswith("/invocations?"):
            return {"invocations": list(self.views.values()), "complete": self.complete}
        found = self.views.get(path.rpartition("/")[2])
        assert found is not None or may_be_gone
        return found

    async def close(self) -> None:
        self.is_closed = True


def view(name: str, status: str, *waiting_on: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    shown = {"id": f"inv_{name}", "target": f"Office/{name}/stamp", "status": status, "created_at": CREATED, **more}
    return {**shown, "waiting_on": list(waiting_on)} if waiting_on else shown


def call(name: str) -> dict[str, str]:
    return {"kind": "call", "id": f"inv_{name}", "detail": f"Office/{name}/stamp"}


def lock(name: str) -> dict[str, str]:
    return {"kind": "lock", "id": f"inv_{name}", "detail": f"Office/{name}"}


CIRCLE = ("inv_north", "inv_south", "inv_again")
NORTH = view("north", "running", call("south"), deadlock=CIRCLE)
SOUTH = view("south", "suspended", call("again"), deadlock=CIRCLE)
AGAIN = view("again", "pending", lock("north"), deadlock=CIRCLE)
BEHIND = view("behind", "pending", lock("north"), behind_deadlock=CIRCLE)
ASLEEP = view("asleep", "suspended", {"kind": "sleep", "until": CREATED})


async def asked(admin: FakeAdmin, invocation_id: str = "") -> tuple[str, bool]:
    lines, is_stuck = await told(admin, invocation_id)  # type: ignore[arg-type]
    assert admin.is_closed
    return "\n".join(lines), is_stuck


async def test_a_circle_is_named_and_who_waits_behind_it() -> None:
    text, is_stuck = await asked(FakeAdmin(NORTH, SOUTH, AGAIN, BEHIND, ASLEEP))
    assert is_stuck
    assert text.startswith("5 have not come to their end: 4 can never go on by themselves, 1 go on by themselves")
    assert "a circle of 3; the end of any of them" in text
    assert "waits for the lock of Office/north, held by Office/north/stamp …nv_north" in text
    assert "accepted 2026-01-02T03:04:05.678Z" in text


async def test_one_is_followed_to_the_end() -> None:
    text, is_stuck = await asked(FakeAdmin(NORTH, SOUTH, AGAIN, BEHIND), "inv_behind")
    assert is_stuck
    assert text.count("(inv_south)") == 1
    text, is_stuck = await asked(FakeAdmin(ASLEEP, view("caller", "suspended", call("asleep"))), "inv_caller")
    assert not is_stuck
    assert "waits for the end of its sleep, due at 2026-01-02T03:04:05.678Z" in text
    assert text.endswith("verdict: it goes on by itself")


async def test_who_runs_may_go_on_whatever_it_asked_for() -> None:
    text, is_stuck = await asked(FakeAdmin(view("a", "running", call("b")), view("b", "paused", {"kind": "resume"})))
    assert not is_stuck
    assert "what it awaits itself is known once it suspends" in text
    assert "waits for somebody to resume it: it is paused" in text


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (view("a", "ready"), "waits for a slot to run in"),
        (
            view("a", "running", retry_count=3, last_failure="no luck"),
            "3 in a row failed before, the last one so: no luck",
        ),
        (view("a", "scheduled", {"kind": "start", "until": CREATED}), "waits for its time, due at 2026"),
        (view("a", "backing-off", last_failure="no luck", next_retry_at=CREATED), "the last one failed (no luck)"),
        (view("a", "parked", parked={"reason": "the deployment is gone"}), "a place to run at: the deployment is gone"),
        (view("a", "suspended", {"kind": "awakeable", "detail": "sign_1"}), "waits for the awakeable sign_1"),
        (view("a", "suspended", {"kind": "promise", "detail": "paid"}), "waits for the promise paid"),
    ],
)
async def test_every_status_is_told(shown: Mapping[str, Any], said: str) -> None:
    assert said in (await asked(FakeAdmin(shown)))[0]


async def test_what_is_over_unknown_or_nothing_is_said() -> None:
    assert await asked(FakeAdmin()) == ("nobody waits: nothing is in flight", False)
    over = view("over", "completed", completion_result="success")
    assert (await asked(FakeAdmin(over), "inv_over"))[0] == "Office/over/stamp …inv_over has ended: success"
    with pytest.raises(Unknown, match="inv_nobody is unknown to this server"):
        await asked(FakeAdmin(), "inv_nobody")
    text, is_stuck = await asked(FakeAdmin(view("caller", "suspended", call("over")), over), "inv_caller")
    assert "it is over: the answer is on its way" in text
    assert not is_stuck
    assert "there are more than the 1" in (await asked(FakeAdmin(ASLEEP, complete=False)))[0]


class OfNode:
    """The admin of a node that runs, without sockets between."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand

    async def get(self, path: str, *, may_be_gone: bool = False) -> Any:
        return await self.stand.get(path)

    async def close(self) -> None:
        pass


async def test_what_a_node_says_is_understood(autojump_clock: MockClock) -> None:
    async with tangling(partition_count=2) as stand:
        first = await send(stand, "/Left/a/over", "b")
        await trio.sleep(1.5)
        behind = await send(stand, "/Left/a/over", "c")
        asleep = await send(stand, "/Waiter/wait", "sleep")
        failing = await send(stand, "/Waiter/wait", "retry")
        flow = await send(stand, "/Flow/f/run")
        await trio.sleep(5)
        lines, is_stuck = await told(OfNode(stand), "")  # type: ignore[arg-type]
        assert is_stuck
        assert any("a circle of 3" in line for line in lines)
        lines, is_stuck = await told(OfNode(stand), behind)  # type: ignore[arg-type]
        assert is_stuck
        assert lines[0] == f"Left/a/over …{behind[-8:]} ({behind})"
        assert f"  waits for the lock of Left/a, held by Left/a/over …{first[-8:]}" in lines
        for one, said in ((asleep, "the end of its sleep"), (failing, "the shop is closed"), (flow, "approved")):
            lines, is_stuck = await told(OfNode(stand), one)  # type: ignore[arg-type]
            assert not is_stuck
            assert any(said in line for line in lines), lines


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "say where: understudy why SCRIPT --seed SEED, or understudy why --admin URL"),
        (("inv_1", "inv_2", "--admin", "localhost:1"), "at most one INVOCATION"),
        (("inv_1",), "name its server with --admin URL"),
        (("--admin", "ftp://x"), "is no address of an admin"),
    ],
)
def test_bad_usage_says_what_to_do(args: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(why, list(args))
    assert result.exit_code == 2
    assert said in result.output
