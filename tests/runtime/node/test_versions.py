"""Versions of the services in the server's process: what began on one that does not run is parked, not tried."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy_runtime.invoker.core import Phase
from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import Kill, Resume
from understudy_runtime.model.events import AttemptParked, AttemptStarted, Event, WorkParked
from understudy_runtime.model.invocation import Failure, Status, Success, Target
from understudy_runtime.node import Deployment, Node
from understudy_runtime.telemetry.log import log_line

from tests.runtime.admin.stand import ECHO, standing
from tests.runtime.admin.test_journal import ONE, network
from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.manifests import manifest
from tests.runtime.node.stand import END, Client, Dialogue, ScriptedTransport, output, propose, run, sleep, suspension

PLAIN = Limits(log_prewrite_bytes=0)
ADD = Target("Counter", "add", "k")
ECHOED = Target("Echo", "echo")
OLD, NEW = "dp_old", "dp_new"
HOUR = 3_600


async def begins(d: Dialogue) -> None:
    """One step, then wait to be asked to suspend."""
    if len(d.known) == 1:
        await d.say(run(1), propose(1, b"x"))
    await trio.sleep_forever()


async def suspends(d: Dialogue) -> None:
    await d.say(run(1), propose(1, b"x"), sleep(2, 1_900_000_000_000), suspension(2))


async def ends(d: Dialogue) -> None:
    await d.say(output(b"1"), END)


@attrs.define
class Version:
    """A node whose services are of one version."""

    client: Client
    transport: ScriptedTransport
    events: list[Event]

    def described(self, invocation_id: str) -> tuple[str, str]:
        found = self.client.node.described(invocation_id)
        assert found is not None
        return found.status, found.parked

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]


@asynccontextmanager
async def running(
    world: FakeWorld, version: str, script: object, *, limits: Limits = PLAIN, adopts: tuple[str, ...] = ()
) -> AsyncIterator[Version]:
    transport = ScriptedTransport(script)  # type: ignore[arg-type]
    events: list[Event] = []
    node = Node(
        world,
        limits,
        deployments=[Deployment(version, transport, manifest(), adopts)],
        observe=events.append,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield Version(Client(node), transport, events)
        nursery.cancel_scope.cancel()


async def begun(world: FakeWorld, target: Target = ADD) -> str:
    """An invocation that has begun on OLD."""
    async with running(world, OLD, begins) as old:
        sent = await old.client.send(target, key="i")
        await wait_all_tasks_blocked()
        assert len(old.transport.dialogues) == 1
    return sent.invocation_id


async def test_what_began_on_another_version_is_parked_and_told_once(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    id_ = await begun(world)
    async with running(world, NEW, ends, limits=attrs.evolve(PLAIN, attempts_max=1)) as new:
        await trio.sleep(HOUR)
        assert new.told(AttemptStarted) == []
        assert len(new.told(AttemptParked)) == 1
        (parked,) = new.told(WorkParked)
        assert parked == WorkParked(((OLD, 1),))
        line = log_line(parked)
        assert line is not None
        assert (line.level, line.fields["invocations"], line.fields["versions"]) == ("warning", 1, {OLD: 1})
        status, why = new.described(id_)
        assert status == "parked"
        assert OLD in why
        (listed,) = new.client.node.live(None, 10).found
        assert listed.parked == why
        assert (await new.client.call(ECHOED)).result == Success(b"1"), "it holds no slot"
        assert list(new.client.node.schema.deployments) == [NEW]


async def test_a_resume_lets_it_go_on_with_the_latest(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    id_ = await begun(world)
    async with running(world, NEW, ends) as new:
        await wait_all_tasks_blocked()
        assert (await new.client.node.request(Resume(id_, deployment_id=NEW))).outcome == "done"
        assert (await new.client.call(ADD, key="i")).result == Success(b"1")
        assert new.transport.dialogues[0].head.deployment_id == NEW
        assert len(new.transport.dialogues[0].known) == 3, "it went on from its journal"
        assert new.client.node.invokers[0].job_count == 0


async def test_a_kill_ends_it(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    id_ = await begun(world)
    async with running(world, NEW, ends) as new:
        await wait_all_tasks_blocked()
        await new.client.node.request(Kill(id_))
        assert isinstance((await new.client.call(ADD, key="i")).result, Failure)
        assert new.client.node.invokers[0].job_count == 0
        assert new.transport.dialogues == []


async def test_the_old_version_coming_back_goes_on(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    await begun(world)
    async with running(world, NEW, ends) as new:
        await trio.sleep(HOUR)
        assert new.told(AttemptStarted) == []
    async with running(world, OLD, ends) as old:
        assert (await old.client.call(ADD, key="i")).result == Success(b"1")
        assert old.told(WorkParked) == []
        assert list(old.client.node.schema.deployments) == [OLD]


async def test_one_that_waits_is_told_too_and_parked_when_it_wakes(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with running(world, OLD, suspends) as old:
        sent = await old.client.send(ECHOED, key="i")
        await wait_all_tasks_blocked()
        assert old.described(sent.invocation_id) == ("suspended", "")
    async with running(world, NEW, ends) as new:
        assert new.told(WorkParked) == [WorkParked(((OLD, 1),))]
        status, why = new.described(sent.invocation_id)
        assert (status, OLD in why) == ("suspended", True)


async def test_what_has_not_begun_runs_on_the_version_that_is_there(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    await begun(world)
    async with running(world, OLD, begins) as old:
        await old.client.send(ADD, key="waits for its lock")
        await wait_all_tasks_blocked()
    async with running(world, NEW, ends) as new:
        id_ = new.client.request(ADD, key="i").invocation_id
        await new.client.node.request(Kill(id_))
        assert (await new.client.call(ADD, key="waits for its lock")).result == Success(b"1")


async def test_a_folder_of_before_goes_on_with_the_code_that_is_there(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    await begun(world)
    async with running(world, NEW, ends, adopts=(OLD,)) as new:
        assert (await new.client.call(ADD, key="i")).result == Success(b"1")
        assert new.told(WorkParked) == []
        assert new.transport.dialogues[0].head.deployment_id == OLD
        assert (await new.client.call(ECHOED)).result == Success(b"1")
        assert new.transport.dialogues[1].head.deployment_id == NEW
    async with running(world, NEW, ends, adopts=(OLD,)) as again:
        assert set(again.client.node.schema.deployments) == {OLD, NEW}
        assert {service.deployment_id for service in again.client.node.schema.services.values()} == {NEW}


async def test_what_began_on_a_deployment_that_was_removed_is_parked_until_it_is_moved(
    autojump_clock: MockClock,
) -> None:
    async def script(d: Dialogue) -> None:
        if len(d.known) == 1:
            await d.say(run(1), propose(1, b"x"))
            await trio.sleep_forever()
        await d.say(output(b"1"), END)

    async with standing(network(ECHO, script)) as stand:
        _, registered = await stand.register(ONE)
        sent = await stand.client.send(Target("Echo", "echo"), key="i")
        await wait_all_tasks_blocked()
        node = stand.client.node
        await node.registrar.remove(registered["id"])
        for dialogue_scope in list(node.invokers[0]._running.values()):
            dialogue_scope.scope.cancel()
        await trio.sleep(HOUR)
        found = node.described(sent.invocation_id)
        assert found is not None
        assert registered["id"] in found.parked
        job = node.invokers[0].job(sent.invocation_id, 1)
        assert job is not None
        assert (job.phase, job.failures) == (Phase.PARKED, 1)
        _, again = await stand.register(ONE)
        await trio.sleep(HOUR)
        assert job.phase is Phase.PARKED, "another deployment at that address is another one"
        await node.request(Resume(sent.invocation_id, deployment_id=again["id"]))
        completed = await stand.client.call(Target("Echo", "echo"), key="i")
        assert completed.result == Success(b"1")
        known = node.known(sent.invocation_id)
        assert known is not None
        assert known.status is Status.COMPLETED


async def test_what_is_for_a_service_nobody_offers_begins_when_somebody_does(autojump_clock: MockClock) -> None:
    async with standing(network(ECHO, ends)) as stand:
        _, registered = await stand.register(ONE)
        node = stand.client.node
        later = node.world.now_ms() + 60_000
        sent = await stand.client.send(Target("Echo", "echo"), key="i", execution_time_ms=later)
        await node.registrar.remove(registered["id"])
        await trio.sleep(HOUR)
        found = node.described(sent.invocation_id)
        assert found is not None
        assert "no deployment offers the service Echo" in found.parked
        await stand.register(ONE)
        await trio.sleep(10)
        known = node.known(sent.invocation_id)
        assert known is not None
        assert known.result == Success(b"1")
