"""The HTTP/2 client and the transport on it, against a foreign server that follows a script."""

from __future__ import annotations

import h2.errors
import h2.events
import h2.settings
import pytest
import trio
import trio.testing
from understudy.protocol.framing import Frame, encode_frames
from understudy_runtime.http.connect import connector
from understudy_runtime.http.exchange import Address, Words
from understudy_runtime.http.h2_client import H2Pool
from understudy_runtime.http.h2_transport import H2Transport
from understudy_runtime.http.h2_wire import STREAM_WINDOW
from understudy_runtime.invoker.port import TransportError, WrongHttpVersion
from understudy_runtime.limits import Limits
from understudy_runtime.model.endpoint import Endpoint

from tests.runtime.http.foreign import ForeignServer
from tests.runtime.http.ways import HEAD, START, V6, Peer, net

__all__ = ["net"]

LIMITS = Limits(h2_streams_max=2)
TYPE = [("content-type", V6)]
END = Frame(3, b"")


class Way:
    """A transport, its pool, and attempts on it as tasks."""

    def __init__(self, net, nursery, limits: Limits) -> None:
        self.pool = H2Pool(lambda: net.dial("h", 1), limits, nursery.start_soon)
        self.transport = H2Transport(
            self.pool, Words(Address("h", 1), (), None, net.now_ms), bidi=True, message_bytes_max=1 << 25
        )
        self._nursery = nursery

    def attempt(self, frames=START) -> Attempt:
        attempt = Attempt()
        self._nursery.start_soon(attempt.run, self.transport, frames)
        return attempt


class Attempt(Peer):
    """One attempt and how it ended: `failure` None for well."""

    def __init__(self) -> None:
        super().__init__()
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.failure: TransportError | None = None
        self.wants = trio.Event()
        self.wants.set()

    async def room(self) -> None:
        await self.wants.wait()

    async def run(self, transport, frames) -> None:
        with self.scope:
            try:
                await transport.run(HEAD, frames, self)
            except TransportError as failure:
                self.failure = failure
        self.over.set()

    async def failed(self) -> TransportError:
        await self.over.wait()
        assert self.failure is not None
        return self.failure


@pytest.fixture
def way(net, nursery):
    return Way(net, nursery, LIMITS)


async def accepted(net) -> ForeignServer:
    server = ForeignServer(await net.listener.accept())
    await server.start()
    return server


def settled():
    return trio.testing.wait_all_tasks_blocked()


async def test_an_attempt_opens_with_one_write(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    writes = []
    server.stream.receive_stream, real = server.stream.receive_stream, server.stream.receive_stream

    class Counting:
        async def receive_some(self, _max):
            data = await real.receive_some(_max)
            writes.append(bytes(data))
            return data

    server.stream.receive_stream = Counting()
    stream = await server.next_request()
    await server.until(h2.events.DataReceived, stream)
    assert server.body(stream) == encode_frames(START)
    opening = [data for data in writes if encode_frames(START) in data]
    assert len(opening) == 1
    assert b"inv_1abc" in opening[0]
    await server.respond(stream, TYPE, encode_frames([END]))
    await attempt.over.wait()
    assert attempt.failure is None
    assert attempt.frames == [END]
    await server.until(h2.events.StreamEnded, stream)
    await settled()
    assert (way.pool.connections, way.pool.streams) == (1, 0)


async def test_what_is_said(net, way):
    way.attempt()
    server = await accepted(net)
    await server.next_request()
    request = next(event for event in server.events if isinstance(event, h2.events.RequestReceived))
    assert dict(request.headers) == {
        ":method": "POST",
        ":path": "/invoke/Counter/add",
        ":scheme": "http",
        ":authority": "h:1",
        "content-type": V6,
        "accept": V6,
        "x-restate-invocation-id": "inv_1abc",
        "x-restate-service-key": "a%2Fb%20%C3%A9",
    }


async def test_half_closes_either_first(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    stream = await server.next_request()
    attempt.stream.send([Frame(0x8011, b"note")])
    attempt.stream.close_send()
    attempt.stream.send([Frame(0x8011, b"dropped")])
    await server.until(h2.events.StreamEnded, stream)
    assert server.body(stream) == encode_frames([*START, Frame(0x8011, b"note")])
    await server.respond(stream, TYPE, encode_frames([END]))
    await attempt.over.wait()
    assert attempt.failure is None
    second = way.attempt()
    stream = await server.next_request()
    await server.respond(stream, TYPE, encode_frames([END]))
    await second.over.wait()
    await server.until(h2.events.StreamEnded, stream)
    assert second.failure is None


async def test_attempts_share_a_connection_up_to_the_bound(net, way):
    attempts = [way.attempt() for _ in range(5)]
    servers = []
    for count in (2, 2, 1):
        server = await accepted(net)
        servers.append((server, [await server.next_request() for _ in range(count)]))
        await settled()
    assert (net.dials, way.pool.connections, way.pool.streams) == (3, 3, 5)
    for server, streams in servers:
        for stream in streams:
            await server.respond(stream, TYPE, encode_frames([END]))
    for attempt in attempts:
        await attempt.over.wait()
        assert attempt.failure is None
    assert way.pool.streams == 0


async def test_the_peers_own_bound_is_kept(net, nursery):
    way = Way(net, nursery, Limits())
    for _ in range(2):
        way.attempt()
    server = ForeignServer(await net.listener.accept())
    await server.start(MAX_CONCURRENT_STREAMS=1)
    await server.next_request()
    # The bound came in the second settings frame: nothing opens beyond it from then on.
    await settled()
    late = way.attempt()
    await settled()
    assert net.dials == 2
    assert late.stream is None


async def test_a_cancel_resets_the_stream_alone(net, way):
    first, second = way.attempt(), way.attempt()
    server = await accepted(net)
    streams = [await server.next_request() for _ in range(2)]
    await settled()
    first.scope.cancel()
    reset = await server.until(h2.events.StreamReset)
    assert (reset.stream_id in streams, reset.error_code) == (True, h2.errors.ErrorCodes.CANCEL)
    other = next(stream for stream in streams if stream != reset.stream_id)
    await server.respond(other, TYPE, encode_frames([END]))
    await second.over.wait()
    assert second.failure is None
    assert (way.pool.connections, way.pool.streams) == (1, 0)


async def test_a_cancel_while_dialing_leaves_the_dial_to_others(net, way):
    first, second = way.attempt(), way.attempt()
    await settled()
    first.scope.cancel()
    await first.over.wait()
    server = await accepted(net)
    stream = await server.next_request()
    await server.respond(stream, TYPE, encode_frames([END]))
    await second.over.wait()
    assert second.failure is None
    assert net.dials == 1


# Windows.


async def test_what_the_invoker_has_no_room_for_stays_with_the_peer(net, way):
    attempt = way.attempt()
    attempt.wants = trio.Event()
    server = await accepted(net)
    stream = await server.next_request()
    await server.respond(stream, TYPE, encode_frames([Frame(1, b"x" * 1000)]), end=False)
    sent = 1008
    while (window := server.h2.local_flow_control_window(stream)) > 0:
        frame = encode_frames([Frame(1, b"y" * (min(window, 10_000) - 8))]) if window > 8 else b"z" * window
        server.h2.send_data(stream, frame)
        sent += len(frame)
        await server.flush()
    await settled()
    assert sent == STREAM_WINDOW
    assert server.h2.local_flow_control_window(stream) == 0
    assert attempt.frames == [Frame(1, b"x" * 1000)]
    attempt.wants.set()
    await server.until(h2.events.WindowUpdated, stream)
    await settled()
    assert sum(len(frame.payload) + 8 for frame in attempt.frames) > STREAM_WINDOW - 10_000


async def test_a_message_larger_than_the_window_gets_through(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    stream = await server.next_request()
    data = encode_frames([Frame(1, b"x" * (3 * STREAM_WINDOW)), END])
    await server.respond(stream, TYPE, end=False)
    while data:
        length = min(len(data), server.h2.local_flow_control_window(stream), 16_384)
        if not length:
            await server.read()
            continue
        server.h2.send_data(stream, data[:length], end_stream=length == len(data))
        data = data[length:]
        await server.flush()
    await attempt.over.wait()
    assert attempt.failure is None
    assert [len(frame.payload) for frame in attempt.frames] == [3 * STREAM_WINDOW, 0]


async def test_what_we_send_waits_for_the_peers_window_in_turns(net, way):
    long = way.attempt([Frame(0, b"x" * 200_000)])
    server = await accepted(net)
    server.credits = False
    stream = await server.next_request()
    while len(server.body(stream)) < 65_535:
        await server.read()
    await settled()
    short = way.attempt()
    other = await server.next_request()
    server.h2.acknowledge_received_data(65_535, stream)
    server.credits = True
    await server.flush()
    while not server.body(other):
        await server.read()
    # The short one did not wait for all of the long one.
    assert len(server.body(stream)) < 200_000
    while len(server.body(stream)) < 200_008:
        await server.read()
    assert server.body(other) == encode_frames(START)
    for each in (stream, other):
        await server.respond(each, TYPE, encode_frames([END]))
    for attempt in (long, short):
        await attempt.over.wait()
        assert attempt.failure is None


async def test_an_answer_that_ends_before_the_request_could_leave(net, way):
    attempt = way.attempt([Frame(0, b"x" * 200_000)])
    server = await accepted(net)
    server.credits = False
    stream = await server.next_request()
    while len(server.body(stream)) < 65_535:
        await server.read()
    await server.respond(stream, TYPE, encode_frames([END]))
    await attempt.over.wait()
    assert (attempt.failure, attempt.frames) == (None, [END])
    reset = await server.until(h2.events.StreamReset, stream)
    assert reset.error_code == h2.errors.ErrorCodes.CANCEL
    assert way.pool.streams == 0


async def test_an_abandoned_stream_gives_its_window_back(net, nursery):
    limits = Limits(h2_streams_max=1)
    way = Way(net, nursery, limits)
    server = None
    for _ in range(6):
        attempt = way.attempt()
        attempt.wants = trio.Event()
        server = server or await accepted(net)
        stream = await server.next_request()
        server.h2.send_headers(stream, [(":status", "200"), *TYPE])
        for _ in range(8):
            server.h2.send_data(stream, encode_frames([Frame(1, b"x" * 10_000)]))
        await server.flush()
        await settled()
        attempt.scope.cancel()
        await server.until(h2.events.StreamReset, stream)
    # Six times 80 kB went through a connection's window of 256 KiB.
    assert server.h2.outbound_flow_control_window > 80_000
    assert net.dials == 1


# Endings.


async def test_goaway_sends_what_was_not_taken_elsewhere_and_lets_the_rest_finish(net, nursery):
    way = Way(net, nursery, Limits())
    attempts = [way.attempt(), way.attempt()]
    server = await accepted(net)
    streams = sorted([await server.next_request(), await server.next_request()])
    await settled()
    goaway = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + streams[0].to_bytes(4, "big") + bytes(4)
    await server.stream.send_all(goaway)
    await settled()
    (untaken,) = [attempt for attempt in attempts if attempt.over.is_set()]
    (taken,) = [attempt for attempt in attempts if not attempt.over.is_set()]
    assert not (await untaken.failed()).reached
    later = way.attempt()
    second = await accepted(net)
    fresh = await second.next_request()
    await second.respond(fresh, TYPE, encode_frames([END]))
    await later.over.wait()
    assert later.failure is None
    await server.respond(streams[0], TYPE, encode_frames([END]))
    await taken.over.wait()
    assert (taken.failure, taken.frames) == (None, [END])
    await settled()
    assert way.pool.connections == 1


async def test_what_the_peer_says_at_its_goodbye_is_told(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    await server.next_request()
    await server.stream.send_all(b"\x00\x00\x10\x07" + bytes(9) + b"\x00\x00\x00\x0btoo much")
    failure = await attempt.failed()
    assert "code 11: too much" in str(failure)
    assert not failure.reached


async def test_a_refused_stream_was_not_reached(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    server.h2.reset_stream(await server.next_request(), h2.errors.ErrorCodes.REFUSED_STREAM)
    await server.flush()
    assert not (await attempt.failed()).reached


@pytest.mark.parametrize("said", ["REFUSED_STREAM", "HTTP_1_1_REQUIRED", "goaway"])
async def test_who_has_answered_was_reached_whatever_it_says_later(net, way, said):
    attempt = way.attempt()
    server = await accepted(net)
    stream = await server.next_request()
    await server.respond(stream, TYPE, encode_frames([Frame(1, b"x")]), end=False)
    if said == "goaway":
        await server.stream.send_all(b"\x00\x00\x08\x07" + bytes(5) + bytes(8))
    else:
        server.h2.reset_stream(stream, h2.errors.ErrorCodes[said])
        await server.flush()
    failure = await attempt.failed()
    assert failure.reached
    assert not isinstance(failure, WrongHttpVersion)
    assert attempt.frames == [Frame(1, b"x")]


async def test_a_reset_stream_was_reached(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    stream = await server.next_request()
    await server.respond(stream, TYPE, encode_frames([Frame(1, b"x")]), end=False)
    server.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
    await server.flush()
    assert (await attempt.failed()).reached
    assert attempt.frames == [Frame(1, b"x")]


async def test_a_reset_after_the_whole_answer_changes_nothing(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    stream = await server.next_request()
    server.h2.send_headers(stream, [(":status", "200"), *TYPE])
    server.h2.send_data(stream, encode_frames([END]), end_stream=True)
    server.h2.reset_stream(stream, h2.errors.ErrorCodes.NO_ERROR)
    await server.flush()
    await attempt.over.wait()
    assert attempt.failure is None


@pytest.mark.parametrize("how", ["eof", "break", "nonsense"])
async def test_a_connection_that_ends_fails_all_its_attempts(net, way, how):
    attempts = [way.attempt(), way.attempt()]
    server = await accepted(net)
    for _ in attempts:
        await server.next_request()
    if how == "eof":
        await server.stream.aclose()
    elif how == "break":
        net.streams[0].receive_stream.close()
    else:
        await server.stream.send_all(b"\x00\x00\x00\x00\x00\x00\x00\x00\x00")
    for attempt in attempts:
        assert (await attempt.failed()).reached
    if how == "nonsense":
        assert (await server.until(h2.events.ConnectionTerminated)).error_code
    await settled()
    assert (way.pool.connections, way.pool.streams) == (0, 0)


@pytest.mark.parametrize(
    ("greeting", "wrong"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True),
        (b"HTTP/1.0 505 \r\n\r\n", True),
        (b"220 mail.example.org ESMTP\r\n", True),
        (b"", False),
    ],
)
async def test_a_peer_that_does_not_speak_it(net, way, greeting, wrong):
    attempt = way.attempt()
    stream = await net.listener.accept()
    if greeting:
        await stream.send_all(greeting)
    await stream.aclose()
    failure = await attempt.failed()
    assert isinstance(failure, WrongHttpVersion) == wrong
    assert not failure.reached
    await settled()
    assert way.pool.connections == 0


async def test_a_peer_that_wants_http_1_for_this_request(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    server.h2.reset_stream(await server.next_request(), h2.errors.ErrorCodes.HTTP_1_1_REQUIRED)
    await server.flush()
    assert isinstance(await attempt.failed(), WrongHttpVersion)


async def test_nobody_listens_fails_all_who_wait_and_is_tried_again(net, way):
    net.refuse = True
    attempts = [way.attempt(), way.attempt()]
    for attempt in attempts:
        assert not (await attempt.failed()).reached
    net.refuse = False
    again = way.attempt()
    server = await accepted(net)
    await server.respond(await server.next_request(), TYPE, encode_frames([END]))
    await again.over.wait()
    assert again.failure is None


async def test_a_status_that_is_none(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    stream = await server.next_request()
    await server.respond(stream, status="2x0", end=True)
    assert "2x0" in str(await attempt.failed())


async def test_closing_the_transport_lets_attempts_finish(net, way):
    attempt = way.attempt()
    server = await accepted(net)
    stream = await server.next_request()
    await way.transport.aclose()
    await server.respond(stream, TYPE, encode_frames([END]))
    await attempt.over.wait()
    assert attempt.failure is None
    await server.until(h2.events.ConnectionTerminated)
    await settled()
    assert way.pool.connections == 0


async def test_a_peer_that_takes_nothing_is_not_dialed_for_ever(net, way):
    attempts = [way.attempt(), way.attempt()]
    server = ForeignServer(await net.listener.accept())
    server.h2.local_settings = h2.settings.Settings(client=False, initial_values={3: 0})
    await server.start()
    for attempt in attempts:
        assert not (await attempt.failed()).reached
    assert net.dials == 1


async def test_a_peer_that_greets_with_goodbye(net, way):
    attempt = way.attempt()
    stream = await net.listener.accept()
    await stream.send_all(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(8))
    assert not (await attempt.failed()).reached
    await settled()
    assert (net.dials, way.pool.connections) == (1, 0)


async def test_who_asks_a_connector_that_has_ended_is_told(net):
    connect = connector(net, LIMITS)
    transport = connect(Endpoint(uri="http://h:1"))
    async with trio.open_nursery() as nursery:
        await nursery.start(connect.run)
        nursery.cancel_scope.cancel()
    with pytest.raises(TransportError, match="stopping") as failure:
        await transport.discover()
    assert not failure.value.reached
    assert net.dials == 0


# Silence.


async def test_a_peer_that_never_greets(autojump_clock, net, way):
    attempt = way.attempt()
    stream = await net.listener.accept()
    failure = await attempt.failed()
    assert not failure.reached
    assert trio.current_time() == pytest.approx(LIMITS.connect_timeout_ms / 1000)
    await settled()
    assert way.pool.connections == 0
    assert stream is not None


async def test_a_dial_that_hangs(autojump_clock, nursery):
    class Hanging:
        async def dial(self, host, port):
            await trio.sleep_forever()

        def now_ms(self) -> int:
            return 0

    connect = connector(Hanging(), LIMITS)
    await nursery.start(connect.run)
    for use_http_11 in (False, True):
        with pytest.raises(TransportError, match="10000 ms") as failure:
            await connect(Endpoint(uri="http://h:1", use_http_11=use_http_11)).discover()
        assert not failure.value.reached


async def test_pings_keep_a_quiet_attempt_and_find_a_dead_peer(autojump_clock, net, way):
    attempt = way.attempt()
    server = await accepted(net)
    await server.next_request()
    with trio.move_on_after(200):
        while True:
            await server.read()
    pings = [event for event in server.events if isinstance(event, h2.events.PingReceived)]
    assert len(pings) == 4
    assert not attempt.over.is_set()
    asked = trio.current_time()
    failure = await attempt.failed()
    assert failure.reached
    assert "ping" in str(failure)
    assert trio.current_time() - asked <= (LIMITS.h2_ping_interval_ms + LIMITS.h2_ping_timeout_ms) / 1000
    await trio.sleep(2)
    assert way.pool.connections == 0


async def test_an_idle_connection_is_closed(autojump_clock, net, way):
    attempt = way.attempt()
    server = await accepted(net)
    await server.respond(await server.next_request(), TYPE, encode_frames([END]))
    await attempt.over.wait()
    idle_from = trio.current_time()
    await server.until(h2.events.ConnectionTerminated)
    assert trio.current_time() - idle_from == pytest.approx(LIMITS.h2_idle_timeout_ms / 1000)
    await trio.sleep(2)
    assert way.pool.connections == 0


async def test_discovery_that_is_not_answered(autojump_clock, net, way, nursery):
    async def serve() -> None:
        server = await accepted(net)
        while await server.read():
            pass

    nursery.start_soon(serve)
    with pytest.raises(TransportError, match="discovery"):
        await way.transport.discover()
    await settled()
    assert way.pool.streams == 0
