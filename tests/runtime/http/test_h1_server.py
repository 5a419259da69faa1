"""The loop for whole requests: what a client may send, what it gets, when the connection ends."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from understudy_runtime.http.h1_server import PIECE_BYTES, H1Server
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.limits import Limits

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


class Recorder:
    """A handler that notes requests and answers with method, target and body; `/slow` waits for `release`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.release = trio.Event()
        self.cancelled = 0
        self.waiting = 0

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if request.target == "/slow":
            self.waiting += 1
            try:
                await self.release.wait()
            except trio.Cancelled:
                self.cancelled += 1
                raise
            finally:
                self.waiting -= 1
        body = f"{request.method} {request.target} ".encode() + request.body
        return Response(200, (("content-type", "text/plain"),), body)


@pytest.fixture
def handler():
    return Recorder()


@pytest.fixture
async def server(listener, limits, handler, nursery):
    server = H1Server(handler, limits)
    nursery.start_soon(server.serve, listener)
    return server


def answer(body: bytes, *, close: bool = False) -> bytes:
    ending = b"connection: close\r\n\r\n" if close else b"\r\n"
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n" + b"content-length: %d\r\n" % len(body) + ending + body


async def test_keep_alive_answers_one_request_after_the_other(server, dialogue):
    for _ in range(3):
        await dialogue.send(GET)
        assert await dialogue.read_until(b"GET /a ") == answer(b"GET /a ")


async def test_pipelined_requests_are_answered_in_order(server, dialogue):
    await dialogue.send(GET + b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" + GET)
    got = b""
    while got.count(b"HTTP/1.1 200") < 3 or not got.endswith(b"GET /a "):
        got += await dialogue.stream.receive_some(65536)
    assert got == answer(b"GET /a ") + answer(b"POST /b hi") + answer(b"GET /a ")


async def test_each_answer_is_one_write(limits, handler, nursery, listener):
    ours, theirs = trio.testing.memory_stream_pair()
    writes = []

    pump = theirs.send_stream.send_all_hook

    async def noted() -> None:
        writes.append(1)
        await pump()

    theirs.send_stream.send_all_hook = noted
    listener._give.send_nowait(theirs)
    nursery.start_soon(H1Server(handler, limits).serve, listener)
    await ours.send_all(GET)
    await ours.receive_some(1000)
    assert len(writes) == 1


async def test_a_request_may_arrive_byte_by_byte(server, dialogue, handler):
    for (
        byte
    ) in b"POST /x?y=%20z HTTP/1.1\r\nHost: h\r\nX-A: v\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
        await dialogue.send(bytes([byte]))
    await dialogue.read_until(b"POST /x?y=%20z abc")
    request = handler.requests[0]
    assert request.target == "/x?y=%20z"
    assert request.headers == (("host", "h"), ("x-a", "v"), ("transfer-encoding", "chunked"))
    assert request.body == b"abc"


async def test_expect_continue_gets_its_interim_answer_before_the_body(server, dialogue):
    await dialogue.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert await dialogue.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await dialogue.send(b"ok")
    assert await dialogue.read_until(b"ok") == answer(b"POST /a ok")


async def test_expect_continue_is_not_asked_for_when_the_body_came_along(server, dialogue):
    await dialogue.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok")
    assert await dialogue.read_until(b"ok") == answer(b"POST /a ok")


async def test_a_body_announced_too_large_is_refused_before_it_is_asked_for(server, dialogue, handler):
    await dialogue.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
    got = await dialogue.read_to_end()
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in got
    assert not handler.requests


async def test_head_gets_the_length_but_no_body(server, dialogue):
    await dialogue.send(b"HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    got = await dialogue.read_to_end()
    assert b"content-length: 8\r\n" in got
    assert got.endswith(b"\r\n\r\n")


async def test_http_1_0_closes_unless_asked_to_stay(server, listener, dialogue):
    await dialogue.send(b"GET /a HTTP/1.0\r\n\r\n")
    assert await dialogue.read_to_end() == answer(b"GET /a ", close=True)


async def test_the_absolute_form_of_a_target_is_read_as_its_path(server, dialogue, handler):
    await dialogue.send(b"GET http://elsewhere:1/p?q=1 HTTP/1.1\r\nHost: h\r\n\r\n")
    await dialogue.read_until(b"GET /p?q=1 ")


async def test_an_upgrade_offer_is_ignored_body_and_next_request_included(server, dialogue):
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n"
    await dialogue.send(head)
    await dialogue.send(b"hi" + GET)
    got = await dialogue.read_until(b"GET /a ")
    assert got == answer(b"POST /a hi") + answer(b"GET /a ")


REFUSED = {
    "length and chunked": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
    "not chunked last": (b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
    "folded header": (b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
    "bare line feeds": (b"GET /a HTTP/1.1\nHost: h\n\n", 400),
    "no host": (b"GET /a HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "unknown expectation": (b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n", 417),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    "not http": (b"\x16\x03\x01\x02\x00\x01", 400),
    "http/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "long target": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
    "long header": (b"GET /a HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 140_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /a HTTP/1.1\r\nHost: h\r\n" + b"X: a\r\n" * 300 + b"\r\n", 431),
    "endless trailer": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 200_000,
        431,
    ),
    "chunks above the bound": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3ff\r\n" + b"a" * 1023 + b"\r\n0\r\n\r\n",
        413,
    ),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_is_refused_closes_and_reaches_no_handler(data, status, server, dialogue, handler):
    await dialogue.send(data)
    await dialogue.stream.send_eof()
    got = await dialogue.read_to_end()
    assert got.startswith(b"HTTP/1.1 %d " % status), got[:200]
    assert b"connection: close\r\n" in got
    assert not handler.requests


async def test_whole_requests_before_a_bad_one_are_answered(server, dialogue, handler):
    await dialogue.send(GET + b"nonsense\r\n\r\n")
    await dialogue.stream.send_eof()
    got = await dialogue.read_to_end()
    assert got.startswith(answer(b"GET /a ") + b"HTTP/1.1 400 ")
    assert len(handler.requests) == 1


async def test_a_slow_head_is_cut_off(autojump_clock, server, dialogue, limits):
    await dialogue.send(b"GET /a HTTP/1.1\r\n")
    with trio.fail_after(limits.header_timeout_ms / 1000 * 1.5):
        while True:
            try:
                await dialogue.send(b"X: a\r\n")
            except trio.BrokenResourceError:
                break
            with trio.move_on_after(1):
                assert (await dialogue.stream.receive_some(1000)).startswith(b"HTTP/1.1 408 ")
                break


async def test_an_idle_connection_is_closed(autojump_clock, server, dialogue, limits):
    await dialogue.send(GET)
    await dialogue.read_until(b"GET /a ")
    before = trio.current_time()
    assert await dialogue.read_to_end() == b""
    assert limits.idle_timeout_ms / 1000 <= trio.current_time() - before < limits.idle_timeout_ms / 1000 + 5


async def test_a_client_that_leaves_cancels_its_handler(autojump_clock, server, dialogue, handler):
    await dialogue.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    await trio.sleep(5)
    assert handler.waiting == 1
    await dialogue.stream.aclose()
    await trio.sleep(5)
    assert (handler.waiting, handler.cancelled, server.connections) == (0, 1, 0)


async def test_a_slow_answer_arrives_and_pipelined_bytes_are_kept(autojump_clock, server, dialogue, handler):
    await dialogue.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    await trio.sleep(100)
    await dialogue.send(GET[:5])
    await trio.sleep(1)
    await dialogue.send(GET[5:])
    await trio.sleep(1)
    handler.release.set()
    assert await dialogue.read_until(b"GET /a ") == answer(b"GET /slow ") + answer(b"GET /a ")


async def test_drain_answers_what_is_in_flight_and_closes_what_is_idle(
    autojump_clock, listener, limits, handler, nursery
):
    server = H1Server(handler, limits)
    ended = trio.Event()

    async def serve() -> None:
        await server.serve(listener)
        ended.set()

    nursery.start_soon(serve)
    idle, busy = listener.connect(), listener.connect()
    await idle.send_all(GET)
    await idle.receive_some(1000)
    await busy.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    server.drain()
    await trio.testing.wait_all_tasks_blocked()
    assert await idle.receive_some(1) == b""
    assert not ended.is_set()
    handler.release.set()
    assert await busy.receive_some(1000) == answer(b"GET /slow ", close=True)
    await ended.wait()


async def test_connections_above_the_bound_wait(listener, handler, nursery):
    server = H1Server(handler, Limits(connections_max=1))
    nursery.start_soon(server.serve, listener)
    first, second = listener.connect(), listener.connect()
    await second.send_all(GET)
    await trio.testing.wait_all_tasks_blocked()
    assert server.connections == 1
    await first.aclose()
    assert await second.receive_some(1000) == answer(b"GET /a ")


async def test_the_date_is_the_wall_clock(listener, limits, handler, nursery, dialogue):
    nursery.start_soon(H1Server(handler, limits, now_ms=lambda: 1_795_335_126_316).serve, listener)
    await dialogue.send(GET)
    assert b"\r\ndate: Sun, 22 Nov 2026 08:12:06 GMT\r\n" in await dialogue.read_until(b"GET /a ")


async def test_a_slow_reader_of_a_long_answer_is_not_cut_off(autojump_clock, listener, limits, nursery):
    """Each piece takes most of the idle timeout; all of them together much longer."""
    body = bytes(PIECE_BYTES * 4)

    async def handler(request: Request) -> Response:
        return Response(200, (), body)

    ours, theirs = trio.testing.lockstep_stream_pair()
    listener._give.send_nowait(theirs)
    nursery.start_soon(H1Server(handler, limits).serve, listener)
    await ours.send_all(GET)
    got = 0
    while got < len(body):
        await trio.sleep(limits.idle_timeout_ms / 1000 * 0.9)
        wanted = PIECE_BYTES
        while wanted > 0:
            part = await ours.receive_some(wanted)
            assert part
            wanted -= len(part)
            got += len(part)


async def test_a_client_that_reads_nothing_is_cut_off(autojump_clock, listener, limits, nursery):
    async def handler(request: Request) -> Response:
        return Response(200, (), bytes(10))

    ours, theirs = trio.testing.lockstep_stream_pair()
    listener._give.send_nowait(theirs)
    server = H1Server(handler, limits)
    nursery.start_soon(server.serve, listener)
    await ours.send_all(GET)
    await trio.sleep(limits.idle_timeout_ms / 1000 + 5)
    assert server.connections == 0
