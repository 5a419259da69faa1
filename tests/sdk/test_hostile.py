"""Bytes no server should send: the SDK answers with one error or none, and never falls over."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy import ObjectContext, VirtualObject, app
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame, FrameDecoder, FramingError, encode_frames
from understudy.protocol.messages import MessageType as T
from understudy.vm import VM, AttemptEnded

from tests.sdk.fakes import FakeHost, FakeLink, cancel_signal, completed, start
from tests.sdk.playing import play as played

thing = VirtualObject("Thing")


@thing.handler()
async def play(ctx: ObjectContext, name: str) -> str:
    count = await ctx.get("count", type_hint=int) or 0
    ctx.set("count", count + 1)
    await ctx.run_typed("work", lambda: name)
    await ctx.sleep(timedelta(seconds=1))
    return await ctx.object_call(play, "other", name)


APP = app([thing])
LAST_WORDS = (T.END, T.SUSPENSION, T.ERROR)

frames = st.builds(
    Frame,
    st.one_of(st.sampled_from([int(type_) for type_ in T]), st.integers(0, 0xFFFF)),
    st.binary(max_size=40),
    st.sampled_from([0, 0x8000, 1]),
)
JOURNAL = start(
    b'"x"',
    Frame(
        T.GET_EAGER_STATE,
        pb.GetEagerStateCommand(key=b"count", value=pb.Value(content=b"3")).SerializeToString(),
    ),
    Frame(T.SET_STATE, pb.SetStateCommand(key=b"count", value=pb.Value(content=b"4")).SerializeToString()),
    Frame(T.RUN, pb.RunCommand(result_completion_id=2, name="work").SerializeToString()),
    completed(T.RUN_COMPLETION, 2, b'"x"'),
    Frame(T.SLEEP, pb.SleepCommand(wake_up_time=5, result_completion_id=3).SerializeToString()),
    completed(T.SLEEP_COMPLETION, 3),
    cancel_signal(),
)


@given(st.lists(frames, max_size=8), st.data())
def test_frames_survive_any_chunking(sent: list[Frame], data: st.DataObject) -> None:
    encoded = encode_frames(sent)
    decoder, received, at = FrameDecoder(), [], 0
    while at < len(encoded):
        size = data.draw(st.integers(1, len(encoded) - at))
        received += decoder.feed(encoded[at : at + size])
        at += size
    assert received == sent
    assert decoder.pending_bytes == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_so_far_or_an_error(noise: bytes) -> None:
    decoder = FrameDecoder(payload_bytes_max=1000)
    try:
        decoded = decoder.feed(noise)
    except FramingError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert "above the limit of 1000" in message
        return
    assert encode_frames(decoded) == noise[: len(noise) - decoder.pending_bytes]


@given(st.lists(frames, max_size=8))
def test_any_frames_end_the_vm_in_order_or_not_at_all(noise: list[Frame]) -> None:
    vm = VM(6)
    try:
        vm.notify_input(noise)
        vm.notify_input_closed()
    except AttemptEnded as raised:
        end: AttemptEnded | None = raised
    else:
        end = None
    assert vm.end is end
    assert vm.is_closed is (end is not None)
    last_words = [frame for frame in vm.take_output() if frame.type in LAST_WORDS]
    assert len(last_words) == (1 if vm.is_closed else 0)


def play_against(journal: list[Frame]) -> FakeLink:
    link = FakeLink(*journal)
    link.close()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            await APP.attempt(service="Thing", handler="play", version=6, link=link, host=FakeHost(tasks))

    trio.run(main)
    return link


@settings(deadline=None)
@given(st.data())
def test_a_journal_that_was_tampered_with_ends_in_one_last_word(data: st.DataObject) -> None:
    journal = list(JOURNAL)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(journal) - 1))
        how = data.draw(st.sampled_from(["drop", "repeat", "swap", "payload", "type", "noise"]))
        if how == "drop" and len(journal) > 1:
            del journal[at]
        elif how == "repeat":
            journal.insert(at, journal[at])
        elif how == "swap":
            other = data.draw(st.integers(0, len(journal) - 1))
            journal[at], journal[other] = journal[other], journal[at]
        elif how == "payload":
            journal[at] = journal[at]._replace(payload=data.draw(st.binary(max_size=30)))
        elif how == "type":
            journal[at] = journal[at]._replace(type=data.draw(st.sampled_from([int(t) for t in T])))
        else:
            journal.insert(at, data.draw(frames))
    link = play_against(journal)
    assert [frame.type in LAST_WORDS for frame in link.sent].count(True) == 1
    assert link.sent[-1].type in LAST_WORDS


def test_the_journal_as_it_is_replays() -> None:
    link = play_against(JOURNAL)
    assert link.types()[-1] is not T.ERROR


@pytest.mark.parametrize("cut", range(len(JOURNAL)))
def test_a_stream_that_ends_before_its_journal_is_a_violation(cut: int) -> None:
    link = play_against(JOURNAL[:cut])
    assert link.types() == [T.ERROR]
    assert pb.Error.FromString(link.sent[0].payload).code == 571


async def test_a_recorded_result_that_cannot_be_read_is_an_error() -> None:
    async def handle(ctx: ObjectContext) -> str:
        return "x"

    link = await played(handle, *start(b"", Frame(T.OUTPUT, b"\x72\xff")))
    assert link.types() == [T.ERROR]
    assert pb.Error.FromString(link.sent[0].payload).code == 500
