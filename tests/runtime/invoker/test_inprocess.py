"""The in-process transport: plain calls both ways, one parked task, the same life as any other exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from understudy.hosting import Host, Link
from understudy.protocol.framing import Frame
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.invoker.port import AttemptHead, AttemptStream, Discovery
from understudy_runtime.model.invocation import Target

HEAD = AttemptHead("inv_1a", Target("S", "h"), 6, "dp_1a")
Body = Callable[[Link], Awaitable[None]]


@attrs.define
class Peer:
    stream: AttemptStream | None = None
    got: list[Frame] = attrs.field(factory=list)
    has_room: bool = True

    def opened(self, stream: AttemptStream) -> None:
        self.stream = stream

    def received(self, frames: Sequence[Frame]) -> None:
        self.got += frames

    async def room(self) -> None:
        while not self.has_room:  # noqa: ASYNC110 - a fake that polls
            await trio.sleep(1)


@attrs.frozen
class FakeApp:
    body: Body

    async def attempt(self, *, service: str, handler: str, version: int, link: Link, host: Host) -> None:
        assert (service, handler, version) == ("S", "h", 6)
        await self.body(link)

    def manifest(self, version: int = 4) -> Mapping[str, Any]:
        return {"services": []}


def transport(body: Body) -> InProcessTransport:
    host: Any = object()
    return InProcessTransport(FakeApp(body), host)


async def test_frames_pass_both_ways_and_the_close_comes_last() -> None:
    seen: list[object] = []

    async def body(link: Link) -> None:
        seen.append(await link.receive())
        await link.send([Frame(5, b"a"), Frame(5, b"b")])
        seen.append(await link.receive())
        seen.append(await link.receive())
        seen.append(await link.receive())

    peer = Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport(body).run, HEAD, [Frame(0, b"start"), Frame(0x400, b"")], peer)
        await wait_all_tasks_blocked()
        assert peer.got == [Frame(5, b"a"), Frame(5, b"b")]
        assert peer.stream is not None
        peer.stream.send([Frame(0x8011, b"1")])
        peer.stream.send([Frame(0x8011, b"2")])
        peer.stream.close_send()
        peer.stream.close_send()
    assert seen == [
        [Frame(0, b"start"), Frame(0x400, b"")],
        [Frame(0x8011, b"1"), Frame(0x8011, b"2")],
        None,
        None,
    ]


async def test_a_send_waits_for_room(autojump_clock: trio.testing.MockClock) -> None:
    sent: list[float] = []

    async def body(link: Link) -> None:
        await link.send([Frame(5, b"")])
        sent.append(trio.current_time())

    peer = Peer(has_room=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport(body).run, HEAD, [Frame(0, b"")], peer)
        await trio.sleep(5.5)
        assert sent == []
        peer.has_room = True
    assert sent == [6.0]


async def test_a_cancel_goes_through_a_parked_receive() -> None:
    ended: list[str] = []

    async def body(link: Link) -> None:
        await link.receive()
        try:
            await link.receive()
        finally:
            ended.append("cut")

    peer = Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport(body).run, HEAD, [Frame(0, b"")], peer)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ended == ["cut"]
    assert peer.stream is not None
    peer.stream.send([Frame(0x8011, b"late")])


async def test_discovery_is_the_apps_manifest() -> None:
    async def body(link: Link) -> None:
        raise AssertionError("nobody calls")

    assert await transport(body).discover() == Discovery(b'{"services": []}')


async def test_what_the_app_raises_goes_through() -> None:
    async def body(link: Link) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await transport(body).run(HEAD, [Frame(0, b"")], Peer())
