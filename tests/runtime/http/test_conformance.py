"""One body for HTTP/1.1 and HTTP/2: what our clients and our ASGI host do with each other, version by version."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from understudy.protocol.framing import Frame, encode_frames
from understudy_runtime.http.h1_client import ConnectionLost
from understudy_runtime.invoker.port import TransportError

from tests.runtime.http.ways import (
    HEAD,
    HTTP_1,
    START,
    V6,
    Endpoint,
    Peer,
    answer,
    ask,
    echo,
    errors,
    host,
    net,
    transport,
    version,
)

__all__ = ["ask", "errors", "host", "net", "transport", "version"]


async def test_an_application_that_raises_is_a_500_and_is_told(net, host, ask, errors):
    async def broken(scope, receive, send) -> None:
        raise RuntimeError("bug")

    host(broken)
    response = await ask("GET", "/")
    assert response.status == 500
    assert [str(error) for error in errors] == ["bug"]


async def test_head_is_answered_with_a_length_and_no_body(net, host, ask):
    host(echo)
    response = await ask("HEAD", "/")
    assert (response.body, response.header("content-length")) == (b"", "7")
    assert (await ask("GET", "/")).body == b"GET / "
    assert net.dials == 1


async def test_an_application_that_stops_in_the_middle_cuts_the_answer(net, host, ask, errors):
    async def partial(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})

    host(partial)
    with pytest.raises(ConnectionLost) as lost:
        await ask("GET", "/")
    assert lost.value.answered
    assert len(errors) == 1


async def test_an_unread_request_is_drained_and_the_connection_kept(net, host, ask):
    async def deaf(scope, receive, send) -> None:
        await answer(send, 200, b"ok")

    host(deaf)
    assert (await ask("POST", "/", (), b"x" * 100_000)).body == b"ok"
    assert (await ask("POST", "/", (), b"y")).body == b"ok"
    assert net.dials == 1


async def test_a_bidi_attempt_talks_both_ways_and_keeps_its_connection(net, host, transport):
    endpoint = Endpoint()
    host(endpoint)
    way = transport()
    for _ in range(2):
        peer = Peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.run, HEAD, START, peer)
            await peer.until(2)
            peer.stream.send([Frame(0x8011, b"more")])
            await peer.until(3)
            peer.stream.close_send()
            peer.stream.close_send()
        assert peer.frames == [*START, Frame(0x8011, b"more"), Frame(3, b"")]
    assert net.dials == 1
    headers = dict(endpoint.requests[0]["headers"])
    assert endpoint.requests[0]["raw_path"] == b"/invoke/Counter/add"
    assert headers[b"content-type"] == headers[b"accept"] == V6.encode()
    assert headers[b"x-restate-invocation-id"] == b"inv_1abc"
    assert headers[b"x-restate-service-key"] == b"a%2Fb%20%C3%A9"


async def test_the_endpoint_may_end_first(net, host, transport):
    host(Endpoint(frames_max=1))
    way = transport()
    for _ in range(2):
        peer = Peer()
        await way.run(HEAD, START, peer)
        assert peer.frames[-1] == Frame(3, b"")
    assert net.dials == 1


async def test_request_response_sends_all_and_reads_all(net, host, transport):
    host(Endpoint())
    peer = Peer()
    await transport(bidi=False).run(HEAD, START, peer)
    assert peer.frames == [*START, Frame(3, b"")]
    peer.stream.send([Frame(1, b"late")])
    peer.stream.close_send()


async def test_a_cancelled_attempt_resets_the_exchange(net, host, transport, errors, version):
    server = host(Endpoint())
    way = transport()
    peer = Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(way.run, HEAD, START, peer)
        await peer.until(2)
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    # The application was told, and did not like it.
    assert len(errors) == 1
    assert server.connections == (0 if version == HTTP_1 else 1)
    peer = Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(way.run, HEAD, START, peer)
        await peer.until(2)
        peer.stream.close_send()
    assert net.dials == (2 if version == HTTP_1 else 1)


# Status and headers of the answer to reached, status and the retry delay of the error.
JUDGED = [
    (502, [], True, None),
    (504, [], True, None),
    (500, [], True, None),
    (404, [], False, None),
    (413, [], False, None),
    (415, [], False, None),
    (429, [(b"retry-after", b"7")], False, 7000),
    (503, [(b"retry-after", b"Sun, 22 Nov 2026 08:12:07 GMT")], False, 1000),
    (503, [(b"retry-after", b"Sun, 22 Nov 2020 08:12:07 GMT")], False, 0),
    (503, [(b"retry-after", b"soon")], False, None),
    (500, [(b"retry-after", b"7")], True, None),
    (200, [(b"content-type", b"text/html")], True, None),
    (200, [(b"content-type", V6.encode() + b"; charset=utf-8")], True, None),
    (200, [], True, None),
]


@pytest.mark.parametrize("bidi", [True, False])
@pytest.mark.parametrize(("status", "headers", "reached", "retry_after_ms"), JUDGED)
async def test_heads_that_open_no_stream(net, host, transport, status, headers, reached, retry_after_ms, bidi):
    async def app(scope, receive, send) -> None:
        await answer(send, status, b"", headers)

    host(app)
    with pytest.raises(TransportError) as failure:
        await transport(bidi=bidi).run(HEAD, START, Peer())
    assert (failure.value.reached, failure.value.status) == (reached, status)
    assert failure.value.retry_after_ms == retry_after_ms


async def test_nobody_listens(net, transport):
    net.refuse = True
    way = transport()
    with pytest.raises(TransportError) as failure:
        await way.run(HEAD, START, Peer())
    assert not failure.value.reached
    with pytest.raises(TransportError) as failure:
        await way.discover()
    assert not failure.value.reached


async def test_an_answer_cut_in_the_middle_of_a_message(net, host, transport):
    async def app(scope, receive, send) -> None:
        await answer(send, 200, encode_frames([Frame(3, b"abc")])[:-1], [(b"content-type", V6.encode())])

    host(app)
    peer = Peer()
    with pytest.raises(TransportError, match="middle of a message"):
        await transport().run(HEAD, START, peer)
    assert peer.frames == []


async def test_a_message_above_the_bound(net, host, transport):
    async def app(scope, receive, send) -> None:
        await answer(send, 200, encode_frames([Frame(3, b"a" * 11)]), [(b"content-type", V6.encode())])

    host(app)
    with pytest.raises(TransportError, match="above the limit"):
        await transport(message_bytes_max=10).run(HEAD, START, Peer())


@pytest.mark.parametrize(
    ("status", "content_type", "good"),
    [
        (200, b"application/vnd.restate.endpointmanifest.v4+json", True),
        (200, b"application/vnd.restate.endpointmanifest.v9+json", False),
        (200, b"application/json", False),
        (404, b"application/vnd.restate.endpointmanifest.v4+json", False),
    ],
)
async def test_discovery(net, host, transport, status, content_type, good):
    accepted = []

    async def app(scope, receive, send) -> None:
        accepted.append(dict(scope["headers"])[b"accept"])
        assert scope["raw_path"] == b"/base/discover"
        await answer(send, status, b"{}", [(b"content-type", content_type)])

    host(app)
    way = transport(base_path="/base")
    if good:
        assert (await way.discover()).manifest == b"{}"
    else:
        with pytest.raises(TransportError):
            await way.discover()
    assert accepted[0].startswith(b"application/vnd.restate.endpointmanifest.v1+json, ")
