"""A node on a fake world, with an endpoint whose every attempt follows a script, or with an SDK app in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio
from understudy.endpoint import App
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, Discovery
from understudy_runtime.limits import Limits
from understudy_runtime.model import ids
from understudy_runtime.model.actions import Completed, InvokeAcked
from understudy_runtime.model.commands import Invoke
from understudy_runtime.model.events import Event, Observe
from understudy_runtime.model.invocation import Target
from understudy_runtime.model.retention import retention_of
from understudy_runtime.node import Deployment, Node
from understudy_runtime.slot import Slot

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.manifests import manifest

T = TypeVar("T")


class Dialogue:
    """One attempt as its endpoint sees it.  `known` is the journal it opened with, `heard` what came afterwards."""

    def __init__(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        self.head = head
        self.start = pb.Start.FromString(frames[0].payload)
        self.first = frames[0]
        self.known = list(frames[1:])
        self.heard: list[Frame] = []
        self.is_closed = False
        self._peer = peer
        self._slot = Slot()

    def send(self, frames: Sequence[Frame]) -> None:
        self.heard += frames
        if self._slot.parked:
            self._slot.wake()

    def close_send(self) -> None:
        self.is_closed = True
        if self._slot.parked:
            self._slot.wake()

    def all_heard(self) -> list[Frame]:
        """Everything the server has said so far."""
        return [self.first, *self.known, *self.heard]

    async def say(self, *frames: Frame) -> None:
        self._peer.received(frames)
        await self._peer.room()

    async def hear(self, count: int) -> None:
        """Wait until *count* frames were heard, or the server closed its side."""
        while len(self.heard) < count and not self.is_closed:
            await self._slot.park()

    async def closed(self) -> None:
        """Wait until the server closes its side."""
        while not self.is_closed:
            await self._slot.park()


Script = Callable[[Dialogue], Awaitable[None]]


class ScriptedTransport:
    """Every attempt runs *script*; `dialogues` are all of them."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.dialogues: list[Dialogue] = []
        self.running = 0

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        dialogue = Dialogue(head, frames, peer)
        self.dialogues.append(dialogue)
        peer.opened(dialogue)
        self.running += 1
        try:
            await self.script(dialogue)
        finally:
            self.running -= 1

    async def discover(self) -> Discovery:
        raise AssertionError("the test registers the manifest itself")


@attrs.frozen
class FakeHost:
    """The process of an in-process endpoint."""

    world: FakeWorld
    nursery: trio.Nursery

    def now_ms(self) -> int:
        return self.world.now_ms()

    def monotonic_ms(self) -> int:
        return round(trio.current_time() * 1000)

    async def run_sync(self, function: Callable[[], T]) -> T:
        return function()

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        self.nursery.start_soon(function)

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        raise AssertionError(f"{filename}:{line}: {kind} {detail}")


@attrs.define
class Client:
    """What a test asks of a node."""

    node: Node

    def request(
        self, target: Target, payload: bytes = b"", *, key: str | None = None, execution_time_ms: int = 0
    ) -> Invoke:
        found = self.node.schema.resolve(target.service, target.handler)
        assert found is not None, "the test's manifest offers it"
        service, handler = found
        world = self.node.world
        invocation_id = ids.invocation_id_for(target, handler.type, key, world.now_ms(), world.entropy(12))
        retention = retention_of(handler, self.node.limits, can_ask_again=key is not None)
        return Invoke(
            invocation_id,
            target,
            service.type,
            handler.type,
            payload,
            idempotency_key=key,
            execution_time_ms=execution_time_ms,
            completion_retention_ms=retention.result_ms,
            journal_retention_ms=retention.journal_ms,
            retry_policy=handler.options.retry_policy(self.node.limits.retry_policy),
        )

    async def call(self, target: Target, payload: bytes = b"", *, key: str | None = None) -> Completed:
        _, completed = await self.node.call(self.request(target, payload, key=key))
        assert completed is not None, "no conflict"
        return completed

    async def send(
        self, target: Target, payload: bytes = b"", *, key: str | None = None, execution_time_ms: int = 0
    ) -> InvokeAcked:
        request = self.request(target, payload, key=key, execution_time_ms=execution_time_ms)
        return await self.node.submit(request)


def output(value: bytes) -> Frame:
    return Frame(MessageType.OUTPUT, pb.OutputCommand(value=pb.Value(content=value)).SerializeToString())


END = Frame(MessageType.END, b"")


def run(completion_id: int) -> Frame:
    return Frame(MessageType.RUN, pb.RunCommand(result_completion_id=completion_id).SerializeToString())


def propose(completion_id: int, value: bytes) -> Frame:
    message = pb.ProposeRunCompletion(result_completion_id=completion_id, value=value)
    return Frame(MessageType.PROPOSE_RUN_COMPLETION, message.SerializeToString())


def sleep(completion_id: int, wake_up_ms: int) -> Frame:
    message = pb.SleepCommand(result_completion_id=completion_id, wake_up_time=wake_up_ms)
    return Frame(MessageType.SLEEP, message.SerializeToString())


def suspension(*completions: int) -> Frame:
    message = pb.Suspension(waiting_completions=completions, waiting_signals=[1])
    return Frame(MessageType.SUSPENSION, message.SerializeToString())


def error(message: str, next_retry_ms: int | None = None) -> Frame:
    return Frame(
        MessageType.ERROR, pb.Error(code=500, message=message, next_retry_delay=next_retry_ms).SerializeToString()
    )


def ignore(event: Event) -> None:
    pass


@asynccontextmanager
async def scripted(
    script: Script,
    *,
    world: FakeWorld | None = None,
    limits: Limits | None = None,
    partition_count: int | None = None,
    observe: Observe = ignore,
) -> AsyncIterator[tuple[Client, ScriptedTransport]]:
    """A running node with one scripted endpoint."""
    transport = ScriptedTransport(script)
    node = Node(
        world or FakeWorld(),
        limits or Limits(log_prewrite_bytes=0),
        partition_count=partition_count,
        deployments=[Deployment("dp_1a", transport, manifest())],
        observe=observe,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield Client(node), transport
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def hosted(
    app: App,
    *,
    world: FakeWorld,
    limits: Limits | None = None,
    partition_count: int | None = None,
    observe: Observe = ignore,
) -> AsyncIterator[Client]:
    """A running node with an SDK app in process."""
    async with trio.open_nursery() as nursery:
        transport = InProcessTransport(app, FakeHost(world, nursery))
        node = Node(
            world,
            limits or Limits(log_prewrite_bytes=0),
            partition_count=partition_count,
            deployments=[Deployment("dp_1a", transport, app.manifest())],
            observe=observe,
        )
        await nursery.start(node.run)
        yield Client(node)
        nursery.cancel_scope.cancel()
