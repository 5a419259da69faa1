"""The HTTP/1.1 client's pool and the ASGI host's connections, over memory streams: both ends are ours."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from understudy_runtime.http.h1_client import ClientPool, ConnectionLost
from understudy_runtime.limits import Limits

from tests.runtime.http.ways import HOST, echo, errors, host, net, read_body

__all__ = ["errors", "host", "net"]


async def test_a_connection_that_went_idle_after_a_long_answer_is_closed(autojump_clock, net, host):
    async def slow(scope, receive, send) -> None:
        await trio.sleep(30)
        await echo(scope, receive, send)

    host(slow)
    stream = await net.dial("h", 1)
    await stream.send_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 200 ")
    answered = trio.current_time()
    while await stream.receive_some(1000):
        pass
    idle_seconds = Limits().idle_timeout_ms / 1000
    assert idle_seconds <= trio.current_time() - answered < idle_seconds + 5


async def test_a_kept_connection_serves_many_requests(net, host):
    host(echo)
    pool = ClientPool(lambda: net.dial("h", 1))
    for number in range(3):
        response = await pool.request("POST", "/a%20b?q", [HOST], b"%d" % number)
        assert (response.status, response.body) == (200, b"POST /a%%20b %d" % number)
    assert (net.dials, pool.idle) == (1, 1)


async def test_a_kept_connection_that_was_closed_is_replaced(net, host):
    host(echo)
    pool = ClientPool(lambda: net.dial("h", 1))
    await pool.request("GET", "/", [HOST])
    net.streams[0].send_stream.close()
    net.streams[0].receive_stream.close()
    response = await pool.request("GET", "/", [HOST])
    assert (response.status, net.dials) == (200, 2)


async def test_a_fresh_connection_that_breaks_is_an_error(net, nursery):
    async def accept_and_close() -> None:
        await (await net.listener.accept()).aclose()

    nursery.start_soon(accept_and_close)
    with pytest.raises(ConnectionLost) as lost:
        await ClientPool(lambda: net.dial("h", 1)).request("GET", "/", [HOST])
    assert not lost.value.answered


async def test_disconnect_reaches_a_waiting_application(net, host, listener):
    told = []

    async def waiter(scope, receive, send) -> None:
        await read_body(receive)
        told.append((await receive())["type"])

    host(waiter)
    stream = listener.connect()
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    await stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert told == ["http.disconnect"]


async def test_disconnect_reaches_an_application_whose_answer_has_just_begun(net, host, listener):
    told = []
    gone = trio.Event()

    async def late(scope, receive, send) -> None:
        await read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await gone.wait()
        # The head leaves with the first wait: there is nobody to take it.
        told.append((await receive())["type"])

    host(late)
    stream = listener.connect()
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    await stream.aclose()
    gone.set()
    await trio.testing.wait_all_tasks_blocked()
    assert told == ["http.disconnect"]


async def test_a_connection_kept_too_long_is_not_used_again(autojump_clock, net, host):
    server = host(echo)
    pool = ClientPool(lambda: net.dial("h", 1), idle_seconds_max=3)
    for pause, dials in ((0, 1), (2, 1), (3, 2), (1, 2)):
        await trio.sleep(pause)
        assert (await pool.request("GET", "/", [HOST])).status == 200
        assert net.dials == dials
    await trio.testing.wait_all_tasks_blocked()
    assert (pool.idle, server.connections) == (1, 1)


async def test_an_answer_goes_on_while_its_head_leaves_because_the_application_waits_for_more(net, host, errors):
    async def duplex(scope, receive, send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.lowlevel.checkpoint()
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()

    for _ in range(10):  # Which of the two tasks goes first is trio's choice.
        host(duplex)
        stream = await net.dial("h", 1)
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            data = await stream.receive_some(1000)
            assert data, (answer, errors)
            answer += data
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n5\r\nfirst\r\n0\r\n\r\n")
        await stream.aclose()
    assert not errors
