"""The other side of HTTP/2, by the `h2` library alone: a client and a scripted server that know nothing of our code."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import trio


class ForeignClient:
    """One connection.  `request` opens a stream, `answer` reads until it is answered, `events` keeps what came."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, **settings: object) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="ascii"))
        self.events: list[h2.events.Event] = []
        self.credits = True
        self.closed = False

    async def start(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def request(self, method: str, path: str, body: bytes | None = b"", headers=(), *, end: bool = True) -> int:
        """Open a stream; *body* None sends none."""
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "h"), *headers]
        self.h2.send_headers(stream, head, end_stream=end and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=end)
        await self.flush()
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=end)
        await self.flush()

    async def read(self) -> bool:
        """Read once; False when the peer has closed."""
        try:
            data = bytes(await self.stream.receive_some(65536))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived) and self.credits:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        out = self.h2.data_to_send()
        if out:
            await self.stream.send_all(out)
        return True

    async def until(self, kind: type, stream: int | None = None):
        """The first event of *kind* (on *stream*)."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and (stream is None or event.stream_id == stream):
                    return event
            assert await self.read(), f"the peer closed; it had sent {self.events}"

    async def answer(self, stream: int) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer on *stream*."""
        await self.until(h2.events.StreamEnded, stream)
        heads = [e for e in self.events if isinstance(e, h2.events.ResponseReceived) and e.stream_id == stream]
        headers = dict(heads[0].headers)
        return int(headers[":status"]), headers, self.body(stream)

    def body(self, stream: int) -> bytes:
        """What has come of the body so far."""
        parts = [e for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream]
        return b"".join(part.data for part in parts)

    async def read_to_end(self) -> None:
        while await self.read():
            pass


class ForeignServer:
    """One accepted connection, scripted by the test."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="ascii"))
        self.events: list[h2.events.Event] = []
        self.credits = True

    async def start(self, **settings: int) -> None:
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({getattr(h2.settings.SettingCodes, name): settings[name] for name in settings})
        await self.flush()

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    read = ForeignClient.read
    until = ForeignClient.until
    body = ForeignClient.body
    closed = False

    async def next_request(self) -> int:
        """The stream of the next request's head."""
        seen = [event for event in self.events if isinstance(event, h2.events.RequestReceived)]
        while len(seen) == getattr(self, "taken", 0):
            assert await self.read(), "the client has gone"
            seen = [event for event in self.events if isinstance(event, h2.events.RequestReceived)]
        self.taken = getattr(self, "taken", 0) + 1
        return seen[self.taken - 1].stream_id

    async def respond(self, stream: int, headers=(), body: bytes = b"", *, status: int = 200, end: bool = True) -> None:
        self.h2.send_headers(stream, [(":status", str(status)), *headers], end_stream=end and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=end)
        await self.flush()
