"""A codec of journal values: what passes through it, what does not, and replay when no bytes repeat."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from understudy import (
    Endpoint,
    JournalValueCodec,
    ObjectContext,
    RetryableError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    app,
)
from understudy.api.regions import REGION
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MESSAGES
from understudy.protocol.messages import MessageType as T
from understudy.vm.journal import VALUES, same_command

from tests.sdk.fakes import FakeHost, FakeLink, completed, start
from tests.sdk.test_replay import INPUT, JournalingServer, Program, attempt, build, programs, relaxed

MAGIC = b"\x00coded"


class Numbering(JournalValueCodec):
    """Writes the same bytes in another way each time; takes bytes that are not its own as they are."""

    def __init__(self) -> None:
        self.count = 0
        self.regions: list[str | None] = []

    def encode(self, value: bytes) -> bytes:
        self.count += 1
        self.regions.append(REGION.get())
        return MAGIC + self.count.to_bytes(4, "big") + value[::-1]

    async def decode(self, value: bytes) -> bytes:
        await anyio.lowlevel.checkpoint()
        self.regions.append(REGION.get())
        return value[len(MAGIC) + 4 :][::-1] if value.startswith(MAGIC) else value


class Strict(JournalValueCodec):
    """Raises what it is given when it is to decode what it has not encoded."""

    def __init__(self, error: Exception, made: Any = None) -> None:
        self.error = error
        self.made = made

    def encode(self, value: bytes) -> bytes:
        made: bytes = MAGIC + value if self.made is None else self.made
        return made

    async def decode(self, value: bytes) -> bytes:
        if not value.startswith(MAGIC):
            raise self.error
        return value[len(MAGIC) :]


async def play(
    handler: Callable[..., Any], codec: JournalValueCodec, *frames: Frame, link: FakeLink | None = None
) -> tuple[FakeLink, FakeHost]:
    flow = Workflow("Flow")
    flow.main("handle")(handler)
    link = link or FakeLink(*frames)
    async with anyio.create_task_group() as tasks:
        host = FakeHost(tasks)
        application = Endpoint().bind(flow).set_journal_value_codec(codec).app()
        await application.attempt(service="Flow", handler="handle", version=6, link=link, host=host)
    return link, host


def messages(frames: Sequence[Frame]) -> list[Message]:
    return [MESSAGES[T(frame.type)].FromString(frame.payload) for frame in frames]


target = VirtualObject("Target")


@target.handler()
async def callee(ctx: ObjectContext, word: str) -> str:
    raise AssertionError


def answering(link: FakeLink, codec: Numbering, value: bytes) -> None:
    """Let calls, promises and awakeables of the handler under test come back with *value*, encoded."""

    def answer(frame: Frame) -> None:
        if frame.type == T.CALL:
            call = pb.CallCommand.FromString(frame.payload)
            link.push(completed(T.CALL_COMPLETION, call.result_completion_id, codec.encode(value)))
        elif frame.type == T.GET_PROMISE:
            promise = pb.GetPromiseCommand.FromString(frame.payload)
            link.push(completed(T.GET_PROMISE_COMPLETION, promise.result_completion_id, codec.encode(value)))
        elif frame.type == T.COMPLETE_PROMISE:
            done = pb.CompletePromiseCommand.FromString(frame.payload)
            link.push(completed(T.COMPLETE_PROMISE_COMPLETION, done.result_completion_id))

    link.on_send = answer


async def test_every_value_passes_through_and_nothing_else() -> None:
    codec = Numbering()

    async def handle(ctx: WorkflowContext, word: str) -> list[Any]:
        ctx.set("name", "secret")
        ctx.object_send(callee, "key", "secret")
        ctx.generic_send("Target", "callee", b'"secret"', key="key")
        ctx.resolve_awakeable("sign_1x", "secret")
        ctx.reject_awakeable("sign_1x", "no secret")
        ctx.resolve_signal("inv_1x", "signal", "secret")
        await ctx.promise("mine").resolve("secret")
        seen = [
            word,
            await ctx.get("name", type_hint=str),
            await ctx.run_typed("step", lambda: "secret"),
            await ctx.object_call(callee, "key", "secret"),
            await ctx.promise("other", type_hint=str),
            ctx.request().body.decode(),
        ]
        return seen

    link = FakeLink(*start(codec.encode(b'"secret"')))
    answering(link, codec, b'"secret"')
    await play(handle, codec, link=link)
    assert link.types()[-1] is T.END
    plain = [T(frame.type) for frame in link.sent if b"secret" in frame.payload]
    assert plain == [T.COMPLETE_AWAKEABLE], "a failure's message, and no value"
    (output,) = [message for message in messages(link.sent) if isinstance(message, pb.OutputCommand)]
    assert json.loads(await codec.decode(output.value.content)) == ["secret"] * 5 + ['"secret"']
    with_value = {T(frame.type) for frame in link.sent if MAGIC in frame.payload}
    assert with_value == {*VALUES, T.GET_EAGER_STATE, T.PROPOSE_RUN_COMPLETION}


async def test_the_codec_is_no_hazard_and_runs_as_a_step_does() -> None:
    codec = Numbering()

    async def handle(ctx: WorkflowContext, word: str) -> str:
        assert REGION.get() == "handler"
        return await ctx.run_typed("step", lambda: word)

    _, host = await play(handle, codec, *start(b'"x"'))
    assert host.hazards == []
    assert set(codec.regions) == {"run"}
    assert REGION.get() is None


@relaxed
@given(programs, st.data())
def test_any_prefix_is_gone_on_from_though_no_bytes_repeat(program: Program, data: st.DataObject) -> None:
    codec = Numbering()
    application = app(list(build(program).services.values()), journal_value_codec=codec)
    whole = attempt(application, JournalingServer([INPUT], data)).journal
    for length in range(1, len(whole) + 1):
        server = attempt(application, JournalingServer(whole[:length], data))
        assert server.ended is T.END, server.said
        replay = attempt(application, JournalingServer(server.journal, data))
        assert [frame.type for frame in replay.said] == [T.END]


@given(st.sampled_from(sorted(VALUES)), st.binary(), st.binary())
def test_values_are_not_compared_and_all_else_is(type_: T, one: bytes, other: bytes) -> None:
    def command(value: bytes, name: str = "") -> bytes:
        message: Any = MESSAGES[type_](name=name)
        if VALUES[type_] == "parameter":
            message.parameter = value
        else:
            kept = getattr(message, VALUES[type_])
            kept.content = value
            kept.SetInParent()
        data: bytes = message.SerializeToString()
        return data

    assert same_command(type_, command(one), command(other), compares_values=False)
    assert same_command(type_, command(one), command(other)) == (one == other)
    assert not same_command(type_, command(one), command(other, "named"), compares_values=False)


def test_a_value_is_not_a_failure() -> None:
    value = pb.OutputCommand(value=pb.Value(content=b"x")).SerializeToString()
    failed = pb.OutputCommand(failure=pb.Failure(code=500)).SerializeToString()
    assert not same_command(T.OUTPUT, value, failed, compares_values=False)
    assert not same_command(T.OUTPUT, failed, value, compares_values=False)


async def test_a_body_in_clear_fails_the_invocation_for_good() -> None:
    async def handle(ctx: WorkflowContext, word: str) -> None:
        raise AssertionError

    link, _ = await play(handle, Strict(RuntimeError("no tag")), *start(b'"x"'))
    (failed, _) = messages(link.sent)
    assert isinstance(failed, pb.OutputCommand)
    assert failed.failure.code == 400
    assert "no tag" in failed.failure.message


async def test_a_codec_that_cannot_tell_now_is_asked_again() -> None:
    async def handle(ctx: WorkflowContext, word: str) -> None:
        raise AssertionError

    link, _ = await play(handle, Strict(RetryableError("no key yet")), *start(b'"x"'))
    (failed,) = messages(link.sent)
    assert isinstance(failed, pb.Error)
    assert failed.message == "no key yet"


async def test_a_body_that_is_empty_and_not_taken_is_left_alone() -> None:
    async def handle(ctx: WorkflowContext) -> str:
        return "fine"

    link, _ = await play(handle, Strict(RuntimeError("no tag")), *start(b""))
    assert link.types() == [T.OUTPUT, T.END]


async def test_a_result_that_cannot_be_decoded_stays_until_it_can() -> None:
    codec = Strict(ValueError("sealed"))
    seen: list[str] = []

    async def handle(ctx: WorkflowContext) -> str | None:
        future = ctx.get("name", type_hint=str)
        try:
            await future
        except ValueError as error:
            seen.append(str(error))
        codec.decode = opened  # type: ignore[method-assign]
        return await future

    async def opened(value: bytes) -> bytes:
        return value

    frames = start(b"")
    begun = pb.Start.FromString(frames[0].payload)
    begun.state_map.add(key=b"name", value=b'"kept"')
    link, _ = await play(handle, codec, Frame(T.START, begun.SerializeToString()), frames[1])
    assert seen == ["sealed"]
    assert pb.OutputCommand.FromString(link.sent[-2].payload).value.content == MAGIC + b'"kept"'


async def test_what_is_no_bytes_is_refused() -> None:
    async def handle(ctx: WorkflowContext) -> str:
        return "x"

    link, _ = await play(handle, Strict(ValueError(), made="text"), *start(b""))
    (failed,) = messages(link.sent)
    assert isinstance(failed, pb.Error)
    assert "made str of a value, not bytes" in failed.message


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_cancellation_inside_the_codec_cuts_the_attempt_off(backend: str) -> None:
    class Stuck(Numbering):
        async def decode(self, value: bytes) -> bytes:
            events[0].set()
            await anyio.sleep_forever()
            raise AssertionError

    async def handle(ctx: WorkflowContext, word: str) -> None:
        raise AssertionError

    events: list[anyio.Event] = []

    async def main() -> None:
        events.append(anyio.Event())
        link = FakeLink(*start(b'"x"'))

        async def one() -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await play(handle, Stuck(), link=link)

        scopes: list[anyio.CancelScope] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await events[0].wait()
            scopes[0].cancel()
        assert link.sent == []

    anyio.run(main, backend=backend)
