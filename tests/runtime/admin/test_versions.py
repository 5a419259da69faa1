"""Which version of the code an invocation runs on: bound with its first command, and then for good."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType
from understudy_runtime.model.commands import Signal
from understudy_runtime.model.invocation import Success, Target

from tests.runtime.admin.stand import COUNTER, ECHO, ONE, TWO, FakeConnect, FakeEndpoint, Stand, finish, standing
from tests.runtime.node.stand import Dialogue, Script, error, sleep

ECHO_TARGET = Target("Echo", "echo")
FAR_MS = 1_900_000_000_000
# An awakeable: nothing of it is in the journal.
ON_A_SIGNAL = Frame(MessageType.SUSPENSION, pb.Suspension(waiting_signals=[1, 17]).SerializeToString())


def network(script: Script, manifest: dict[str, Any] = ECHO) -> FakeConnect:
    """The old version does as *script* says, the new one answers at once."""
    made = FakeConnect()
    made.endpoints[ONE] = FakeEndpoint(manifest, script)
    made.endpoints[TWO] = FakeEndpoint(manifest)
    return made


async def begun(stand: Stand, target: Target = ECHO_TARGET, **fields: Any) -> str:
    acked = await stand.client.send(target, key="k", **fields)
    await wait_all_tasks_blocked()
    return acked.invocation_id


async def ran_on(stand: Stand, invocation_id: str) -> str:
    """The deployment that answered."""
    found = await stand.node.result(invocation_id)
    assert found is not None
    assert isinstance(found.result, Success)
    return found.result.value.decode()


async def asleep(dialogue: Dialogue) -> None:
    """Bound: its first command is journaled."""
    if len(dialogue.known) == 1:
        await dialogue.say(sleep(1, FAR_MS))
        await dialogue.closed()
    await finish(dialogue)


async def test_what_has_not_begun_runs_on_the_new_version(autojump_clock: trio.testing.MockClock) -> None:
    async with standing(network(asleep, COUNTER)) as stand:
        _, one = await stand.register(ONE)
        holder = await begun(stand, Target("Counter", "add", "a"))
        inboxed = (await stand.client.send(Target("Counter", "add", "a"), key="next")).invocation_id
        later = stand.world.now_ms() + 30_000
        scheduled = (
            await stand.client.send(Target("Counter", "add", "b"), key="b", execution_time_ms=later)
        ).invocation_id
        _, two = await stand.register(TWO)
        assert await ran_on(stand, scheduled) == two["id"]
        assert (await stand.ask("PATCH", f"/invocations/{holder}/pause")).status == 202
        assert (await stand.ask("PATCH", f"/invocations/{holder}/resume")).status == 200
        assert await ran_on(stand, holder) == one["id"]
        assert await ran_on(stand, inboxed) == two["id"]


async def test_an_attempt_that_said_nothing_bound_nothing() -> None:
    """It suspended or failed without a command: the next attempt may run on another version."""

    async def on_a_signal(dialogue: Dialogue) -> None:
        await dialogue.say(ON_A_SIGNAL)

    async with standing(network(on_a_signal)) as stand:
        await stand.register(ONE)
        id_ = await begun(stand)
        shown = await stand.get(f"/invocations/{id_}")
        assert (shown["status"], "pinned_deployment_id" in shown) == ("suspended", False)
        _, two = await stand.register(TWO)
        await stand.node.request(Signal(id_, 17, "", Success(b"1"), stand.node.new_request_id()))
        assert await ran_on(stand, id_) == two["id"]


async def test_a_first_attempt_that_failed_bound_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async def fail(dialogue: Dialogue) -> None:
        await dialogue.say(error("no"))

    async with standing(network(fail)) as stand:
        await stand.register(ONE)
        id_ = await begun(stand)
        _, two = await stand.register(TWO)
        assert await ran_on(stand, id_) == two["id"]
        assert stand.network.endpoints[ONE].attempts


async def test_what_is_bound_stays_through_retries_suspensions_and_a_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def stepwise(dialogue: Dialogue) -> None:
        """Sleep for a minute, fail once on the way, and be asked to suspend on the other."""
        if len(dialogue.known) == 1:
            await dialogue.say(sleep(1, stand.world.now_ms() + 60_000), error("no"))
        elif len(dialogue.known) == 2:
            waits = pb.Suspension(waiting_signals=[1], waiting_completions=[1]).SerializeToString()
            await dialogue.say(Frame(MessageType.SUSPENSION, waits))
        else:
            await finish(dialogue)

    net = network(stepwise)
    async with standing(net) as stand:
        _, one = await stand.register(ONE)
        id_ = await begun(stand)
        await stand.register(TWO)
        await trio.sleep(30)
        assert (await stand.get(f"/invocations/{id_}"))["status"] == "suspended"
        world = stand.world
    async with standing(net, world=world) as stand:
        assert await ran_on(stand, id_) == one["id"]
    assert len(net.endpoints[ONE].attempts) == 3
    assert not net.endpoints[TWO].attempts


async def test_a_call_of_old_code_runs_on_the_new_version() -> None:
    """Only who is bound stays: whom it calls is resolved as of now."""
    asked = trio.Event()

    async def calling(dialogue: Dialogue) -> None:
        if dialogue.head.target.handler == "get":
            await finish(dialogue)
            return
        await dialogue.say(sleep(1, FAR_MS))
        await asked.wait()
        call = pb.CallCommand(
            service_name="Counter",
            handler_name="get",
            key="x",
            invocation_id_notification_idx=2,
            result_completion_id=3,
        )
        await dialogue.say(Frame(MessageType.CALL, call.SerializeToString()))
        await dialogue.hear(2)
        answered = pb.Notification.FromString(dialogue.heard[1].payload)
        output = pb.OutputCommand(value=answered.value).SerializeToString()
        await dialogue.say(Frame(MessageType.OUTPUT, output), Frame(MessageType.END, b""))

    async with standing(network(calling, COUNTER)) as stand:
        await stand.register(ONE)
        id_ = await begun(stand, Target("Counter", "add", "a"))
        _, two = await stand.register(TWO)
        asked.set()
        assert await ran_on(stand, id_) == two["id"]
