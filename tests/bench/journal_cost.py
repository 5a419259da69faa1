"""What a journal costs: a new step, an entry replayed, and an invocation of N awaits, kept open and always suspending.

A replay is held against decoding: to parse the same bytes into frames and messages is the least any SDK does.  CPU is
process time, the least of several rounds; calls are functions called, Python's and C's: no neighbour changes those.

    python -m tests.bench.journal_cost                      # all figures
    python -m tests.bench.journal_cost --plot docs/journal-cost.svg
    python -m tests.bench.journal_cost --only replay
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

import attrs
import trio
from understudy import Context, ObjectContext, Service, VirtualObject, app
from understudy.endpoint import App
from understudy.hosting import Link
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame, FrameDecoder, encode_frames
from understudy.protocol.messages import MESSAGES, is_command
from understudy.protocol.messages import MessageType as T
from understudy_runtime.ingress.port import Request
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, AttemptStream
from understudy_runtime.limits import Limits
from understudy_runtime.node import Deployment, Node

from tests.bench.cpu_cost import JSON, calibration_s
from tests.bench.journal_cost_plot import draw_log
from tests.bench.memory_world import MemoryHost, MemoryWorld
from tests.bench.plot import Series

STEPS = 200
ROUNDS = 7
AWAITS = (10, 100, 1_000)
REPEATS: Mapping[int, int] = MappingProxyType({10: 30, 100: 6, 1_000: 1})

bench = VirtualObject("Bench")
awaits = Service("Awaits")


@bench.handler("runs")
async def runs(ctx: ObjectContext, count: int) -> int:
    """Each step a side effect."""
    total = 0
    for _ in range(count):
        total += await ctx.run_typed("step", lambda: 1)
    return total


@bench.handler("sleeps")
async def sleeps(ctx: ObjectContext, count: int) -> int:
    """Each step a pause."""
    for _ in range(count):
        await ctx.sleep(timedelta(milliseconds=1))
    return count


@bench.handler("calls")
async def calls(ctx: ObjectContext, count: int) -> int:
    """Each step a call."""
    total = 0
    for _ in range(count):
        total += await ctx.object_call(calls, "other", 1)
    return total


@bench.handler("state")
async def state(ctx: ObjectContext, count: int) -> int:
    """Each step a value read or written."""
    total = 0
    for _ in range(count // 2):
        total = (await ctx.get("total", type_hint=int) or 0) + 1
        ctx.set("total", total)
    return total


@awaits.handler("kept")
async def kept(ctx: Context, count: int) -> int:
    """N awaits, each of a side effect, on a stream that stays open."""
    return await waits(ctx, count)


@awaits.handler("suspending", inactivity_timeout=timedelta(0))
async def suspending(ctx: Context, count: int) -> int:
    """The same, and each await ends the attempt."""
    return await waits(ctx, count)


async def waits(ctx: Context, count: int) -> int:
    """N side effects, one after the other."""
    total = 0
    for _ in range(count):
        total += await ctx.run_typed("step", lambda: 1)
    return total


APP = app([bench, awaits])
KINDS = ("runs", "sleeps", "calls", "state")


# -- the SDK alone --


class Answering:
    """A server that answers every step at once, and keeps the journal."""

    def __init__(self, count: int) -> None:
        called_with = pb.InputCommand(value=pb.Value(content=b"%d" % count))
        self.entries = [Frame(T.INPUT, called_with.SerializeToString())]
        self._inbox = [start_frame(1), *self.entries]

    async def send(self, frames: Sequence[Frame]) -> None:
        """Keep the commands, answer what has an answer."""
        for frame in frames:
            if is_command(frame.type):
                self._keep(frame, back=False)
            answers = ANSWERS.get(frame.type)
            for answer in answers(frame.payload) if answers is not None else ():
                self._keep(answer, back=True)

    def _keep(self, frame: Frame, *, back: bool) -> None:
        self.entries.append(frame)
        if back:
            self._inbox.append(frame)

    async def receive(self) -> Sequence[Frame] | None:
        """What there is; the handler never has to wait."""
        frames, self._inbox = self._inbox, []
        assert frames, "every step is answered at once"
        return frames


class Recorded:
    """A server that sends a journal."""

    def __init__(self, entries: Sequence[Frame]) -> None:
        self._frames: list[Frame] | None = [start_frame(len(entries)), *entries]
        self.last: Frame | None = None

    async def send(self, frames: Sequence[Frame]) -> None:
        """The end is all there is to say."""
        self.last = frames[-1]

    async def receive(self) -> Sequence[Frame] | None:
        """The journal, once."""
        frames, self._frames = self._frames, None
        return frames


def start_frame(known: int) -> Frame:
    """A start message."""
    message = pb.Start(id=bytes(24), debug_id="inv_1bench", known_entries=known, key="k", random_seed=7)
    return Frame(T.START, message.SerializeToString())


def _ran(payload: bytes) -> tuple[Frame, ...]:
    proposed = pb.ProposeRunCompletion.FromString(payload)
    note = pb.Notification(completion_id=proposed.result_completion_id, value=pb.Value(content=proposed.value))
    return (Frame(T.RUN_COMPLETION, note.SerializeToString()),)


def _slept(payload: bytes) -> tuple[Frame, ...]:
    key = pb.SleepCommand.FromString(payload).result_completion_id
    return (Frame(T.SLEEP_COMPLETION, pb.Notification(completion_id=key, void=pb.Void()).SerializeToString()),)


def _called(payload: bytes) -> tuple[Frame, ...]:
    call = pb.CallCommand.FromString(payload)
    key = call.invocation_id_notification_idx
    named = pb.Notification(completion_id=key, invocation_id="inv_12kpUQONmeFb2FsmCsvSPXa3uoQDJkJa0o")
    result = pb.Notification(completion_id=call.result_completion_id, value=pb.Value(content=b"1"))
    return (
        Frame(T.CALL_INVOCATION_ID_COMPLETION, named.SerializeToString()),
        Frame(T.CALL_COMPLETION, result.SerializeToString()),
    )


ANSWERS: Mapping[int, Callable[[bytes], tuple[Frame, ...]]] = MappingProxyType(
    {T.PROPOSE_RUN_COMPLETION: _ran, T.SLEEP: _slept, T.CALL: _called}
)


async def play(link: Link, kind: str, application: App = APP) -> None:
    """One attempt in the calling task."""
    async with trio.open_nursery() as nursery:
        host = MemoryHost(nursery)
        await application.attempt(service="Bench", handler=kind, version=6, link=link, host=host)


async def journal_of(kind: str, count: int) -> list[Frame]:
    """The entries of a whole invocation, but for its output."""
    server = Answering(count)
    await play(server, kind)
    assert server.entries[-1].type == T.OUTPUT, server.entries[-1]
    return server.entries[:-1]


@attrs.frozen
class StepCost:
    """One kind of step: a new one, a replayed entry of its journal, the decoding of one."""

    kind: str
    entries: int
    new_us: float
    replay_us: float
    decode_us: float
    new_calls: float
    replay_calls: float

    @property
    def ratio(self) -> float:
        """How many times as much as decoding a replay costs."""
        return self.replay_us / self.decode_us


async def step_cost(kind: str, count: int = STEPS, rounds: int = ROUNDS) -> StepCost:
    """What *count* steps of *kind* cost, each and per entry of their journal."""
    entries = await journal_of(kind, count)
    whole = encode_frames([start_frame(len(entries)), *entries])

    async def new() -> None:
        await play(Answering(count), kind)

    async def replayed() -> None:
        link = Recorded(entries)
        await play(link, kind)
        assert link.last is not None
        assert link.last.type == T.END, link.last

    async def decoded() -> None:
        for frame in FrameDecoder().feed(whole):
            MESSAGES[T(frame.type)].FromString(frame.payload)

    return StepCost(
        kind,
        len(entries) - 1,
        new_us=await least_us(new, rounds) / count,
        replay_us=await least_us(replayed, rounds) / len(entries),
        decode_us=await least_us(decoded, rounds) / len(entries),
        new_calls=await calls_of(new) / count,
        replay_calls=await calls_of(replayed) / len(entries),
    )


async def least_us(function: Callable[[], Awaitable[None]], rounds: int) -> float:
    """CPU microseconds of the least of *rounds*."""
    least = float("inf")
    for _ in range(rounds):
        gc.collect()
        began = time.process_time_ns()
        await function()
        least = min(least, (time.process_time_ns() - began) / 1e3)
    return least


async def calls_of(function: Callable[[], Awaitable[None]]) -> int:
    """How many functions, Python's and C's, *function* calls."""
    count = 0

    def note(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        await function()
    finally:
        sys.setprofile(None)
    return count


# -- server and SDK --


class CountingStream:
    """The server's sending half, counted."""

    def __init__(self, stream: AttemptStream, count: Counted) -> None:
        self._stream = stream
        self._count = count
        self.close_send = stream.close_send

    def send(self, frames: Sequence[Frame]) -> None:
        """Count and pass on."""
        self._count.add(frames)
        self._stream.send(frames)


class CountingPeer:
    """The invoker's side of an attempt: its sending half is counted."""

    def __init__(self, peer: AttemptPeer, count: Counted) -> None:
        self._peer = peer
        self._count = count
        self.received = peer.received
        self.room = peer.room

    def opened(self, stream: AttemptStream) -> None:
        """Pass the stream on, counted."""
        self._peer.opened(CountingStream(stream, self._count))


@attrs.define
class Counted:
    """What the server sent to handlers."""

    attempts: int = 0
    entries: int = 0
    sent_bytes: int = 0

    def add(self, frames: Sequence[Frame]) -> None:
        """Frames on their way to a handler."""
        self.entries += len(frames)
        self.sent_bytes += sum(8 + len(frame.payload) for frame in frames)


class CountingTransport(InProcessTransport):
    """The way to the app, with a count of what goes there."""

    def __init__(self, application: App, host: MemoryHost) -> None:
        super().__init__(application, host)
        self.count = Counted()

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        """One attempt, counted."""
        self.count.attempts += 1
        self.count.add(frames)
        await super().run(head, frames, CountingPeer(peer, self.count))


@attrs.frozen
class AwaitsCost:
    """One invocation of *count* awaits."""

    mode: str
    count: int
    cpu_ms: float
    loops: float
    """The same in calibration loops of the same moment."""
    attempts: int
    entries: int
    sent_bytes: int


async def awaits_cost(mode: str, count: int, repeats: int) -> AwaitsCost:
    """The least of *repeats* invocations, one after the other on one server."""
    async with trio.open_nursery() as nursery:
        transport = CountingTransport(APP, MemoryHost(nursery))
        deployment = Deployment("dp_bench", transport, (await transport.discover()).manifest)
        node = Node(MemoryWorld(), Limits(), deployments=[deployment], observe=lambda event: None)
        await nursery.start(node.run)
        ingress = Ingress(node, Limits())
        least, unit_s = float("inf"), min(calibration_s() for _ in range(20))
        for _ in range(repeats):
            gc.collect()
            transport.count = Counted()
            began = time.process_time()
            response = await ingress.handle(Request("POST", f"/Awaits/{mode}", JSON, b"%d" % count))
            least = min(least, time.process_time() - began)
            assert (response.status, response.body) == (200, b"%d" % count), response
        unit_s = min(unit_s, *(calibration_s() for _ in range(20)))
        nursery.cancel_scope.cancel()
    seen = transport.count
    return AwaitsCost(mode, count, least * 1e3, least / unit_s, seen.attempts, seen.entries, seen.sent_bytes)


# -- figures --


def print_steps() -> None:
    """The table of steps."""
    print("| step | new, µs (calls) | replayed entry, µs (calls) | decoding it, µs | replay : decoding |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        one = trio.run(step_cost, kind)
        print(
            f"| {one.kind} | {one.new_us:.1f} ({one.new_calls:.0f}) | {one.replay_us:.2f} ({one.replay_calls:.1f}) "
            f"| {one.decode_us:.2f} | {one.ratio:.1f} |"
        )


def print_awaits(plot: Path | None) -> None:
    """The table of awaits, and its picture."""
    found = {
        (mode, count): trio.run(awaits_cost, mode, count, REPEATS[count])
        for mode in ("kept", "suspending")
        for count in AWAITS
    }
    print("| awaits | mode | CPU ms | calibration loops | per await, µs | attempts | entries sent | bytes sent |")
    print("|---|---|---|---|---|---|---|---|")
    for one in found.values():
        print(
            f"| {one.count} | {one.mode} | {one.cpu_ms:.1f} | {one.loops:.1f} | {one.cpu_ms * 1e3 / one.count:.0f} "
            f"| {one.attempts} | {one.entries:,} | {one.sent_bytes:,} |"
        )
    if plot is not None:
        curves = [
            Series(f"{name}, {mode}", [of(found[mode, count]) for count in AWAITS])
            for name, of in (("CPU ms", cpu_ms), ("KB sent to the handler", sent_kb))
            for mode in ("kept", "suspending")
        ]
        plot.write_text(draw_log("One invocation of N awaits", "awaits", AWAITS, curves))


def cpu_ms(one: AwaitsCost) -> float:
    """CPU of server and SDK."""
    return one.cpu_ms


def sent_kb(one: AwaitsCost) -> float:
    """What the server sent."""
    return one.sent_bytes / 1e3


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("replay", "awaits"))
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if given.only != "awaits":
        print_steps()
    if given.only != "replay":
        print_awaits(given.plot)


if __name__ == "__main__":
    main()
