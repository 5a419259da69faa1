"""What bytes say is found however they are cut; what they do not say leads to no error."""

from __future__ import annotations

import attrs
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import given
from hypothesis import strategies as st
from understudy.protocol.framing import Frame, encode_frames
from understudy.protocol.messages import MessageType
from understudy_sim.kernel.pipes import Control
from understudy_sim.stage.chronicle_bytes import readings

ID = "inv_1abc"
FRAMES = encode_frames([Frame(MessageType.START, b"x" * 20), Frame(MessageType.INPUT, b"")])
ANSWERED = encode_frames([Frame(MessageType.CALL, b"y" * 300), Frame(MessageType.END, b"")])


@attrs.frozen
class Chunk:
    number: int
    item: bytes | Control


def cut(data: bytes, places: list[int], first: int = 1) -> list[Chunk]:
    """*data* in chunks, cut at *places* (as far as they lie in it)."""
    ends = sorted({place % len(data) for place in places} - {0}) if data else []
    pieces = [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]
    return [Chunk(first + index, piece) for index, piece in enumerate(pieces)]


def told(asked: list[Chunk], answered: list[Chunk]) -> tuple[list[str], list[str]]:
    """What is found in each direction, in order."""
    found = readings({6: asked, 7: answered})
    assert set(found) == {one.number for one in (*asked, *answered)}
    assert all(what for what, _ in found.values())

    def words(chunks: list[Chunk]) -> list[str]:
        joined = ", ".join(found[one.number][0] for one in chunks)
        return [word for word in joined.split(", ") if not word.endswith("bytes more")]

    return words(asked), words(answered)


PLACES = st.lists(st.integers(1, 5_000), max_size=12)


@given(PLACES, PLACES)
def test_http_1_is_read(there: list[int], back: list[int]) -> None:
    request = b"POST /invoke/Room/enter HTTP/1.1\r\nx-restate-invocation-id: " + ID.encode() + b"\r\n"
    asked = request + b"content-length: %d\r\n\r\n" % len(FRAMES) + FRAMES
    asked += b"GET /health HTTP/1.1\r\n\r\n"
    half = len(ANSWERED) // 2
    parts = (ANSWERED[:half], ANSWERED[half:], b"")
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    answered = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked
    answered += b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"
    forward, backward = cut(asked, there), cut(answered, back, 100)
    assert told(forward, backward) == (
        ["POST /invoke/Room/enter", "START", "INPUT", "GET /health"],
        ["200 OK", "CALL", "END", "204 No Content"],
    )
    assert readings({6: forward, 7: backward})[100][1] == ID


@given(PLACES, PLACES)
def test_http_2_is_read(there: list[int], back: list[int]) -> None:
    client = H2Connection(H2Configuration(client_side=True))
    server = H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    head = [(":method", "POST"), (":path", "/invoke/Room/enter"), (":scheme", "http"), (":authority", "x")]
    client.send_headers(1, [*head, ("x-restate-invocation-id", ID)])
    client.send_data(1, FRAMES[:9])
    client.send_data(1, FRAMES[9:], end_stream=True)
    asked = client.data_to_send()
    server.initiate_connection()
    server.receive_data(asked)
    server.send_headers(1, [(":status", "200")])
    server.send_data(1, ANSWERED, end_stream=True)
    answered = server.data_to_send()
    forward, backward = cut(asked, there), cut(answered, back, 100)
    first, second = told(forward, backward)
    assert [one for one in first if one not in ("HTTP/2", "SETTINGS", "window")] == [
        "POST /invoke/Room/enter",
        "START",
        "INPUT",
    ]
    assert [one for one in second if one not in ("SETTINGS", "window")] == ["200", "CALL", "END"]
    found = readings({6: forward, 7: backward})
    assert found[backward[-1].number][1] == ID


def test_lines_and_ends_are_told() -> None:
    asked = [Chunk(1, b'{"charge": 7}\n{"ch'), Chunk(2, b'arge": 8}\n'), Chunk(3, Control.EOF)]
    assert readings({6: asked, 7: [Chunk(4, Control.RESET)]}) == {
        1: ('{"charge": 7}, {"charge": 8}', ""),
        2: ("10 bytes more", ""),
        3: ("end of stream", ""),
        4: ("reset", ""),
    }
    assert readings({6: [Chunk(1, Control.EOF)], 7: []}) == {}


NASTY = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda tail: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + tail, st.binary(max_size=300)),
    st.builds(lambda tail: b"GET / HTTP/1.1\r\n" + tail + b"\r\n\r\n" + tail, st.binary(max_size=100)),
    st.builds(
        lambda tail: b"POST /invoke/a/b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + tail, st.binary(max_size=100)
    ),
)


@given(NASTY, NASTY, PLACES)
def test_whatever_is_sent_is_told_of_somehow(asked: bytes, answered: bytes, places: list[int]) -> None:
    told(cut(asked, places), cut(answered, places, 100))
