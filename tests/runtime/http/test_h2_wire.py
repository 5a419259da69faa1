"""The sans-IO parts of HTTP/2: frame boundaries, header blocks, what waits and what leaves."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.http.h2_check import Kind, malformed
from understudy_runtime.http.h2_events import Data, Head, Reset
from understudy_runtime.http.h2_headers import KeepingDecoder, PlainEncoder, encode_integer
from understudy_runtime.http.h2_lane import Lane
from understudy_runtime.http.h2_scan import FRAME_BYTES_MAX, FrameScanner, FrameTooLarge, GoAway, encode_goaway
from understudy_runtime.http.h2_wire import OUT_BYTES_MAX, STREAM_WINDOW, Wire, WireError

GET = [(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"h")]
NAMES = st.sampled_from([b":path", b":status", b"accept", b"content-type", b"x-a", b"date", b"x-restate-id"])
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=200)))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


FRAMES = st.lists(
    st.one_of(
        st.builds(frame, st.integers(0, 9).filter(lambda kind: kind != 7), st.just(4), st.integers(0, 9), st.binary()),
        st.builds(encode_goaway, st.integers(0, 99), st.integers(0, 13), st.binary(max_size=20)),
        st.builds(frame, st.just(7), st.just(0), st.just(1), st.binary(max_size=20)),
    )
)


@given(FRAMES, st.lists(st.integers(1, 40)))
def test_goaways_are_taken_out_wherever_the_bytes_are_cut(frames, cuts):
    scanner = FrameScanner(preface=False)
    data = b"".join(frames)
    taken, passed = [], b""
    while data:
        length = cuts.pop() if cuts else len(data)
        for piece in scanner.feed(data[:length]):
            if isinstance(piece, GoAway):
                taken.append(piece)
            else:
                passed += piece
        data = data[length:]
    goaways = [f for f in frames if f[3] == 7 and f[5:9] == bytes(4)]
    assert [encode_goaway(g.last_stream, g.code, g.debug) for g in taken] == goaways
    assert passed == b"".join(f for f in frames if f not in goaways)


def test_the_preface_is_no_frame():
    scanner = FrameScanner(preface=True)
    assert scanner.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + encode_goaway(3, 0)) == [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        GoAway(3, 0),
    ]


def test_a_goaway_with_the_bit_that_means_nothing():
    goaway = bytearray(encode_goaway(3, 0))
    goaway[5] |= 0x80
    assert FrameScanner(preface=False).feed(bytes(goaway)) == [GoAway(3, 0)]


def test_a_frame_above_the_bound_is_refused_before_it_comes():
    scanner = FrameScanner(preface=False)
    assert scanner.feed(FRAME_BYTES_MAX.to_bytes(3, "big") + bytes(6))
    with pytest.raises(FrameTooLarge):
        FrameScanner(preface=False).feed((FRAME_BYTES_MAX + 1).to_bytes(3, "big") + bytes(6))


@given(st.lists(HEADERS, min_size=1, max_size=4))
def test_blocks_can_be_read_by_others(blocks):
    encoder, decoder = PlainEncoder(), hpack.Decoder()
    for headers in blocks:
        decoded = decoder.decode(encoder.encode(headers), raw=True)
        assert [tuple(pair) for pair in decoded] == headers
    # Nothing we send enters the peer's table, whatever it allows.
    decoder.max_allowed_table_size = 0
    decoder.decode(encoder.encode(GET))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([None, 0, 40, 4096])), max_size=30))
def test_blocks_that_come_again_are_read_as_the_first_time(turns):
    """By a foreign encoder, whose table changes under the blocks, also in size."""
    encoder, keeping, plain = hpack.Encoder(), KeepingDecoder(), hpack.Decoder()
    for number, sensitive, size in turns:
        if size is not None:
            encoder.header_table_size = size
        headers = [(b":status", b"200"), (b"x-a", b"value %d" % number, sensitive), (b"x-b", b"%d" % number, sensitive)]
        block = encoder.encode(headers)
        assert keeping.decode(block, raw=True) == list(plain.decode(block, raw=True))


MALFORMED = [
    ([*GET, (b"X-Upper", b"v")], Kind.REQUEST),
    ([*GET, (b"", b"v")], Kind.REQUEST),
    ([*GET, (b"a b", b"v")], Kind.REQUEST),
    ([*GET, (b"a", b"x\r\ny: z")], Kind.REQUEST),
    ([*GET, (b"a", b"x\x00")], Kind.REQUEST),
    ([*GET, (b"a", b" x")], Kind.REQUEST),
    ([*GET, (b"connection", b"close")], Kind.REQUEST),
    ([*GET, (b"transfer-encoding", b"chunked")], Kind.REQUEST),
    ([*GET, (b"te", b"gzip")], Kind.REQUEST),
    ([*GET, (b"host", b"other")], Kind.REQUEST),
    ([*GET, (b"content-length", b"1_0")], Kind.REQUEST),
    ([*GET, (b"content-length", b"")], Kind.REQUEST),
    ([*GET, GET[0]], Kind.REQUEST),
    ([*GET, (b":status", b"200")], Kind.REQUEST),
    ([*GET, (b":protocol", b"x")], Kind.REQUEST),
    ([(b"a", b"b"), *GET], Kind.REQUEST),
    (GET[1:], Kind.REQUEST),
    ([GET[0], *GET[2:]], Kind.REQUEST),
    ([*GET[:2], GET[3]], Kind.REQUEST),
    ([GET[0], (b":path", b""), *GET[2:]], Kind.REQUEST),
    ([(b":method", b"CONNECT"), (b":path", b"/"), (b":authority", b"h")], Kind.REQUEST),
    ([(b":method", b"CONNECT")], Kind.REQUEST),
    ([], Kind.REQUEST),
    ([], Kind.RESPONSE),
    ([(b"a", b"b")], Kind.RESPONSE),
    ([(b":status", b"2x0")], Kind.RESPONSE),
    ([(b":status", b"0200")], Kind.RESPONSE),
    ([(b":status", b"200"), (b":path", b"/")], Kind.RESPONSE),
    ([(b":status", b"200")], Kind.TRAILERS),
]
WELL_FORMED = [
    (GET, Kind.REQUEST),
    ([*GET, (b"te", b"trailers"), (b"a", b""), (b"a", b"x \t y\xff"), (b"host", b"h")], Kind.REQUEST),
    ([*GET[:3], (b"host", b"h")], Kind.REQUEST),
    ([(b":method", b"CONNECT"), (b":authority", b"h")], Kind.REQUEST),
    ([(b":status", b"999"), (b"x!#$%&'*+-.^_`|~", b"v")], Kind.RESPONSE),
    ([], Kind.TRAILERS),
    ([(b"a", b"b")], Kind.TRAILERS),
]


@pytest.mark.parametrize(("headers", "kind"), MALFORMED)
def test_malformed_heads(headers, kind):
    assert malformed(headers, kind) is not None


@pytest.mark.parametrize(("headers", "kind"), WELL_FORMED)
def test_well_formed_heads(headers, kind):
    assert malformed(headers, kind) is None


def test_a_malformed_head_ends_its_stream_alone():
    pair = Pair()
    bad = pair.client.open([*GET, (b"Upper", b"x")], b"", end=True)
    good = pair.client.open(GET, b"", end=True)
    pair.exchange()
    assert [event.stream for event in pair.of(pair.server_events, Head)] == [good]
    assert pair.of(pair.client_events, Reset) == [Reset(bad, 1)]


def test_a_stream_that_is_reset_in_the_bytes_that_open_it():
    pair = Pair(streams_max=1)
    bad = pair.client.open([*GET, (b"Upper", b"x")], b"", end=False)
    pair.client.reset(bad, 8)
    full = pair.client.open(GET, b"", end=False)
    pair.client.reset(full, 8)
    refused = pair.client.open(GET, b"", end=False)
    pair.client.reset(refused, 8)
    pair.exchange()
    assert pair.of(pair.server_events, Reset)[0] == Reset(bad, 1, "b'Upper' is not a header's name in lower case")
    assert (pair.client.streams, pair.server.streams) == (0, 0)
    assert not pair.of(pair.client_events, GoAway)


def test_what_is_kept_is_bounded():
    encoder = PlainEncoder()
    for number in range(2000):
        encoder.encode([(b"x-number", b"%d" % number)])
    assert len(encoder._kept) < 300


@given(st.integers(0, 1 << 34), st.integers(1, 8))
def test_integers(value, prefix_bits):
    from hpack.hpack import decode_integer

    data = encode_integer(value, prefix_bits)
    assert decode_integer(data, prefix_bits) == (value, len(data))


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(1, 60), min_size=1))
def test_a_lane_gives_what_was_put(parts, lengths):
    lane = Lane(1)
    for part in parts:
        lane.put(part)
    whole, got, turn = b"".join(parts), b"", 0
    while lane.queued:
        piece = lane.take(lengths[turn % len(lengths)])
        assert len(piece) <= lengths[turn % len(lengths)]
        got += piece
        turn += 1
    assert (got, list(lane.parts)) == (whole, [])


class Pair:
    """Two wires and the bytes between them."""

    def __init__(self, *, streams_max: int = 8) -> None:
        self.client = Wire(client=True, streams_max=streams_max)
        self.server = Wire(client=False, streams_max=streams_max)
        self.client_events: list = []
        self.server_events: list = []
        self.exchange()

    def exchange(self) -> None:
        while self.client.has_output or self.server.has_output:
            before = (self.client.output(), self.server.output())
            if not any(before):
                return
            self.server_events += self.server.feed(before[0], 0.0) if before[0] else []
            self.client_events += self.client.feed(before[1], 0.0) if before[1] else []

    def of(self, events: list, kind: type) -> list:
        return [event for event in events if isinstance(event, kind)]


def test_request_and_response():
    pair = Pair()
    stream = pair.client.open(GET, b"body", end=True)
    pair.exchange()
    (head,) = pair.of(pair.server_events, Head)
    (data,) = pair.of(pair.server_events, Data)
    assert head == (stream, ((":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "h")), False)
    assert (data.data, data.size, data.ended) == (b"body", 4, True)
    pair.server.respond(stream, [(b":status", b"200")], end=True)
    pair.exchange()
    assert pair.of(pair.client_events, Head) == [(stream, ((":status", "200"),), True)]
    assert (pair.client.streams, pair.server.streams) == (0, 0)


def test_long_data_waits_for_credit_and_all_of_it_arrives():
    pair = Pair()
    stream = pair.client.open(GET, b"x" * (3 * STREAM_WINDOW), end=True)
    pair.exchange()
    got = sum(len(data.data) for data in pair.of(pair.server_events, Data))
    assert got == STREAM_WINDOW
    assert pair.client.queued(stream) == 2 * STREAM_WINDOW
    while not pair.of(pair.server_events, Data)[-1].ended:
        events, pair.server_events = pair.server_events, []
        for data in pair.of(events, Data):
            pair.server.credit(stream, data.size)
        pair.exchange()
        got += sum(len(data.data) for data in pair.of(pair.server_events, Data))
    assert got == 3 * STREAM_WINDOW
    assert pair.client.queued(stream) == 0


@pytest.mark.parametrize("cut_off", [False, True])
def test_small_sums_of_streams_that_are_over_give_the_connection_its_window_back(cut_off):
    pair = Pair(streams_max=1)
    body = b"x" * 3_000
    for _ in range(3 * STREAM_WINDOW // len(body)):
        stream = pair.client.open(GET, body, end=not cut_off)
        pair.exchange()
        assert pair.client.queued(stream) == 0, "the connection's window is used up"
        for data in pair.of(pair.server_events, Data):
            pair.server.credit(stream, data.size)
        pair.server_events.clear()
        if cut_off:
            pair.client.reset(stream, 8)
        else:
            pair.server.respond(stream, [(b":status", b"200")], end=True)
        pair.exchange()


def test_output_is_bounded():
    pair = Pair()
    for _ in range(8):
        pair.client.open(GET, b"x" * STREAM_WINDOW, end=True)
    sizes = []
    while data := pair.client.output():
        sizes.append(len(data))
    assert max(sizes) < 2 * OUT_BYTES_MAX
    assert sum(sizes) > 8 * STREAM_WINDOW


def test_streams_take_turns():
    pair = Pair()
    for _ in range(3):
        pair.client.open(GET, b"x" * 70_000, end=True)
    pair.exchange()
    order = [data.stream for data in pair.of(pair.server_events, Data)]
    assert order[:6] == [1, 3, 5, 1, 3, 5]


def test_what_is_said_to_a_reset_stream_goes_nowhere():
    pair = Pair()
    stream = pair.client.open(GET, b"a", end=False)
    pair.exchange()
    pair.server.reset(stream, 8)
    pair.server.respond(stream, [(b":status", b"200")])
    pair.server.send(stream, b"x", end=True)
    pair.client.send(stream, b"late")
    pair.exchange()
    assert pair.of(pair.client_events, Reset) == [Reset(stream, 8)]
    pair.client.send(stream, b"later", end=True)
    assert not pair.client.has_output
    assert (pair.client.streams, pair.server.streams) == (0, 0)


def test_after_goaway_what_runs_goes_on_and_what_comes_is_refused():
    pair = Pair()
    first = pair.client.open(GET, b"", end=True)
    pair.exchange()
    pair.server.goaway()
    second = pair.client.open(GET, b"", end=True)
    pair.exchange()
    assert pair.of(pair.client_events, GoAway) == [GoAway(first, 0)]
    assert pair.of(pair.client_events, Reset) == [Reset(second, 7)]
    pair.server.respond(first, [(b":status", b"200")])
    pair.server.send(first, b"x" * 1000, end=True)
    pair.exchange()
    assert pair.of(pair.client_events, Data)[-1].ended


def test_pings_of_a_peer_that_does_not_read_are_not_kept_for_ever():
    wire = Wire(client=True, streams_max=1)
    wire.output()
    wire.feed(frame(4, 0, 0, b""), 0.0)
    pings = frame(6, 0, 0, bytes(8)) * 900

    def ping_slowly() -> None:
        for turn in range(1000):
            wire.feed(pings, 10.0 * turn)
            assert wire.has_output

    with pytest.raises(WireError, match="does not read"):
        ping_slowly()
