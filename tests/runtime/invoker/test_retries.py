"""Retries and timeouts as a live node has them: what a resume forgets, what is asked for, whose timeouts count."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, TransportError
from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import Resume
from understudy_runtime.model.events import Event, RetryScheduled
from understudy_runtime.model.invocation import RetryPolicy, Status, Success, Target
from understudy_runtime.node import Deployment, Node

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import END, Client, Dialogue, ScriptedTransport, error, output, propose, run, scripted

PLAIN = Limits(log_prewrite_bytes=0)
ECHO = Target("Echo", "echo")


async def test_a_resume_starts_counting_at_zero(autojump_clock: MockClock) -> None:
    counts: list[int] = []

    async def script(d: Dialogue) -> None:
        counts.append(d.start.retry_count_since_last_stored_entry)
        if len(counts) == 6:
            await d.say(output(b"1"), END)
        await d.say(error("not yet"))

    limits = attrs.evolve(PLAIN, retry_policy=RetryPolicy(1, 1000, 1, attempts_max=3))
    async with scripted(script, limits=limits) as (client, _):
        sent = await client.send(ECHO, key="i")
        await trio.sleep(1)
        known = client.node.known(sent.invocation_id)
        assert known is not None
        assert known.status is Status.PAUSED
        assert (await client.node.request(Resume(sent.invocation_id))).outcome == "done"
        assert (await client.call(ECHO, key="i")).result == Success(b"1")
    assert counts == [0, 1, 2, 0, 1, 2]


async def test_progress_does_not_reset_the_count_of_attempts(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        number = len(d.known) // 2 + 1
        await d.say(run(number), propose(number, b"x"), error("one step further"))

    limits = attrs.evolve(PLAIN, retry_policy=RetryPolicy(1, 1000, 1, attempts_max=4))
    async with scripted(script, limits=limits) as (client, transport):
        sent = await client.send(ECHO, key="i")
        await trio.sleep(1)
        known = client.node.known(sent.invocation_id)
        assert known is not None
        assert known.status is Status.PAUSED
    assert [len(d.known) for d in transport.dialogues] == [1, 3, 5, 7]
    assert [d.start.retry_count_since_last_stored_entry for d in transport.dialogues] == [0, 1, 1, 1]


class Busy:
    """An endpoint that answers 503 with Retry-After, twice."""

    def __init__(self) -> None:
        self.asked = 0

    async def run(self, head: AttemptHead, frames: object, peer: AttemptPeer) -> None:
        self.asked += 1
        if self.asked <= 2:
            raise TransportError("busy", reached=True, status=503, retry_after_ms=7_000)
        await ScriptedTransport(finish).run(head, frames, peer)  # type: ignore[arg-type]

    async def discover(self) -> object: ...

    async def aclose(self) -> None: ...


async def finish(d: Dialogue) -> None:
    await d.say(output(b"1"), END)


def manifest(**options: int) -> dict[str, object]:
    return {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 6,
        "services": [
            {"name": "Echo", "ty": "SERVICE", "inactivityTimeout": 50_000, "handlers": [{"name": "echo", **options}]}
        ],
    }


async def test_what_a_busy_endpoint_asks_for_replaces_the_interval(autojump_clock: MockClock) -> None:
    events: list[Event] = []
    limits = attrs.evolve(PLAIN, retry_policy=RetryPolicy(1, 1000, 1, attempts_max=2))
    node = Node(
        FakeWorld(),
        limits,
        deployments=[Deployment("dp_1a", Busy(), manifest())],  # type: ignore[arg-type]
        observe=events.append,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        assert (await Client(node).call(ECHO)).result == Success(b"1")
        nursery.cancel_scope.cancel()
    assert [e.delay_ms for e in events if type(e) is RetryScheduled] == [7_000, 7_000], "also when tries are used up"


async def test_the_timeouts_of_the_handler_count(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 2:
            await finish(d)
            return
        began = trio.current_time()
        await d.closed()
        times.append(trio.current_time() - began)
        try:
            await trio.sleep_forever()
        finally:
            times.append(trio.current_time() - began)

    transport = ScriptedTransport(script)
    found = manifest(inactivityTimeout=2_000, abortTimeout=5_000)
    node = Node(FakeWorld(), PLAIN, deployments=[Deployment("dp_1a", transport, found)], observe=lambda _: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        assert (await Client(node).call(ECHO)).result == Success(b"1")
        nursery.cancel_scope.cancel()
    assert times == [pytest.approx(2, abs=0.01), pytest.approx(7, abs=0.01)]
