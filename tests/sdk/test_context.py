"""What each step of a context says to the server, and what it gives back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from understudy import (
    BytesSerde,
    Context,
    ObjectContext,
    ObjectSharedContext,
    Service,
    VirtualObject,
    WorkflowContext,
    WorkflowSharedContext,
    app,
)
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import FakeHost, FakeLink, completed, start
from tests.sdk.playing import Handler, output, play, said

IDS = json.loads((Path(__file__).parent.parent / "vectors" / "ids.json").read_text())

other = VirtualObject("Other")


@dataclass
class Seat:
    row: int


@other.handler()
async def reserve(ctx: ObjectContext, seat: Seat) -> Seat:
    return seat


@other.handler()
async def nothing(ctx: ObjectContext) -> None: ...


# -- commands as they are sent --


async def test_calls_and_sends() -> None:
    async def handler(ctx: Context) -> None:
        ctx.object_call(reserve, "k", Seat(3), idempotency_key="once", headers={"a": "b"})
        ctx.object_send(reserve, key="k", arg=Seat(4), send_delay=timedelta(seconds=2))
        ctx.object_send(nothing, "k", None)
        ctx.generic_call("S", "h", b"\x00", key="k")
        ctx.generic_send("S", "h", b"\x01", send_delay=timedelta(0))

    host = FakeHost()
    call, delayed, plain, generic, generic_send, *_ = said(await play(handler, host=host))
    assert isinstance(call, pb.CallCommand)
    assert (call.service_name, call.handler_name, call.key) == ("Other", "reserve", "k")
    assert (call.parameter, call.idempotency_key) == (b'{"row": 3}', "once")
    assert [(header.key, header.value) for header in call.headers] == [("a", "b")]
    assert isinstance(delayed, pb.OneWayCallCommand)
    assert delayed.invoke_time == host.now + 2000
    assert isinstance(plain, pb.OneWayCallCommand)
    assert (plain.parameter, plain.invoke_time) == (b"", 0)
    assert isinstance(generic, pb.CallCommand)
    assert (generic.parameter, generic.key) == (b"\x00", "k")
    assert isinstance(generic_send, pb.OneWayCallCommand)
    assert (generic_send.parameter, generic_send.invoke_time) == (b"\x01", 0)


async def test_results_of_calls_come_back_typed_with_their_ids() -> None:
    link = FakeLink(*start())

    def answer(frame: Frame) -> None:
        if frame.type == T.CALL:
            note = pb.Notification(completion_id=1, invocation_id="inv_1callee")
            link.push(Frame(T.CALL_INVOCATION_ID_COMPLETION, note.SerializeToString()))
            link.push(completed(T.CALL_COMPLETION, 2, b'{"row": 3}'))

    link.on_send = answer

    async def handler(ctx: Context) -> list[Any]:
        call = ctx.object_call(reserve, "k", Seat(3))
        seat = await call
        assert await call is seat
        assert isinstance(seat, Seat)
        await call.cancel_invocation()
        return [await call.invocation_id(), seat.row]

    await play(handler, link=link)
    assert output(link) == ["inv_1callee", 3]
    assert T.SEND_SIGNAL in link.types()


async def test_awakeables_signals_and_other_invocations() -> None:
    async def handler(ctx: Context) -> str:
        awakeable_id, _ = ctx.awakeable(type_hint=str)
        ctx.resolve_awakeable("sign_1x", Seat(1))
        ctx.reject_awakeable("sign_1x", "no", 418)
        ctx.resolve_signal("inv_1x", "go", None)
        ctx.reject_signal("inv_1x", "go", "no")
        ctx.cancel_invocation("inv_1y")
        for method in (ctx.cancel_invocation, ctx.attach_invocation):
            with pytest.raises(ValueError, match="needs the id"):
                method("")
        return awakeable_id

    link = await play(handler)
    resolved, rejected, signalled, refused, cancelled, *_ = said(link)
    assert isinstance(resolved, pb.CompleteAwakeableCommand)
    assert resolved.value.content == b'{"row": 1}'
    assert isinstance(rejected, pb.CompleteAwakeableCommand)
    assert (rejected.failure.code, rejected.failure.message) == (418, "no")
    assert isinstance(signalled, pb.SendSignalCommand)
    assert (signalled.name, signalled.WhichOneof("result")) == ("go", "value")
    assert isinstance(refused, pb.SendSignalCommand)
    assert refused.failure.code == 500
    assert isinstance(cancelled, pb.SendSignalCommand)
    assert (cancelled.idx, cancelled.target_invocation_id) == (1, "inv_1y")
    assert output(link) == "sign_1" + "A" * 32 + "AAAAEQ"


@pytest.mark.parametrize("recorded", IDS["awakeable_ids"])
def test_awakeable_ids_are_those_recorded(recorded: dict[str, Any]) -> None:
    from understudy.vm import VM

    vm = VM(6)
    raw = bytes.fromhex(recorded["raw_hex"])
    message = pb.Start(id=raw[:24], known_entries=1)
    vm.notify_input([Frame(T.START, message.SerializeToString()), start()[1]])
    vm.sys_input()
    assert vm.sys_awakeable()[0] == recorded["awakeable_id"]


@pytest.mark.parametrize("recorded", IDS["random_seed"])
async def test_randomness_is_that_recorded(recorded: dict[str, Any]) -> None:
    service = Service("S")

    @service.handler()
    async def draw(ctx: Context) -> list[Any]:
        return [str(ctx.uuid()), ctx.random().random()]

    message = pb.Start(
        id=bytes.fromhex(recorded["raw_id_hex"]),
        known_entries=1,
        random_seed=int(recorded["random_seed_field_on_wire"]),
    )
    link = FakeLink(Frame(T.START, message.SerializeToString()), start()[1])
    version = int(recorded["protocol"][1])
    await app([service]).attempt(service="S", handler="draw", version=version, link=link, host=FakeHost())
    assert output(link) == [recorded["first_uuid"], recorded["next_random"]]


async def test_state() -> None:
    async def handler(ctx: ObjectContext) -> list[Any]:
        seat = await ctx.get("seat", type_hint=Seat)
        assert isinstance(seat, Seat)
        ctx.set("other", Seat(9))
        ctx.set("raw", b"\x00\xff", serde=BytesSerde())
        raw = await ctx.get("raw", serde=BytesSerde())
        keys = await ctx.state_keys()
        ctx.clear("seat")
        gone = await ctx.get("seat")
        ctx.clear_all()
        return [seat.row, raw == b"\x00\xff", keys, gone, await ctx.state_keys(), ctx.key()]

    frames = start()
    message = pb.Start.FromString(frames[0].payload)
    message.key = "k"
    message.state_map.add(key=b"seat", value=b'{"row": 7}')
    link = await play(handler, Frame(T.START, message.SerializeToString()), frames[1])
    assert output(link) == [7, True, ["other", "raw", "seat"], None, [], "k"]


async def test_each_kind_of_handler_can_do_what_it_may() -> None:
    seen: dict[str, type] = {}

    def note(kind: str) -> Handler:
        async def handler(ctx: Context) -> None:
            seen[kind] = type(ctx)

        return handler

    for kind in ("exclusive", "shared", "main", "beside"):
        await play(note(kind), kind=kind)
    assert seen == {
        "exclusive": ObjectContext,
        "shared": ObjectSharedContext,
        "main": WorkflowContext,
        "beside": WorkflowSharedContext,
    }
    assert not hasattr(ObjectSharedContext, "set")
    assert not hasattr(WorkflowSharedContext, "clear_all")
    assert not hasattr(Context, "get")


async def test_promises() -> None:
    async def handler(ctx: WorkflowContext) -> None:
        promise = ctx.promise("p", type_hint=str)
        promise.peek()
        promise.resolve("x")
        promise.reject("no", 418)
        assert promise.value() is promise.value()

    peek, resolve, reject, get, *_ = said(await play(handler, kind="main"))
    assert isinstance(peek, pb.PeekPromiseCommand)
    assert isinstance(resolve, pb.CompletePromiseCommand)
    assert resolve.completion_value.content == b'"x"'
    assert isinstance(reject, pb.CompletePromiseCommand)
    assert reject.completion_failure.code == 418
    assert isinstance(get, pb.GetPromiseCommand)


async def test_sleep_and_time_read_the_hosts_clock() -> None:
    async def handler(ctx: Context) -> float:
        ctx.sleep(timedelta(milliseconds=1.9), name="nap")
        return await ctx.time()

    host = FakeHost()
    link = await play(handler, host=host)
    sleep = said(link)[0]
    assert isinstance(sleep, pb.SleepCommand)
    assert (sleep.wake_up_time, sleep.name) == (host.now + 1, "nap")
    assert output(link) == host.now / 1000


async def test_the_request() -> None:
    async def handler(ctx: Context) -> list[Any]:
        request = ctx.request()
        return [request.id, dict(request.headers), request.body.decode()]

    frames = start(b"body")
    message = pb.InputCommand.FromString(frames[1].payload)
    message.headers.add(key="a", value="1")
    message.headers.add(key="a", value="2")
    link = await play(handler, frames[0], Frame(T.INPUT, message.SerializeToString()))
    assert output(link) == ["inv_1test", {"a": "2"}, "body"]


SCOPED: dict[str, Callable[[Context], object]] = {
    "generic call": lambda ctx: ctx.generic_call("S", "h", b"", scope="team"),
    "generic send": lambda ctx: ctx.generic_send("S", "h", b"", scope="team", limit_key="a/b"),
    "limit key": lambda ctx: ctx.generic_call("S", "h", b"", limit_key="a"),
    "service call": lambda ctx: ctx.scope("team").service_call(reserve, Seat(1)),
    "service send": lambda ctx: ctx.scope("team").service_send(reserve, Seat(1), limit_key="a"),
    "object call": lambda ctx: ctx.scope("team").object_call(reserve, "k", Seat(1)),
    "object send": lambda ctx: ctx.scope("team").object_send(reserve, "k", Seat(1), send_delay=timedelta(1)),
    "workflow call": lambda ctx: ctx.scope("team").workflow_call(reserve, "k", Seat(1)),
    "workflow send": lambda ctx: ctx.scope("team").workflow_send(reserve, "k", Seat(1)),
}


@pytest.mark.parametrize("step", SCOPED)
async def test_scopes_need_a_later_protocol_version(step: str) -> None:
    async def handler(ctx: Context) -> None:
        SCOPED[step](ctx)

    (error,) = said(await play(handler))
    assert isinstance(error, pb.Error)
    assert (error.code, error.related_command_index) == (573, 1)
    assert "protocol version 7" in error.message


async def test_a_request_tells_no_more_than_its_protocol_version() -> None:
    async def handler(ctx: Context) -> list[Any]:
        request = ctx.request()
        return [request.scope, request.limit_key, request.idempotency_key]

    assert output(await play(handler)) == [None, None, None]
