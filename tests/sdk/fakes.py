"""Fakes of the SDK's two ports: a link over lists, and a host whose clock stands still until told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup
from understudy.hosting import LinkLost
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T

R = TypeVar("R")


class FakeHost:
    """A host: clocks are attributes, sync functions run inline, hazards are kept."""

    def __init__(self, tasks: TaskGroup | None = None) -> None:
        self.tasks = tasks
        self.now = 1_800_000_000_000
        self.monotonic = 0
        self.hazards: list[tuple[str, str, int]] = []

    def now_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> int:
        return self.monotonic

    async def run_sync(self, function: Callable[[], R]) -> R:
        return function()

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        assert self.tasks is not None, "this test starts no tasks"

        async def run() -> None:
            await function()

        self.tasks.start_soon(run)

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        assert detail
        self.hazards.append((kind, filename, line))


class FakeLink:
    """A link to a server that answers by rules given in the test; `sent` is everything the SDK said."""

    def __init__(self, *frames: Frame, acknowledge_runs: bool = True) -> None:
        self.sent: list[Frame] = []
        self.batches: list[list[Frame]] = []
        self.inbox: list[Frame] = list(frames)
        self.closed = False
        self.lost = False
        self.acknowledge_runs = acknowledge_runs
        self.on_send: Callable[[Frame], None] | None = None
        self._arrived = anyio.Event()

    def push(self, *frames: Frame) -> None:
        self.inbox += frames
        self._wake()

    def close(self) -> None:
        self.closed = True
        self._wake()

    def lose(self) -> None:
        self.lost = True
        self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = anyio.Event()

    async def send(self, frames: Sequence[Frame]) -> None:
        if self.lost:
            raise LinkLost("lost")
        assert frames, "an empty flush"
        self.sent += frames
        self.batches.append(list(frames))
        for frame in frames:
            if frame.type == T.PROPOSE_RUN_COMPLETION and self.acknowledge_runs and not self.closed:
                self.inbox.append(acknowledgement(frame))
            if self.on_send is not None:
                self.on_send(frame)

    async def receive(self) -> Sequence[Frame] | None:
        while not self.inbox:
            if self.lost:
                raise LinkLost("lost")
            if self.closed:
                return None
            await self._arrived.wait()
        frames, self.inbox = self.inbox, []
        return frames

    def types(self) -> list[T]:
        return [T(frame.type) for frame in self.sent]


def acknowledgement(proposal: Frame) -> Frame:
    """The notification a server answers a run's proposal with."""
    proposed = pb.ProposeRunCompletion.FromString(proposal.payload)
    note = pb.Notification(completion_id=proposed.result_completion_id)
    if proposed.WhichOneof("result") == "failure":
        note.failure.CopyFrom(proposed.failure)
    else:
        note.value.content = proposed.value
        note.value.SetInParent()
    return Frame(T.RUN_COMPLETION, note.SerializeToString())


def start(body: bytes = b"", *journal: Frame, **fields: object) -> list[Frame]:
    """A start message and a journal that begins with the input *body*."""
    message = pb.Start(id=bytes(24), debug_id="inv_1test", known_entries=1 + len(journal), random_seed=7)
    for name, value in fields.items():
        setattr(message, name, value)
    called_with = pb.InputCommand(value=pb.Value(content=body))
    return [
        Frame(T.START, message.SerializeToString()),
        Frame(T.INPUT, called_with.SerializeToString()),
        *journal,
    ]


def completed(type_: T, completion_id: int, value: bytes | None = None) -> Frame:
    """A completion with a value, or void."""
    note = pb.Notification(completion_id=completion_id)
    if value is None:
        note.void.SetInParent()
    else:
        note.value.content = value
        note.value.SetInParent()
    return Frame(type_, note.SerializeToString())


def cancel_signal() -> Frame:
    """The built-in cancel signal."""
    return Frame(T.SIGNAL_NOTIFICATION, pb.Notification(signal_id=1, void=pb.Void()).SerializeToString())
