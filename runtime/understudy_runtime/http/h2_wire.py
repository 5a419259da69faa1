"""One HTTP/2 connection without its stream: bytes in, events out; streams and data in, bytes out.  Sans-IO.

Stands on the `h2` library, for either side, and adds what that leaves open: data waits here for the peer's windows and
leaves in turns, GOAWAY lets the streams below it finish, and floods end the connection.

Rules:
- what is received counts against our windows until the owner gives it back (`credit`): whoever does not read is not
  sent more;
- `output` takes what may leave now, at most about OUT_BYTES_MAX at once: the rest waits in its stream;
- a stream is known from its first headers until both sides have ended or either has reset it; what is said to it later
  goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from h2.settings import SettingCodes

from understudy_runtime.http.h1_parse import HEAD_BYTES_MAX
from understudy_runtime.http.h2_check import Kind, malformed
from understudy_runtime.http.h2_events import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    BytePairs,
    Data,
    Ended,
    Event,
    Head,
    Pong,
    Ready,
    Reset,
)
from understudy_runtime.http.h2_headers import KeepingDecoder, PlainEncoder
from understudy_runtime.http.h2_lane import Lane
from understudy_runtime.http.h2_scan import FRAME_BYTES_MAX, FrameScanner, FrameTooLarge, GoAway, encode_goaway

OUT_BYTES_MAX: Final = 256 * 1024
# Unsent answers to the peer's pings and settings above it: the peer does not read.
UNREAD_BYTES_MAX: Final = 1024 * 1024
STREAM_WINDOW: Final = 256 * 1024
CONNECTION_WINDOW_MAX: Final = 64 * 1024 * 1024
DEFAULT_WINDOW: Final = 65_535
STREAM_MAX: Final = (1 << 31) - 1
# Cheap frames (pings, resets, settings, empty data) allowed in so many seconds.
FLOOD_FRAMES_MAX: Final = 1_000
FLOOD_SECONDS: Final = 10


class WireError(Exception):
    """The connection cannot go on: the peer broke HTTP/2, or asks for too much.  Says what was found."""


class Wire:
    """One connection, as *client* or server.  *streams_max* bounds what the peer may open (a server's)."""

    def __init__(self, *, client: bool, streams_max: int) -> None:
        assert streams_max >= 1, "at least one stream"
        self._client = client
        self._streams_max = streams_max
        self._scanner = FrameScanner(preface=not client)
        config = h2.config.H2Configuration(
            client_side=client,
            header_encoding=None,
            validate_inbound_headers=False,  # `h2_check.py` does
            validate_outbound_headers=False,  # ours are made from checked parts
            normalize_outbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.encoder = PlainEncoder()  # type: ignore[assignment]
        self._h2.decoder = KeepingDecoder()
        self._lanes: dict[int, Lane] = {}
        self._ready: dict[int, Lane] = {}
        self._blocked: dict[int, Lane] = {}
        self._out: list[bytes] = []
        self._next_stream = 1
        self._last_seen = 0
        self._pings = 0
        self._flood_from = 0.0
        self._flood_base = 0
        self._owed = 0
        self._credit_bytes = 0
        self._leaving = False
        self.closing = False
        self._open()

    def _open(self) -> None:
        settings = {
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES_MAX,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_BYTES_MAX,
        }
        if self._client:
            settings[SettingCodes.ENABLE_PUSH] = 0
        else:
            settings[SettingCodes.MAX_CONCURRENT_STREAMS] = self._streams_max
        connection = self._h2
        connection.local_settings = h2.settings.Settings(client=self._client, initial_values=settings)
        connection.max_inbound_frame_size = FRAME_BYTES_MAX
        connection.decoder.max_header_list_size = 2 * HEAD_BYTES_MAX
        connection.initiate_connection()
        if not self._client:
            # A client may open more before it has read our settings: those are refused one by one, not altogether.
            connection.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 4 * self._streams_max
            connection.local_settings.acknowledge()
        window = min(CONNECTION_WINDOW_MAX, self._streams_max * STREAM_WINDOW)
        # Sums not yet given back, one a stream, are together a small part of the connection's window.
        self._credit_bytes = min(STREAM_WINDOW // 4, window // (8 * self._streams_max))
        if window > DEFAULT_WINDOW:
            connection.increment_flow_control_window(window - DEFAULT_WINDOW)

    # What comes in.

    def feed(self, data: bytes, now: float) -> list[Event]:
        """What *data*, received at *now* (seconds of any clock), brings.  Raises WireError; `output` still says why."""
        events: list[Event] = []
        try:
            for piece in self._scanner.feed(data):
                if isinstance(piece, GoAway):
                    events.append(piece)
                    continue
                for event in self._receive(piece):
                    translate = TRANSLATE.get(type(event))
                    if translate is not None:
                        translate(self, event, events)
        except FrameTooLarge as error:
            self._give_up(FRAME_SIZE_ERROR, str(error))
        self._check_flood(now)
        return events

    def _receive(self, data: bytes) -> list[h2.events.Event]:
        try:
            return self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.closing = True
            raise WireError(f"the peer broke HTTP/2: {error}") from error

    @property
    def in_head(self) -> bool:
        """Whether a head has begun and not ended."""
        return self._scanner.in_head

    @property
    def streams(self) -> int:
        """Streams that are known."""
        return len(self._lanes)

    def credit(self, stream: int, size: int) -> None:
        """The owner has dealt with *size* bytes of *stream*: let the peer send as much again, in sums worth a frame."""
        lane = self._lanes.get(stream)
        if lane is None:
            self._owe(stream, size)
            return
        lane.owed += size
        if lane.owed >= self._credit_bytes and not self.closing:
            owed, lane.owed = lane.owed, 0
            self._h2.acknowledge_received_data(owed, stream)

    def _owe(self, stream: int, size: int) -> None:
        """*size* bytes of *stream*, which is over, were dealt with: they count for the connection's window alone."""
        self._owed += size
        if self._owed >= self._credit_bytes and not self.closing:
            owed, self._owed = self._owed, 0
            self._h2.acknowledge_received_data(owed, stream)

    # What goes out.

    @property
    def room(self) -> int:
        """How many more streams may be opened now."""
        if self.closing or self._next_stream > STREAM_MAX:
            return 0
        return min(self._streams_max, self._h2.remote_settings.max_concurrent_streams) - len(self._lanes)

    def open(self, headers: BytePairs, data: bytes, *, end: bool) -> int:
        """Begin a request; its stream.  *end*: nothing follows *data*."""
        assert self._client, "a client opens streams"
        assert self.room > 0, "ask for room before"
        assert is_one_line(headers), "a header value never breaks its line"
        stream = self._next_stream
        self._next_stream += 2
        self._lanes[stream] = Lane(stream)
        ends_here = end and not data
        self._h2.send_headers(stream, headers, end_stream=ends_here)
        if ends_here:
            self._lanes[stream].we_ended = True
        else:
            self.send(stream, data, end=end)
        return stream

    def respond(self, stream: int, headers: BytePairs, *, end: bool = False) -> None:
        """Send a response's head (or an interim one)."""
        lane = self._lanes.get(stream)
        if lane is None or self.closing:
            return
        assert not lane.we_ended, "a head comes before the end"
        assert is_one_line(headers), "a header value never breaks its line"
        self._h2.send_headers(stream, headers, end_stream=end)
        if end:
            self._we_ended(lane)

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Queue *data*; it leaves as the peer's windows allow."""
        lane = self._lanes.get(stream)
        if lane is None or lane.ending or lane.we_ended:
            return
        lane.put(data)
        lane.ending = end
        if (data or end) and stream not in self._blocked:
            self._ready[stream] = lane

    def queued(self, stream: int) -> int:
        """Bytes of *stream* that still wait."""
        lane = self._lanes.get(stream)
        return 0 if lane is None else lane.queued

    def is_known(self, stream: int) -> bool:
        """Whether *stream* is open on at least one side."""
        return stream in self._lanes

    def has_said_all(self, stream: int) -> bool:
        """Whether our side of *stream* has ended, and has left."""
        lane = self._lanes.get(stream)
        return lane is None or lane.we_ended

    def reset(self, stream: int, code: int) -> None:
        """Give *stream* up; nothing of it is sent or told any more."""
        if stream in self._lanes and not self.closing:
            self._reset(stream, code)
        self._forget(stream)

    def forget(self, stream: int) -> None:
        """The peer has said that it never took *stream*: there is nobody to tell."""
        self._forget(stream)

    def ping(self) -> None:
        """Ask for a `Pong`."""
        self._pings += 1
        self._h2.ping(self._pings.to_bytes(8, "big"))

    def goaway(self, code: int = NO_ERROR, debug: bytes = b"") -> None:
        """Tell the peer to open no more; its streams so far go on, further ones are refused."""
        self._leaving = True
        self._pull()
        self._out.append(encode_goaway(self._last_seen, code, debug))

    @property
    def has_output(self) -> bool:
        self._pull()
        return bool(self._out or self._ready)

    def output(self) -> bytes:
        """What may leave now; empty when all the rest waits for the peer."""
        left = OUT_BYTES_MAX
        ready = self._ready
        while ready and left > 0 and not self.closing:
            stream = next(iter(ready))
            left -= self._turn(ready.pop(stream))
        self._pull()
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def _turn(self, lane: Lane) -> int:
        """One frame of one stream; how many bytes it holds."""
        connection = self._h2
        stream = lane.stream
        length = 0
        if lane.queued:
            length = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
            if length <= 0:
                self._blocked[stream] = lane
                return 0
        data = lane.take(length)
        ends = lane.ending and not lane.queued
        connection.send_data(stream, data, end_stream=ends)
        if ends:
            self._we_ended(lane)
        elif lane.queued:
            self._ready[stream] = lane
        return len(data)

    def _pull(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._out.append(data)

    # Streams.

    def _reset(self, stream: int, code: int) -> None:
        # The peer may have reset it in the bytes that are being dealt with: that event is still to come.
        with suppress(h2.exceptions.StreamClosedError):
            self._h2.reset_stream(stream, code)

    def _we_ended(self, lane: Lane) -> None:
        lane.we_ended = True
        if lane.peer_ended:
            self._forget(lane.stream)

    def _peer_ended(self, stream: int) -> None:
        lane = self._lanes.get(stream)
        if lane is not None:
            lane.peer_ended = True
            if lane.we_ended:
                self._forget(stream)

    def _forget(self, stream: int) -> bool:
        self._ready.pop(stream, None)
        self._blocked.pop(stream, None)
        lane = self._lanes.pop(stream, None)
        if lane is None:
            return False
        self._owe(stream, lane.owed)
        return True

    def _check_flood(self, now: float) -> None:
        cheap = self._scanner.cheap
        if now - self._flood_from >= FLOOD_SECONDS:
            self._flood_from = now
            self._flood_base = cheap
        if cheap - self._flood_base > FLOOD_FRAMES_MAX:
            self._give_up(ENHANCE_YOUR_CALM, "the peer floods the connection with frames that carry nothing")
        if self._out and sum(map(len, self._out)) > UNREAD_BYTES_MAX:
            self._give_up(ENHANCE_YOUR_CALM, "the peer does not read what it asks for")

    def _give_up(self, code: int, why: str) -> None:
        self.goaway(code, why.encode())
        self.closing = True
        raise WireError(why)

    # Events of the library.

    def _on_request(self, event: h2.events.RequestReceived, events: list[Event]) -> None:
        stream = event.stream_id
        assert stream is not None, "the library says which"
        if not self._leaving:
            self._last_seen = max(self._last_seen, stream)
        if self._leaving or len(self._lanes) >= self._streams_max:
            self._reset(stream, REFUSED_STREAM)
            return
        self._lanes[stream] = Lane(stream)
        self._head(stream, event, Kind.REQUEST, events)

    def _on_response(self, event: h2.events.ResponseReceived, events: list[Event]) -> None:
        assert event.stream_id is not None, "the library says which"
        self._head(event.stream_id, event, Kind.RESPONSE, events)

    def _head(
        self,
        stream: int,
        event: h2.events.RequestReceived | h2.events.ResponseReceived,
        kind: Kind,
        events: list[Event],
    ) -> None:
        if stream not in self._lanes or self._is_malformed(stream, event.headers or (), kind, events):
            return
        ended = event.stream_ended is not None
        headers = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers or ()])
        events.append(Head(stream, headers, ended))
        if ended:
            self._peer_ended(stream)

    def _is_malformed(self, stream: int, headers: Any, kind: Kind, events: list[Event]) -> bool:
        """A malformed head ends its stream."""
        why = malformed(headers, kind)
        if why is None:
            return False
        self.reset(stream, PROTOCOL_ERROR)
        events.append(Reset(stream, PROTOCOL_ERROR, why))
        return True

    def _on_data(self, event: h2.events.DataReceived, events: list[Event]) -> None:
        stream, size = event.stream_id, event.flow_controlled_length or 0
        assert stream is not None, "the library says which"
        if stream not in self._lanes:
            self.credit(stream, size)
            return
        ended = event.stream_ended is not None
        events.append(Data(stream, event.data or b"", size, ended))
        if ended:
            self._peer_ended(stream)

    def _on_trailers(self, event: h2.events.TrailersReceived, events: list[Event]) -> None:
        stream = event.stream_id
        assert stream is not None, "the library says which"
        if stream in self._lanes and not self._is_malformed(stream, event.headers or (), Kind.TRAILERS, events):
            events.append(Ended(stream))
            self._peer_ended(stream)

    def _on_reset(self, event: h2.events.StreamReset, events: list[Event]) -> None:
        if self._forget(event.stream_id):
            events.append(Reset(event.stream_id, int(event.error_code or 0)))

    def _on_window(self, event: h2.events.WindowUpdated, events: list[Event]) -> None:
        if event.stream_id == 0:
            self._unblock_all()
        elif event.stream_id in self._blocked:
            self._ready[event.stream_id] = self._blocked.pop(event.stream_id)

    def _on_settings(self, event: h2.events.RemoteSettingsChanged, events: list[Event]) -> None:
        self._unblock_all()
        events.append(Ready())

    def _on_terminated(self, event: h2.events.ConnectionTerminated, events: list[Event]) -> None:
        """A GOAWAY the scanner did not take out: to the library the connection is over."""
        self.closing = True
        raise WireError("the peer said goodbye in the middle of something else")

    def _on_pong(self, event: h2.events.PingAckReceived, events: list[Event]) -> None:
        events.append(Pong())

    def _unblock_all(self) -> None:
        self._ready.update(self._blocked)
        self._blocked.clear()


def is_one_line(headers: BytePairs) -> bool:
    """Whether no value could be taken for more than one header by who writes it as HTTP/1.1."""
    text = b"".join([value for _, value in headers])
    return b"\n" not in text and b"\r" not in text and b"\0" not in text


TRANSLATE: Final = MappingProxyType[type[h2.events.Event], Callable[[Wire, Any, list[Event]], None]](
    {
        h2.events.RequestReceived: Wire._on_request,
        h2.events.ResponseReceived: Wire._on_response,
        h2.events.DataReceived: Wire._on_data,
        h2.events.TrailersReceived: Wire._on_trailers,
        h2.events.StreamReset: Wire._on_reset,
        h2.events.WindowUpdated: Wire._on_window,
        h2.events.RemoteSettingsChanged: Wire._on_settings,
        h2.events.ConnectionTerminated: Wire._on_terminated,
        h2.events.PingAckReceived: Wire._on_pong,
    }
)
