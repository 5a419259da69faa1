"""Mutated frames into the SDK's VM, the server's invoker and the ingress: clean protocol errors only.

The recorded exchanges are the seed corpus.  `python -m tests.interop.mutated --frames 100000` is the long run, of which
`test_mutated.py` is a short one.  Each of the three gets a third of the frames.  What was hit is counted and printed;
anything unclean raises, with the seed and the case in its text.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import anyio
import h2.config
import h2.connection
import trio
import trio.testing
from understudy.hosting import LinkLost
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame, FrameDecoder, FramingError, encode_frames
from understudy.protocol.messages import MessageType as T
from understudy_runtime.front import ingress_server
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer
from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import Invoke, Kill
from understudy_runtime.model.events import AttemptEnded, Event
from understudy_runtime.model.invocation import OnMaxAttempts, RetryPolicy
from understudy_runtime.node import Deployment, Node

from tests.runtime.http.conftest import MemoryListener
from tests.runtime.invoker.recordings import VECTORS, Recorded, frames, recorded
from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import END, Client, ScriptedTransport, output
from tests.sdk.fakes import FakeHost
from tests.sdk.vector_services import build_app

Hits = Counter[str]
VARIANTS = ("v5_bidi", "v6_bidi", "v6_request_response")
NO_SCENARIOS = ("http", "identity", "ids")
LAST_WORDS = (T.END, T.SUSPENSION, T.ERROR)
CLEAN_CODES = (500, 570, 571, 573)
LIMITS = Limits(
    log_prewrite_bytes=0,
    request_bytes_max=4096,
    message_bytes_max=4096,
    retry_policy=RetryPolicy(1, 1000, 1, attempts_max=1, on_max_attempts=OnMaxAttempts.KILL),
)
ROUND = 50


class Unclean(Exception):
    """Something else than a protocol error happened."""


# --- the corpus and its mutations ---------------------------------------------------------------------------


def corpus() -> list[tuple[int, Recorded]]:
    """Every recorded invocation, with its protocol version."""
    scenarios = sorted(path.stem for path in VECTORS.glob("*.json") if path.stem not in NO_SCENARIOS)
    return [(int(v[1]), one) for name in scenarios for v in VARIANTS for one in recorded(name, v)]


def mutate(draw: random.Random, data: bytes) -> bytes:
    """*data* with a few bits, bytes or ranges changed."""
    buffer = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        at = draw.randrange(len(buffer) + 1)
        match draw.randrange(6):
            case 0 if buffer:
                buffer[at % len(buffer)] ^= 1 << draw.randrange(8)
            case 1 if buffer:
                buffer[at % len(buffer)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            case 2:
                del buffer[at : at + draw.randrange(1, 9)]
            case 3:
                buffer[at:at] = draw.randbytes(draw.randrange(1, 9))
            case 4:
                del buffer[at:]
            case _:
                start = draw.randrange(len(buffer) + 1)
                buffer[at:at] = buffer[start : start + draw.randrange(1, 17)]
    return bytes(buffer)


def mutate_frames(draw: random.Random, sent: Sequence[Frame]) -> tuple[list[Frame], int]:
    """*sent* with some frames changed, and how many: payload, type, place, number, or the bytes of all of them."""
    mutated = list(sent)
    count = draw.choice((1, 1, 2, 3))
    for _ in range(count):
        at = draw.randrange(len(mutated)) if mutated else 0
        match draw.randrange(6) if mutated else 5:
            case 0 | 1:
                mutated[at] = mutated[at]._replace(payload=mutate(draw, mutated[at].payload))
            case 2:
                mutated[at] = mutated[at]._replace(type=draw.choice((*(int(t) for t in T), draw.randrange(1 << 16))))
            case 3:
                mutated.insert(draw.randrange(len(mutated)), mutated[at])
            case 4:
                del mutated[at]
            case _:
                mutated.insert(at, Frame(draw.choice([int(t) for t in T]), draw.randbytes(draw.randrange(24))))
    return mutated, count


def through_bytes(draw: random.Random, sent: Sequence[Frame], hits: Hits) -> list[Frame]:
    """*sent* as a decoder finds them, now and then after its bytes were changed too."""
    data = encode_frames(sent)
    if draw.random() < 0.2:
        data = mutate(draw, data)
    try:
        return FrameDecoder(LIMITS.message_bytes_max).feed(data)
    except FramingError:
        hits["framing: a length above the bound"] += 1
        return []


# --- the SDK's VM -------------------------------------------------------------------------------------------


class Poured:
    """A link that has all the server's frames at once; then the server's side is closed, or lost."""

    def __init__(self, sent: Sequence[Frame], *, is_lost: bool) -> None:
        self._sent: Sequence[Frame] = sent
        self._is_lost = is_lost
        self.said: list[Frame] = []

    async def send(self, frames: Sequence[Frame]) -> None:
        self.said += frames

    async def receive(self) -> Sequence[Frame] | None:
        sent, self._sent = self._sent, ()
        if sent:
            return sent
        if self._is_lost:
            raise LinkLost("the stream was reset")
        return None


async def into_vm(draw: random.Random, count: int, hits: Hits) -> None:
    """Mutated journals and notifications into handlers on our SDK."""
    invocations = corpus()
    applications = {version: build_app(version) for version in (5, 6)}
    while count > 0:
        version, one = draw.choice(invocations)
        sent, changed = mutate_frames(draw, frames(draw.choice(one.attempts), from_server=True))
        count -= changed
        hits["vm: mutated frames"] += changed
        link = Poured(through_bytes(draw, sent, hits), is_lost=draw.random() < 0.1)
        async with anyio.create_task_group() as tasks:
            await applications[version].attempt(
                service=one.target.service,
                handler=one.target.handler,
                version=version,
                link=link,
                host=FakeHost(tasks),
            )
        hits[f"vm: {ending(link.said)}"] += 1


def ending(said: Sequence[Frame]) -> str:
    """How an attempt ended, by its last words.  Raises Unclean."""
    last = [frame for frame in said if frame.type in LAST_WORDS]
    if not last:
        return "cut off without a word"
    if len(last) > 1 or said[-1] is not last[0]:
        raise Unclean(f"the last word is not the last: {said}")
    if last[0].type != T.ERROR:
        return T(last[0].type).name.lower()
    error = pb.Error.FromString(last[0].payload)
    place = error.stacktrace.rpartition('File "')[2].partition('"')[0]
    if error.code not in CLEAN_CODES or ("AssertionError" in error.message and "understudy/" in place):
        raise Unclean(f"error {error.code}: {error.message}\n{error.stacktrace}")
    return f"error {error.code}"


# --- the server's invoker -----------------------------------------------------------------------------------


class Mouth(ScriptedTransport):
    """An endpoint that says what it is told for an invocation, and "null" for those it was told nothing about."""

    def __init__(self) -> None:
        super().__init__(self._never)
        self.lines: dict[str, list[Frame]] = {}

    async def _never(self, dialogue: object) -> None:
        raise AssertionError("run is overridden")

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        peer.opened(Deaf())
        peer.received(self.lines.pop(head.invocation_id, [output(b"null"), END]))
        await peer.room()

    async def aclose(self) -> None:
        pass


class Deaf:
    """The server's half of an exchange whose other side does not listen."""

    def send(self, frames: Sequence[Frame]) -> None:
        pass

    def close_send(self) -> None:
        pass


async def into_invoker(draw: random.Random, count: int, hits: Hits) -> None:
    """Mutated words of endpoints into a whole node: dialogue, validation, log and machine."""

    def observe(event: Event) -> None:
        if isinstance(event, AttemptEnded):
            hits[f"invoker: attempt {event.how}"] += 1

    mouth = Mouth()
    async with running_node(mouth, observe) as client:
        invocations = corpus()
        while count > 0:
            for _ in range(ROUND):
                _, one = draw.choice(invocations)
                said, changed = mutate_frames(draw, frames(draw.choice(one.attempts), from_server=False))
                count -= changed
                hits["invoker: mutated frames"] += changed
                request = request_for(client, one, draw)
                mouth.lines[request.invocation_id] = through_bytes(draw, said, hits)
                await client.node.submit(request)
            await trio.testing.wait_all_tasks_blocked()
            await end_all(client.node, hits)
            mouth.lines.clear()


def request_for(client: Client, one: Recorded, draw: random.Random) -> Invoke:
    """A fresh invocation of the recorded target."""
    target = one.target
    if target.key is not None and target.service == "Wf":
        target = type(target)(target.service, target.handler, f"{target.key}-{draw.randrange(1 << 40)}")
    return client.request(target, one.input.value.content)


async def end_all(node: Node, hits: Hits) -> None:
    """Kill what waits: the next round finds objects without a lock."""
    for described in node.live(None, 1_000_000).found:
        hits[f"invoker: left {described.known.status.name.lower()}"] += 1
        await node.request(Kill(described.id))


class running_node:  # noqa: N801
    """A node in memory whose endpoint is *transport*."""

    def __init__(self, transport: Mouth, observe: Callable[[Event], None]) -> None:
        manifest = {**build_app(6).manifest(4), "minProtocolVersion": 5}
        deployment = Deployment("dp_1a", transport, manifest)
        self.node = Node(FakeWorld(), LIMITS, deployments=[deployment], partition_count=2, observe=observe)
        self._nursery = trio.open_nursery()

    async def __aenter__(self) -> Client:
        self.nursery = await self._nursery.__aenter__()
        await self.nursery.start(self.node.run)
        return Client(self.node)

    async def __aexit__(self, *error: object) -> None:
        self.nursery.cancel_scope.cancel()
        await self._nursery.__aexit__(*error)  # type: ignore[arg-type]


# --- the ingress --------------------------------------------------------------------------------------------

PATHS = (
    b"/Vec/echo",
    b"/Obj/k%201/add",
    b"/Obj/k/add/send?delay=1s",
    b"/Wf/w1/run/send",
    b"/restate/call/Vec/echo",
    b"/restate/invocation/Vec/echo/key/output",
    b"/restate/workflow/Wf/w1/output",
    b"/restate/lookup",
    b"/restate/a/sign_1DHmSNeJIUykKeMWF40GK5x91HElaG3dfAAAAEQ/resolve",
    b"/restate/health",
)
HEADERS = ((b"content-type", b"application/json"), (b"idempotency-key", b"k1"), (b"x-mine", b"1"))


def http_1(draw: random.Random) -> bytes:
    """A plain request over HTTP/1.1."""
    body = draw.choice((b'"x"', b"", b'{"target":"invocation"}'))
    method = draw.choice((b"POST", b"GET"))
    lines = [method + b" " + draw.choice(PATHS) + b" HTTP/1.1", b"host: localhost", *(b": ".join(h) for h in HEADERS)]
    if draw.random() < 0.3:
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        return b"\r\n".join([*lines, b"transfer-encoding: chunked", b"", chunks])
    return b"\r\n".join([*lines, b"content-length: %d" % len(body), b"", body])


def http_2(draw: random.Random) -> bytes:
    """A connection over HTTP/2 with a few requests, to be changed behind its preface."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    for number in range(draw.randrange(1, 4)):
        pseudo = [(b":method", b"POST"), (b":path", draw.choice(PATHS)), (b":scheme", b"http"), (b":authority", b"h")]
        client.send_headers(1 + 2 * number, [*pseudo, *HEADERS])
        client.send_data(1 + 2 * number, b'"x"', end_stream=True)
        if draw.random() < 0.3:
            client.ping(b"12345678")
    return client.data_to_send()


PREFACE_BYTES = 24


async def into_ingress(draw: random.Random, count: int, hits: Hits) -> None:
    """Mutated requests, both versions of HTTP, into the ingress of a node."""
    async with running_node(Mouth(), lambda event: None) as client:
        listener = MemoryListener()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingress_server(client.node).serve, listener)
            while count > 0:
                for _ in range(min(ROUND, count)):
                    nursery.start_soon(one_connection, listener, draw, hits)
                count -= ROUND
                await trio.testing.wait_all_tasks_blocked()
                await end_all(client.node, hits)
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def one_connection(listener: MemoryListener, draw: random.Random, hits: Hits) -> None:
    hits["ingress: mutated frames"] += 1
    is_http_2 = draw.random() < 0.5
    data = http_2(draw) if is_http_2 else http_1(draw)
    kept = PREFACE_BYTES if is_http_2 else 0
    sent = data[:kept] + mutate(draw, data[kept:])
    stream = listener.connect()
    try:
        await stream.send_all(sent)
        await stream.send_eof()
        answer = b""
        while part := await stream.receive_some(65536):
            answer += bytes(part)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        hits["ingress: the connection was closed"] += 1
        return
    hits[f"ingress: {answered_http_2(answer) if is_http_2 else answered_http_1(answer)}"] += 1


def answered_http_1(answer: bytes) -> str:
    """The status answered first.  Raises Unclean."""
    if not answer:
        return "HTTP/1.1 no answer"
    if not answer.startswith(b"HTTP/1.1 "):
        raise Unclean(f"an answer that is no HTTP: {answer[:80]!r}")
    return f"HTTP/1.1 {answer[9:12].decode()}"


def answered_http_2(answer: bytes) -> str:
    """What kinds of frames ended the connection, as far as an HTTP/2 reader can tell.  Raises Unclean."""
    at, types = 0, []
    while at + 9 <= len(answer):
        types.append(answer[at + 3])
        at += 9 + int.from_bytes(answer[at : at + 3], "big")
    if at != len(answer) or any(kind > 9 for kind in types):
        raise Unclean(f"an answer that is no HTTP/2: {answer[:80]!r}")
    return "HTTP/2 GOAWAY" if 7 in types else "HTTP/2 RST_STREAM" if 3 in types else "HTTP/2 answered"


# --- the run ------------------------------------------------------------------------------------------------

TARGETS: dict[str, Callable[[random.Random, int, Hits], Awaitable[None]]] = {
    "vm": into_vm,
    "invoker": into_invoker,
    "ingress": into_ingress,
}


def run(frame_count: int, seed: int, targets: Sequence[str] = tuple(TARGETS)) -> Hits:
    """Pour *frame_count* mutated frames into *targets*; what was hit.  Raises what is unclean."""
    hits: Hits = Counter()
    for target in targets:
        draw = random.Random(f"{target} {seed}")
        try:
            trio.run(TARGETS[target], draw, math.ceil(frame_count / len(targets)), hits)
        except BaseException as error:
            error.add_note(
                f"mutated frames into {target}, seed {seed}, after {hits[f'{target}: mutated frames']} frames"
            )
            raise
    return hits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=[*TARGETS], action="append")
    options = parser.parse_args()
    hits = run(options.frames, options.seed, options.target or tuple(TARGETS))
    for name, count in sorted(hits.items()):
        print(f"{count:>9,}  {name}")


if __name__ == "__main__":
    main()
