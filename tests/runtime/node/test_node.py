"""A node from outside: requests, several partitions, restarts, power cuts at every sync, data folders, draining."""

from __future__ import annotations

from datetime import timedelta

import attrs
import cbor2
import pytest
import trio
import understudy
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy.endpoint import App
from understudy_runtime.ingress.backend import Overloaded, Unavailable
from understudy_runtime.limits import Limits
from understudy_runtime.log.core import LogForeign
from understudy_runtime.model.actions import ArmTimer, StartAttempt
from understudy_runtime.model.events import Event, LeadershipTaken, StorageFlushed
from understudy_runtime.model.invocation import Status, Success, Target
from understudy_runtime.node import DataFolderError, FolderFormat, Node, checksum_of, encode_format, read_format
from understudy_runtime.recovery import ORIGIN
from understudy_runtime.storage.port import StorageError
from understudy_runtime.world import SyncFailed

from tests.runtime.node.fakes import FakeStorage, FakeWorld
from tests.runtime.node.stand import END, Dialogue, hosted, ignore, output, scripted, sleep, suspension

PLAIN = Limits(log_prewrite_bytes=0)
ECHO = Target("Echo", "echo")


def shop() -> App:
    """Services of every kind, that call each other."""
    echo = understudy.Service("Echo")
    counter = understudy.VirtualObject("Counter")

    @echo.handler("echo")
    async def say(ctx: understudy.Context, text: str) -> str:
        return text

    @echo.handler("steps")
    async def steps(ctx: understudy.Context, count: int) -> int:
        total = 0
        for index in range(count):
            total += await ctx.run(f"step {index}", lambda index=index: index)
        return total

    @echo.handler("fan")
    async def fan(ctx: understudy.Context, count: int) -> int:
        total = 0
        for index in range(count):
            total += await ctx.object_call(add, f"key {index}", 1)
        await ctx.sleep(timedelta(seconds=1))
        return total

    @counter.handler("add")
    async def add(ctx: understudy.ObjectContext, amount: int) -> int:
        total = (await ctx.get("total", type_hint=int) or 0) + amount
        ctx.set("total", total)
        return total

    @counter.handler("get", kind="shared")
    async def get(ctx: understudy.ObjectSharedContext) -> int:
        return await ctx.get("total", type_hint=int) or 0

    return understudy.app(services=[echo, counter])


@pytest.mark.parametrize("partition_count", [1, 3])
async def test_services_work_through_one_and_several_partitions(
    partition_count: int, autojump_clock: MockClock
) -> None:
    async with hosted(shop(), world=FakeWorld(), partition_count=partition_count) as client:
        assert (await client.call(ECHO, b'"hi"')).result == Success(b'"hi"')
        assert (await client.call(Target("Echo", "steps"), b"4")).result == Success(b"6")
        assert (await client.call(Target("Echo", "fan"), b"5")).result == Success(b"5")
        for index in range(5):
            assert (await client.call(Target("Counter", "get", f"key {index}"))).result == Success(b"1")
        await wait_all_tasks_blocked()
        assert client.node.replies.is_idle
        assert [invoker.job_count for invoker in client.node.invokers] == [0] * partition_count
        assert [effects.outbox.count for effects in client.node.effects] == [0] * partition_count
        assert [effects.timers.count for effects in client.node.effects] == [0] * partition_count


async def test_a_step_is_one_commit(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with hosted(shop(), world=world) as client:
        before = world.disk.syncs
        await client.call(Target("Echo", "steps"), b"10")
        assert world.disk.syncs - before == 12, "the request, ten steps, the result"


async def test_what_is_queued_while_a_batch_is_synced_is_the_next_batch(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with hosted(shop(), world=world) as client:
        before = world.disk.syncs
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(client.call, ECHO, b'"x"')
        assert world.disk.syncs - before <= 4


async def one_life(world: FakeWorld, partition_count: int, answers: dict[str, bytes]) -> None:
    """Ask for everything that has no answer yet; a failing sync ends the life."""
    wanted = {
        **{f"add {n}": (Target("Counter", "add", f"key {n % 2}"), b"1") for n in range(4)},
        "steps": (Target("Echo", "steps"), b"3"),
        "fan": (Target("Echo", "fan"), b"3"),
    }

    async def ask(name: str) -> None:
        target, payload = wanted[name]
        completed = await client.call(target, payload, key=name)
        assert isinstance(completed.result, Success)
        assert answers.setdefault(name, completed.result.value) == completed.result.value, "P4"

    async with hosted(
        shop(), world=world, partition_count=partition_count, limits=attrs.evolve(PLAIN, flush_rows=3)
    ) as client:
        async with trio.open_nursery() as nursery:
            for name in wanted:
                nursery.start_soon(ask, name)
        totals = b""
        for index in range(2):
            completed = await client.call(Target("Counter", "get", f"key {index}"))
            assert isinstance(completed.result, Success)
            totals += completed.result.value
        answers["totals"] = totals


@pytest.mark.parametrize("partition_count", [1, 2])
async def test_a_power_cut_at_any_sync_loses_nothing_acknowledged(
    partition_count: int, autojump_clock: MockClock
) -> None:
    """The k-th sync fails and the power goes, for every k; the client asks again by key; all adds count once."""
    cut = 0
    while True:
        cut += 1
        world = FakeWorld()
        world.disk.failing_sync = cut
        answers: dict[str, bytes] = {}
        while "totals" not in answers:
            try:
                await one_life(world, partition_count, answers)
            except* SyncFailed:
                world.disk.power_cut()
                world.disk.failing_sync = -1
        assert answers["totals"] == b"33", "two keys: two adds each by clients, one by the fan"
        assert answers["steps"] == b"3"
        if world.disk.syncs < cut:
            break
    assert cut > 20, "there were that many syncs"


async def test_restart_goes_on_with_what_is_outstanding_and_drops_replayed_actions(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(d.known) == 1:
            await d.say(sleep(1, world.now_ms() + 3_600_000), suspension(1))
        elif d.head.target.handler == "other":
            await trio.sleep_forever()
        else:
            await d.say(output(b"1"), END)

    world = FakeWorld()
    async with scripted(script, world=world) as (client, _):
        sleeper = await client.send(ECHO, key="a")
        later = await client.send(ECHO, key="b", execution_time_ms=world.now_ms() + 7_200_000)
        await wait_all_tasks_blocked()
    world.disk.power_cut()
    events: list[Event] = []
    async with scripted(script, world=world, observe=events.append) as (client, transport):
        (taken,) = [event for event in events if isinstance(event, LeadershipTaken)]
        assert taken.epoch == 2
        assert [type(action) for action in taken.outstanding] == [ArmTimer, ArmTimer]
        assert transport.dialogues == []
        await trio.sleep(11_000)
        for acked in (sleeper, later):
            completed = await client.node.result(acked.invocation_id)
            assert completed is not None
            assert completed.result == Success(b"1")


async def test_a_running_attempt_is_started_again_after_a_restart(autojump_clock: MockClock) -> None:
    async def hang(d: Dialogue) -> None:
        await trio.sleep_forever()

    async def answer(d: Dialogue) -> None:
        await d.say(output(b"1"), END)

    world = FakeWorld()
    async with scripted(hang, world=world) as (client, _):
        acked = await client.send(ECHO, key="a")
    events: list[Event] = []
    async with scripted(answer, world=world, observe=events.append) as (client, _):
        (taken,) = [event for event in events if isinstance(event, LeadershipTaken)]
        assert taken.outstanding == [StartAttempt(acked.invocation_id, 1)]
        completed = await client.node.result(acked.invocation_id)
        assert completed is not None
        assert completed.result == Success(b"1")


async def test_tables_are_flushed_by_count_and_the_tail_is_replayed(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    events: list[Event] = []
    calls = 0
    limits = attrs.evolve(PLAIN, flush_rows=37)
    async with hosted(shop(), world=world, limits=limits, observe=events.append) as client:
        store, tables = world.stores["partition-0"], client.node.partitions[0].tables
        while store.lsn == 0 or store.lsn == tables.applied_lsn:
            await client.call(Target("Counter", "add", "k"), b"1")
            calls += 1
            assert calls < 20, "so many changed rows are a flush"
        assert any(isinstance(event, StorageFlushed) for event in events)
    async with hosted(shop(), world=world) as client:
        total = b"%d" % calls
        assert (await client.call(Target("Counter", "get", "k"))).result == Success(total)


async def test_an_unknown_invocation_has_no_result(autojump_clock: MockClock) -> None:
    async with hosted(shop(), world=FakeWorld()) as client:
        request = client.request(ECHO)
        assert await client.node.result(request.invocation_id) is None
        assert client.node.known(request.invocation_id) is None


async def test_a_stopped_node_is_unavailable_to_requests_that_come_late(autojump_clock: MockClock) -> None:
    """Its stores are closed: whoever reads in the moment before its own cancellation must not meet that."""
    async with hosted(shop(), world=FakeWorld()) as client:
        node, request = client.node, client.request(ECHO)
    with pytest.raises(Unavailable):
        node.known(request.invocation_id)
    with pytest.raises(Unavailable):
        node.described(request.invocation_id)
    with pytest.raises(Unavailable):
        node.live(None, 10)
    with pytest.raises(Unavailable):
        await node.result(request.invocation_id)
    with pytest.raises(Unavailable):
        await node.submit(request)


async def test_a_full_queue_refuses_clients(autojump_clock: MockClock) -> None:
    limits = attrs.evolve(PLAIN, queue_commands_max=1, batch_commands_max=1)
    async with hosted(shop(), world=FakeWorld(), limits=limits) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, ECHO, b'"x"')
            await trio.lowlevel.checkpoint()
            while client.node.partitions[0].has_room:
                await trio.lowlevel.checkpoint()
            with pytest.raises(Overloaded):
                await client.send(ECHO, b'"y"')


async def test_draining_waits_for_requests_and_takes_no_new_ones(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        await trio.sleep(1)
        await d.say(output(b"1"), END)

    world = FakeWorld()
    async with scripted(script, world=world) as (client, transport):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call, ECHO)
            await wait_all_tasks_blocked()
            await client.node.drain()
            assert client.node.replies.is_idle
            assert transport.running == 0
        with pytest.raises(Unavailable):
            await client.send(ECHO)
    assert world.stores["partition-0"].lsn == client.node.partitions[0].tables.applied_lsn


async def test_draining_ends_by_its_time_limit(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        await trio.sleep_forever()

    async with scripted(script, limits=attrs.evolve(PLAIN, drain_timeout_ms=2_000)) as (client, _):
        await client.send(ECHO)
        before = trio.current_time()
        await client.node.drain()
        assert trio.current_time() - before == pytest.approx(2, abs=0.1)


async def test_a_client_that_waits_for_long_keeps_no_attempt_from_being_asked_to_suspend(
    autojump_clock: MockClock,
) -> None:
    async def script(d: Dialogue) -> None:
        await d.say(sleep(1, world.now_ms() + 3_600_000))
        if d.head.target == ECHO:
            await d.closed()
        await d.say(suspension(1))

    world = FakeWorld()
    async with scripted(script, world=world, limits=attrs.evolve(PLAIN, drain_timeout_ms=2_000)) as (client, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call, Target("Echo", "other"))
            acked = await client.send(ECHO)
            await wait_all_tasks_blocked()
            before = trio.current_time()
            await client.node.drain()
            assert trio.current_time() - before <= 2.1
            found = client.node.known(acked.invocation_id)
            nursery.cancel_scope.cancel()
        assert found is not None
        assert found.status is Status.SUSPENDED


async def test_draining_begins_no_attempt_again(autojump_clock: MockClock) -> None:
    """A suspended attempt whose result comes in during the drain stays down: it would keep the server from ending."""

    async def script(d: Dialogue) -> None:
        await d.say(sleep(1, world.now_ms()))
        await d.closed()
        await d.say(suspension(1))

    world = FakeWorld()
    async with scripted(script, world=world) as (client, transport):
        await client.send(ECHO)
        await wait_all_tasks_blocked()
        before = trio.current_time()
        await client.node.drain()
        assert trio.current_time() - before < 1
        await trio.sleep(5)
        assert len(transport.dialogues) == 1
        assert client.node.partitions[0].queue_length == 0


async def test_a_failed_sync_stops_the_node_with_its_name(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    node = Node(world, PLAIN, observe=ignore)
    world.disk.failing_sync = 4
    with pytest.raises(SyncFailed):
        await node.run()


async def test_the_partition_count_is_fixed_at_creation(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with hosted(shop(), world=world, partition_count=3) as client:
        assert len(client.node.partitions) == 3
    async with hosted(shop(), world=world) as client:
        assert len(client.node.partitions) == 3
    with pytest.raises(DataFolderError, match="has 3 partitions, 2 were asked for"):
        await Node(world, PLAIN, partition_count=2, observe=ignore).run()


def _sealed(*said: int) -> bytes:
    """A format file of any format: what it says, and the checksum of that."""
    return cbor2.dumps([*said, checksum_of(list(said))])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_sealed(3, 1, 1), "has format 3, this program knows up to 2"),
        (_sealed(4, 1, 1, 77), "has format 4, this program knows up to 2"),
        (_sealed(5), "has format 5, this program knows up to 2"),
        (_sealed(2), "nothing that this program writes"),
        (cbor2.dumps([3, 1, 1]), "damaged: its checksum is not"),
        (cbor2.dumps([3, 1, 1, 5]), "damaged: its checksum is not"),
        (_sealed(2, 1, 0), "nothing that this program writes"),
        (cbor2.dumps([1, 1, 0]), "nothing that this program writes"),
        (cbor2.dumps({}), "damaged, or not written by this program"),
        (b"", "damaged, or not written by this program"),
    ],
)
async def test_a_folder_of_another_kind_is_refused_by_name(
    content: bytes, message: str, autojump_clock: MockClock
) -> None:
    world = FakeWorld()
    world.disk.open("format", create=True).pwrite(0, content)
    with pytest.raises(DataFolderError, match=message):
        await Node(world, PLAIN, observe=ignore).run()


def test_no_changed_bit_of_the_format_file_is_taken_for_what_was_written() -> None:
    """One of them would make three partitions of one, and look for every key in another log."""
    said = encode_format(FolderFormat(7, 1))
    for place in range(8 * len(said)):
        disk = FakeWorld().disk
        changed = bytearray(said)
        changed[place // 8] ^= 1 << place % 8
        disk.open("format", create=True).pwrite(0, bytes(changed))
        with pytest.raises(DataFolderError, match="damaged"):
            read_format(disk)


async def test_a_folder_of_the_first_builds_gets_its_checksum(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with hosted(shop(), world=world) as client:
        await client.call(ECHO, b'"x"')
    file = world.disk.open("format")
    value = cbor2.loads(file.pread(0, file.size()))
    file.truncate(0)
    file.pwrite(0, cbor2.dumps(value[:3]))
    assert not read_format(world.disk).is_sealed
    async with hosted(shop(), world=world):
        assert read_format(world.disk) == FolderFormat(value[1], value[2])


async def test_a_store_ahead_of_the_log_and_a_log_of_another_folder_are_refused(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with hosted(shop(), world=world, limits=attrs.evolve(PLAIN, flush_rows=1)) as client:
        await client.call(ECHO, b'"x"')
    other = FakeWorld(drawn=100)
    async with hosted(shop(), world=other) as client:
        await client.call(ECHO, b'"x"')
    store = world.stores["partition-0"]
    rows = {key: value for key, value in store.rows.items() if key != ORIGIN}
    other.stores["partition-0"] = FakeStorage(rows, store.lsn + 100)
    with pytest.raises(StorageError, match="not of one data folder"):
        await Node(other, PLAIN, observe=ignore).run()
    name = "partition-0/00000000000000000001.log"
    other.disk.files[name] = world.disk.files[name]
    with pytest.raises(LogForeign, match="copied from another folder"):
        await Node(other, PLAIN, observe=ignore).run()


async def test_an_unchanged_manifest_is_not_registered_again(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    for _ in range(2):
        async with hosted(shop(), world=world) as client:
            revision = client.node.schema.revision
    assert revision == 1
