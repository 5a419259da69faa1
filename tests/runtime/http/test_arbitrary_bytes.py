"""Arbitrary bytes into both sides of the HTTP loop: answers and typed errors, never a crash, never a hang."""

from __future__ import annotations

from itertools import pairwise

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_runtime.http.h1_parse import (
    Head,
    ProtocolViolation,
    ResponseParser,
    StreamedRequestParser,
    WholeRequestParser,
)
from understudy_runtime.http.h1_server import H1Server
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.limits import Limits

from tests.runtime.http.conftest import MemoryListener

# Pieces a request may be made of, so that many draws get past the first line.
PIECES = st.one_of(
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n",
            b"POST /a HTTP/1.1\r\n",
            b"Host: h\r\n",
            b"Content-Length: 3\r\n",
            b"Content-Length: 0\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Expect: 100-continue\r\n",
            b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
            b"Connection: close\r\n",
            b"\r\n",
            b"abc",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n",
        ]
    ),
    st.binary(max_size=12),
)
BYTES = st.lists(PIECES, max_size=14).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """*data* in pieces, cut at *places* (modulo its length)."""
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(edges)]


CUTS = st.lists(st.integers(0, 10_000), max_size=6)


@given(BYTES, CUTS)
@settings(max_examples=400)
def test_requests_do_not_depend_on_where_the_bytes_are_cut(data, places):
    whole, pieces = WholeRequestParser(100), WholeRequestParser(100)
    whole.feed(data)
    for piece in cut(data, places):
        pieces.feed(piece)
    assert list(whole.requests) == list(pieces.requests)
    assert (whole.refusal is None) == (pieces.refusal is None)
    assert whole.idle == pieces.idle or whole.refusal is not None


@given(BYTES, CUTS)
def test_the_streamed_parser_agrees_with_the_whole_one(data, places):
    whole, streamed = WholeRequestParser(100), StreamedRequestParser(100)
    whole.feed(data)
    for piece in cut(data, places):
        streamed.feed(piece)
    requests = []
    for event in streamed.events:
        if isinstance(event, Head):
            head, body = event, b""
        elif event is None:
            requests.append((Request(head.method, head.target, head.headers, body), head.keep_alive))
        else:
            body += event
    assert requests == list(whole.requests)


@given(BYTES, CUTS)
def test_responses_end_or_are_violations(data, places):
    parser = ResponseParser(100)
    try:
        for piece in cut(data, places):
            parser.feed(piece)
        parser.feed_end()
    except ProtocolViolation:
        return
    assert parser.events[-1] is None
    assert sum(len(part) for part in parser.events if isinstance(part, bytes)) <= 100


@given(BYTES, CUTS)
@settings(max_examples=100)
def test_the_server_answers_and_closes(data, places):
    async def handler(request: Request) -> Response:
        return Response(200, (), b"ok")

    async def main() -> None:
        listener = MemoryListener()
        server = H1Server(handler, Limits(request_bytes_max=100, message_bytes_max=100))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listener)
            stream = listener.connect()
            for piece in cut(data, places):
                try:
                    await stream.send_all(piece)
                except trio.BrokenResourceError:
                    break
            await stream.send_eof()
            answers = b""
            while part := await stream.receive_some(65536):
                answers += bytes(part)
            assert not answers or answers.startswith(b"HTTP/1.1 ")
            await trio.testing.wait_all_tasks_blocked()
            assert server.connections == 0
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
