"""Objects that call each other in circles: seen on a live node, cured by a cancel, refused under the policy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest
import understudy
from trio.testing import MockClock
from understudy.endpoint import App
from understudy_runtime.limits import Limits
from understudy_runtime.machine.waits import WaitKind
from understudy_runtime.model.actions import CheckDeadlock, Completed
from understudy_runtime.model.commands import Cancel, Kill, Refuse
from understudy_runtime.model.events import Applied, Event, LeadershipTaken
from understudy_runtime.model.invocation import Failure, Status, Success, Target
from understudy_runtime.node import until

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import Client, hosted

PLAIN = Limits(log_prewrite_bytes=0)
REFUSING = attrs.evolve(PLAIN, refuse_deadlocks=True)
# Who is asked first, and which keys each walks along.
PATHS = {
    "cross": {"x": ["y"], "y": ["x"]},
    "cyclic": {"x": ["y", "z", "x"]},
    "self": {"x": ["x"]},
    "three at once": {"x": ["y"], "y": ["z"], "z": ["x"]},
}


def rings() -> App:
    """An object whose handler goes along a path of keys, each called by the one before."""
    ring = understudy.VirtualObject("Ring")

    @ring.handler("go")
    async def go(ctx: understudy.ObjectContext, path: list[str]) -> str:
        await ctx.sleep(timedelta(seconds=1))
        if not path:
            return ctx.key()
        return ctx.key() + await ctx.object_call(go, key=path[0], arg=path[1:])

    @ring.handler("patient")
    async def patient(ctx: understudy.ObjectContext, path: list[str]) -> str:
        """Calls itself, but not at any price."""
        call = ctx.object_call(go, key=ctx.key(), arg=[])
        match await understudy.select(answer=call, time_out=ctx.sleep(timedelta(seconds=5))):
            case ["answer", answer]:
                return f"answered {answer}"
            case _:
                return "timed out"

    return understudy.app(services=[ring])


async def begin(client: Client, paths: dict[str, list[str]], life: int = 0) -> list[str]:
    """Have everybody asked; the ids, in order.  Their results are kept."""
    asked = [
        await client.send(Target("Ring", "go", key), encoded(path), key=f"{key} {life}") for key, path in paths.items()
    ]
    return [one.invocation_id for one in asked]


def encoded(path: Sequence[str]) -> bytes:
    return b"[" + b", ".join(b'"%b"' % key.encode() for key in path) + b"]"


async def ends(client: Client, ids: Sequence[str]) -> list[Completed]:
    found = [await client.node.result(id_) for id_ in ids]
    return [one for one in found if one is not None]


@pytest.mark.parametrize("partition_count", [1, 4])
@pytest.mark.parametrize("name", PATHS)
async def test_a_circle_is_seen_by_all_its_members(name: str, partition_count: int, autojump_clock: MockClock) -> None:
    async with hosted(rings(), world=FakeWorld(), limits=PLAIN, partition_count=partition_count) as client:
        node = client.node
        await begin(client, PATHS[name])
        await until(lambda: bool(node.deadlocks()))
        (circle,) = node.deadlocks()
        assert len(circle) == {"cross": 4, "cyclic": 4, "self": 2, "three at once": 6}[name]
        for one, following in zip(circle, circle[1:] + circle[:1], strict=True):
            assert following in [wait.on for wait in node.waits(one)]
        kinds = [wait.kind for one in circle for wait in node.waits(one)]
        assert kinds.count(WaitKind.LOCK) >= 1
        assert set(kinds) == {WaitKind.LOCK, WaitKind.CALL}


@pytest.mark.parametrize("partition_count", [1, 4])
@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("cure", [Cancel, Kill])
async def test_a_cancel_or_a_kill_of_any_member_gets_out_of_it(
    name: str, cure: type[Cancel | Kill], partition_count: int, autojump_clock: MockClock
) -> None:
    async with hosted(rings(), world=FakeWorld(), limits=PLAIN, partition_count=partition_count) as client:
        node = client.node
        members = {"cross": 4, "cyclic": 4, "self": 2, "three at once": 6}[name]
        for member in range(members):
            asked = await begin(client, PATHS[name], member)
            await until(lambda: bool(node.deadlocks()))
            (circle,) = node.deadlocks()
            await node.request(cure(circle[member]))
            results = [one.result for one in await ends(client, asked)]
            assert node.deadlocks() == ()
            assert any(isinstance(result, Failure) and result.code == 409 for result in results)
            assert all(isinstance(result, (Success, Failure)) for result in results)
            await until(lambda: not any(partition.tables.objects.busy() for partition in node.partitions))


@pytest.mark.parametrize("partition_count", [1, 4])
@pytest.mark.parametrize("name", PATHS)
async def test_under_the_policy_the_call_that_closes_a_circle_is_refused(
    name: str, partition_count: int, autojump_clock: MockClock
) -> None:
    events: list[Event] = []
    async with hosted(
        rings(), world=FakeWorld(), limits=REFUSING, partition_count=partition_count, observe=events.append
    ) as client:
        asked = await begin(client, PATHS[name])
        results = [one.result for one in await ends(client, asked)]
        refused = [e.record.command for e in events if isinstance(e, Applied) and type(e.record.command) is Refuse]
        assert len({one.invocation_id for one in refused}) == 1, "one call of a circle is enough"
        failures = [result for result in results if isinstance(result, Failure)]
        assert [failure.code for failure in failures] == [409], "its caller hears of it, the others go on"
        assert refused[0].invocation_id in refused[0].failure.message
        assert "Ring/x/go (inv_1" in refused[0].failure.message
        assert client.node.deadlocks() == ()


async def test_one_refused_call_lets_the_others_of_a_circle_go_on(autojump_clock: MockClock) -> None:
    async with hosted(rings(), world=FakeWorld(), limits=REFUSING) as client:
        results = [one.result for one in await ends(client, await begin(client, PATHS["cross"]))]
        assert sorted(type(result).__name__ for result in results) == ["Failure", "Success"]


async def test_a_way_out_is_no_deadlock_but_refused_under_the_policy(autojump_clock: MockClock) -> None:
    target = Target("Ring", "patient", "x")
    async with hosted(rings(), world=FakeWorld(), limits=PLAIN) as client:
        asked = await client.send(target, b"[]")
        await until(lambda: len(client.node.waits(asked.invocation_id)) == 2)
        assert {wait.kind for wait in client.node.waits(asked.invocation_id)} == {WaitKind.CALL, WaitKind.SLEEP}
        assert client.node.deadlocks() == ()
        (done,) = await ends(client, [asked.invocation_id])
        assert done.result == Success(b'"timed out"')
    async with hosted(rings(), world=FakeWorld(), limits=REFUSING) as client:
        result = (await client.call(target, b"[]")).result
        assert isinstance(result, Failure)
        assert result.message.startswith("refused")


@pytest.mark.parametrize("partition_count", [1, 4])
async def test_a_circle_from_before_is_refused_by_a_leader_with_the_policy(
    partition_count: int, autojump_clock: MockClock
) -> None:
    world, events = FakeWorld(), list[Event]()
    async with hosted(rings(), world=world, limits=PLAIN, partition_count=partition_count) as client:
        asked = await begin(client, PATHS["cyclic"])
        await until(lambda: bool(client.node.deadlocks()))
    async with hosted(rings(), world=world, limits=REFUSING, observe=events.append) as client:
        taken = [e for e in events if isinstance(e, LeadershipTaken)]
        checks = [action for e in taken for action in e.outstanding if isinstance(action, CheckDeadlock)]
        assert len(checks) == 1
        (done,) = await ends(client, asked)
        assert isinstance(done.result, Failure)
        assert done.result.code == 409


async def test_without_the_policy_a_leader_reads_no_inbox(autojump_clock: MockClock) -> None:
    world, events = FakeWorld(), list[Event]()
    async with hosted(rings(), world=world, limits=PLAIN) as client:
        await begin(client, PATHS["self"])
        await until(lambda: bool(client.node.deadlocks()))
    async with hosted(rings(), world=world, limits=PLAIN, observe=events.append) as client:
        (taken,) = [e for e in events if isinstance(e, LeadershipTaken)]
        assert not [action for action in taken.outstanding if isinstance(action, CheckDeadlock)]
        assert client.node.deadlocks()


async def test_a_refused_call_is_over_for_whoever_asks_again(autojump_clock: MockClock) -> None:
    """Its key keeps the refusal, like any result."""
    async with hosted(rings(), world=FakeWorld(), limits=REFUSING) as client:
        (done,) = await ends(client, await begin(client, PATHS["self"]))
        assert isinstance(done.result, Failure)
        assert client.node.known(done.invocation_id) is not None
        assert client.node.partitions[0].tables.lock_holder("Ring", "x") is None
        assert [one.status for one in client.node.partitions[0].tables.live()] == list[Status]()
