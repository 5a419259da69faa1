"""Replay: handlers drawn as data, run against a small journaling server, cut off anywhere and taken up again.

Whatever prefix of a journal an attempt is given, it goes on from there; and a whole journal replays in silence to the
same output.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import anyio
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from understudy import App, DurableFuture, ObjectContext, TerminalError, VirtualObject, app, gather, select
from understudy.hosting import LinkLost
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MESSAGES, is_command
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import FakeHost, acknowledgement, cancel_signal, completed, start

Program = list[Any]


class JournalingServer:
    """Keeps a journal as a server does and answers what can be answered, in an order the test draws."""

    def __init__(self, journal: Sequence[Frame], draw: st.DataObject | None, *, die_after: int | None = None) -> None:
        self.journal = list(journal)
        self.said: list[Frame] = []
        self.ended: T | None = None
        self._draw = draw
        self._die_after = die_after
        self._unanswered: list[Frame] = []
        self._runs_open = 0
        self._heard = anyio.Event()
        self._first = True
        for frame in journal:
            if is_command(frame.type):
                self._owe(frame)
            else:
                self._settle(frame)

    def _owe(self, command: Frame) -> None:
        message: Any = MESSAGES[T(command.type)].FromString(command.payload)
        if command.type == T.RUN:
            self._runs_open += 1
        elif command.type == T.SLEEP:
            self._unanswered.append(completed(T.SLEEP_COMPLETION, message.result_completion_id))
        elif command.type == T.CALL:
            note = pb.Notification(completion_id=message.invocation_id_notification_idx, invocation_id="inv_1callee")
            self._unanswered.append(Frame(T.CALL_INVOCATION_ID_COMPLETION, note.SerializeToString()))
            self._unanswered.append(completed(T.CALL_COMPLETION, message.result_completion_id, message.parameter))
        elif command.type == T.GET_LAZY_STATE:
            self._unanswered.append(completed(T.GET_LAZY_STATE_COMPLETION, message.result_completion_id, b'"lazy"'))

    def _settle(self, note: Frame) -> None:
        if note.type == T.RUN_COMPLETION:
            self._runs_open -= 1
        self._unanswered = [frame for frame in self._unanswered if frame.payload[:2] != note.payload[:2]]

    async def send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.said.append(frame)
            if self._die_after is not None and len(self.said) > self._die_after:
                raise LinkLost("the process died")
            if is_command(frame.type):
                self.journal.append(frame)
                self._owe(frame)
            elif frame.type == T.PROPOSE_RUN_COMPLETION:
                self._runs_open -= 1
                self._unanswered.append(acknowledgement(frame))
            else:
                self.ended = T(frame.type)
        self._heard.set()
        self._heard = anyio.Event()

    async def receive(self) -> Sequence[Frame] | None:
        if self._first:
            self._first = False
            entries = self.journal[1:] if self.journal else []
            return [*start(b"", *entries, partial_state=True)]
        while not self._unanswered and self._runs_open:
            await self._heard.wait()
        if not self._unanswered:
            return None
        at = self._draw.draw(st.integers(0, len(self._unanswered) - 1)) if self._draw is not None else 0
        note = self._unanswered.pop(at)
        self.journal.append(note)
        return [note]


def build(program: Program, *, executions: list[str] | None = None) -> App:
    """A handler that does what *program* says and returns what it saw."""
    thing = VirtualObject("Thing")

    @thing.handler("play")
    async def play(ctx: ObjectContext) -> list[Any]:
        seen: list[Any] = []
        for number, step in enumerate(program):
            seen.append(await perform(ctx, play, number, step, executions))
        return seen

    return app([thing])


def future(ctx: ObjectContext, play: Any, number: int, step: Any, executions: list[str] | None) -> Any:
    kind = step[0]
    if kind == "sleep":
        return ctx.sleep(timedelta(milliseconds=step[1]))
    if kind == "call":
        return ctx.object_call(play, "k", None)
    if kind == "get":
        return ctx.get(step[1], type_hint=str)

    def work() -> str:
        if executions is not None:
            executions.append(f"{number}")
        return f"run {number}"

    return ctx.run_typed(f"step {number}", work)


async def perform(ctx: ObjectContext, play: Any, number: int, step: Any, executions: list[str] | None) -> Any:
    kind = step[0]
    if kind == "set":
        ctx.set(step[1], step[2])
        return None
    if kind == "clear":
        ctx.clear(step[1])
        return None
    if kind == "uuid":
        return str(ctx.uuid())
    if kind in ("gather", "select"):
        futures: list[DurableFuture[Any]] = [
            future(ctx, play, number * 10 + at, inner, executions) for at, inner in enumerate(step[1])
        ]
        if kind == "gather":
            await gather(*futures)
            return [await one for one in futures]
        return await select(**{f"f{at}": one for at, one in enumerate(futures)})
    return await future(ctx, play, number, step, executions)


names = st.sampled_from(["a", "b", "c"])
awaitables = st.one_of(
    st.tuples(st.just("sleep"), st.integers(0, 1000)),
    st.tuples(st.just("run")),
    st.tuples(st.just("call")),
    st.tuples(st.just("get"), names),
)
programs = st.lists(
    st.one_of(
        awaitables,
        st.tuples(st.just("set"), names, st.sampled_from(["x", "y"])),
        st.tuples(st.just("clear"), names),
        st.tuples(st.just("uuid")),
        st.tuples(st.just("gather"), st.lists(awaitables, min_size=1, max_size=3)),
        st.tuples(st.just("select"), st.lists(awaitables, min_size=1, max_size=3)),
    ),
    max_size=6,
)
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def attempt(application: App, server: JournalingServer) -> JournalingServer:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            await application.attempt(service="Thing", handler="play", version=6, link=server, host=FakeHost(tasks))

    trio.run(main)
    return server


def output_of(journal: Sequence[Frame]) -> bytes:
    (frame,) = [frame for frame in journal if frame.type == T.OUTPUT]
    return frame.payload


INPUT = start(b"")[1]


@relaxed
@given(programs, st.data())
def test_a_whole_journal_replays_in_silence_to_the_same_output(program: Program, data: st.DataObject) -> None:
    application = build(program)
    first = attempt(application, JournalingServer([INPUT], data))
    assert first.ended is T.END
    executions: list[str] = []
    second = attempt(build(program, executions=executions), JournalingServer(first.journal, data))
    assert [frame.type for frame in second.said] == [T.END]
    assert executions == []
    assert second.journal == first.journal


@relaxed
@given(programs, st.data())
def test_any_prefix_of_a_journal_is_gone_on_from(program: Program, data: st.DataObject) -> None:
    application = build(program)
    whole = attempt(application, JournalingServer([INPUT], data)).journal
    for length in range(1, len(whole) + 1):
        server = attempt(application, JournalingServer(whole[:length], data))
        assert server.ended is T.END, server.said
        assert server.journal[:length] == whole[:length]
        replay = attempt(application, JournalingServer(server.journal, data))
        assert [frame.type for frame in replay.said] == [T.END]
        assert output_of(replay.journal) == output_of(server.journal)


@relaxed
@given(programs, st.data(), st.integers(0, 12))
def test_an_attempt_that_dies_is_taken_up_where_its_journal_ends(
    program: Program, data: st.DataObject, die_after: int
) -> None:
    application = build(program)
    dead = attempt(application, JournalingServer([INPUT], data, die_after=die_after))
    alive = attempt(application, JournalingServer(dead.journal, data))
    assert alive.ended is T.END
    assert alive.journal[: len(dead.journal)] == dead.journal


def test_a_cancel_is_raised_at_the_same_await_in_every_replay() -> None:
    thing = VirtualObject("Thing")

    @thing.handler("play")
    async def play(ctx: ObjectContext) -> list[str]:
        seen = []
        for number in range(3):
            try:
                await ctx.sleep(timedelta(hours=1))
            except TerminalError:
                seen.append(f"cancelled at {number}")
        return seen

    application = app([thing])
    whole = attempt(application, JournalingServer([INPUT], None)).journal
    # Input, sleep, its completion, sleep, [cancel], ...
    cancelled = [*whole[:4], cancel_signal()]
    first = attempt(application, JournalingServer(cancelled, None))
    again = attempt(application, JournalingServer(first.journal, None))
    assert output_of(first.journal) == output_of(again.journal)
    assert b"cancelled at 1" in output_of(first.journal)


def test_a_cancel_goes_on_to_every_call_and_replays_in_silence() -> None:
    thing = VirtualObject("Thing")

    @thing.handler("play")
    async def play(ctx: ObjectContext) -> str:
        ctx.object_call(play, "a", None)
        ctx.object_send(play, "not followed", None)
        call = ctx.object_call(play, "b", None)
        try:
            await call
        except TerminalError as error:
            await ctx.run_typed("compensate", lambda: 1)
            return f"{error.status_code}"
        return "never"

    application = app([thing])
    issued = attempt(application, JournalingServer([INPUT], None)).journal[:4]
    assert [frame.type for frame in issued] == [T.INPUT, T.CALL, T.ONE_WAY_CALL, T.CALL]
    # The cancel is there before the ids of the calls are: the SDK waits for both.
    first = attempt(application, JournalingServer([*issued, cancel_signal()], None))
    signals = [pb.SendSignalCommand.FromString(frame.payload) for frame in first.said if frame.type == T.SEND_SIGNAL]
    assert [(signal.target_invocation_id, signal.idx) for signal in signals] == [("inv_1callee", 1)] * 2
    assert b'"409"' in output_of(first.journal)
    again = attempt(application, JournalingServer(first.journal, None))
    assert [frame.type for frame in again.said] == [T.END]
