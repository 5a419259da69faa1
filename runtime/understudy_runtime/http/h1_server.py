"""A thin HTTP/1.1 server loop for whole requests: parse, handle, one write per response.

It runs on any `trio.abc` stream and knows no route.  Requests of one connection are handled one after the other
(pipelined ones wait in the parser, and reading waits with them).  The handler must not raise: an exception there is
a bug and ends the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from understudy_runtime.http.connections import Connection, ConnectionServer, Phase
from understudy_runtime.http.h1_parse import Refusal, WholeRequestParser
from understudy_runtime.http.h1_write import CONTINUE, encode_response
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.ingress.times import http_date
from understudy_runtime.limits import Limits

# An answer up to this length is one write.
PIECE_BYTES: Final = 256 * 1024

Handler = Callable[[Request], Awaitable[Response]]
RefusalPage = Callable[[Refusal], Response]


class H1Server(ConnectionServer):
    """Serves *handler*.  *now_ms* (wall clock) stamps the `date` header; *refusal_page* words the loop's own errors."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        *,
        now_ms: Callable[[], int] | None = None,
        refusal_page: RefusalPage | None = None,
    ) -> None:
        super().__init__(limits)
        self.handler = handler
        self._now_ms = now_ms
        self._refusal_page = refusal_page
        self._date_second = -1
        self._date_value = b""
        self._date_line = b""

    def refusal_response(self, refusal: Refusal) -> Response:
        """The owner's wording, or plain text."""
        if self._refusal_page is not None:
            return self._refusal_page(refusal)
        return super().refusal_response(refusal)

    def date(self) -> bytes:
        """The `date` header's value, made once a second; empty when there is no clock."""
        if self._now_ms is None:
            return b""
        second = self._now_ms() // 1000
        if second != self._date_second:
            self._date_second = second
            self._date_value = http_date(second).encode("ascii")
            self._date_line = b"date: %s\r\n" % self._date_value
        return self._date_value

    def _date_header(self) -> bytes:
        """Its whole line."""
        self.date()
        return self._date_line

    async def converse(self, connection: Connection) -> None:
        """Requests and answers, until either side has enough."""
        parser = WholeRequestParser(self.limits.request_bytes_max)
        requests = parser.requests
        while True:
            data = await connection.receive()
            if not data:
                return
            parser.feed(data)
            while requests:
                request, keep_alive = requests.popleft()
                if not await self._answer(connection, request, keep_alive):
                    return
            if parser.refusal is not None:
                await self.refuse(connection, parser.refusal)
                return
            if parser.wants_continue:
                parser.wants_continue = False
                await connection.stream.send_all(CONTINUE)
            if parser.in_body:
                connection.phase = Phase.BODY
                connection.mark += 1
            else:
                connection.enter(Phase.HEAD if parser.in_head else Phase.IDLE)

    async def _answer(self, connection: Connection, request: Request, keep_alive: bool) -> bool:
        """Handle one request and write its answer; whether the connection goes on."""
        connection.phase = Phase.HANDLING
        connection.mark += 1
        response = await self.handler(request)
        if connection.watch_scope is not None:
            await connection.unwatch()
        connection.phase = Phase.WRITING
        connection.mark += 1
        close = self.draining or not keep_alive
        head_only = request.method == "HEAD"
        data = encode_response(response, head_only=head_only, close=close, date_line=self._date_header())
        if len(data) <= PIECE_BYTES:
            await connection.stream.send_all(data)
        else:
            await self._send_pieces(connection, data)
        connection.phase = Phase.IDLE
        connection.mark += 1
        return not close

    async def _send_pieces(self, connection: Connection, data: bytes) -> None:
        """A long answer: each piece that leaves shows that the client is still reading."""
        for start in range(0, len(data), PIECE_BYTES):
            await connection.stream.send_all(data[start : start + PIECE_BYTES])
            connection.mark += 1
