"""Customers: each does its calls in order, retries what has a key, and records what it saw.

A client gives up after a drawn number of tries while faults last; what it gave up is unknown.  Once the world is healed
it asks until it is answered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import quote

import trio
from understudy_runtime.http.h1_client import ClientPool, ConnectionLost
from understudy_runtime.ingress.port import Request, Response

from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.network import Network
from understudy_sim.kernel.pipes import SimExchange, SimStream
from understudy_sim.kernel.process import Process
from understudy_sim.stage.aim import Moments
from understudy_sim.stage.happenings import Answered
from understudy_sim.stage.history import Answer, Asked, History
from understudy_sim.stage.operations import Call
from understudy_sim.stage.plan import NS_PER_MS
from understudy_sim.stage.watch import Watch

SERVER: Final = "server"
BACK_OFF_MS: Final = (100, 500, 2_000, 5_000, 10_000)
TIMEOUT_S: Final = 60
# What an answer may be when asking again can help: too busy, stopping, or a server error of the ingress.
AGAIN: Final = (429, 500, 502, 503, 504)


class Lost(Exception):
    """The request or its answer was lost: nobody knows whether it happened."""


class Connection(Protocol):
    """A client's way to the ingress; opened when first used, and again after a loss."""

    async def ask(self, request: Request) -> Response:
        """Send *request* and wait for its answer.  Raises Lost."""

    def drop(self) -> None:
        """Throw the connection away, if there is one."""


class Client:
    """One customer, in process *host*."""

    def __init__(
        self,
        kernel: Kernel,
        choices: Choices,
        name: str,
        calls: Sequence[Call],
        *,
        host: str,
        connection: Connection,
        history: History,
        watch: Watch,
        moments: Moments,
    ) -> None:
        self.name = name
        self.done = False
        self.healed = False
        self._host = host
        self._kernel = kernel
        self._choices = choices
        self._calls = calls
        self._connection = connection
        self._history = history
        self._watch = watch
        self._moments = moments

    async def run(self) -> None:
        """Do all calls, in order."""
        for number, call in enumerate(self._calls):
            if call.pause_ms:
                await self._kernel.sleep_ns(call.pause_ms * NS_PER_MS)
            key = f"{self.name}-{number}" if call.idempotent else ""
            await self._ask(self._history.ask(call, key, self._kernel.now_ns))
        self.done = True

    async def _ask(self, entry: Asked) -> None:
        request = request_of(entry.call, entry.idempotency_key)
        tries_max = self._choices.integer(f"client/{self.name}/tries", 3, 8) if entry.call.idempotent else 1
        # One more than needed, sometimes: the answer to a repeated question must not change (P4).
        curious = entry.call.idempotent and self._choices.chance(f"client/{self.name}/curious", 150)
        while True:
            entry.tries += 1
            self._moments.begins(f"{self._host} > {SERVER}")
            response = await ask_once(self._connection, request, TIMEOUT_S)
            if response is not None:
                answer = _read(response, self._kernel.now_ns)
                final = response.status not in AGAIN or answer.source == "invocation"
                if final and curious:
                    final = curious = False
                self._history.answered(entry, answer, final=final)
                self._kernel.trace.note("answer", entry.ordinal, answer.status, answer.body)
                self._watch.tell(Answered(entry, answer))
                if final:
                    return
            if entry.tries >= tries_max and not self.healed:
                self._history.gave_up(entry)
                return
            if not entry.call.idempotent:
                self._history.gave_up(entry)
                return
            await self._kernel.sleep_ns(BACK_OFF_MS[min(entry.tries, len(BACK_OFF_MS)) - 1] * NS_PER_MS)


async def ask_once(connection: Connection, request: Request, timeout_s: float) -> Response | None:
    """One answer within *timeout_s*; None when it did not come.  A connection that is silent for longer is dropped."""
    with trio.move_on_after(timeout_s):
        try:
            return await connection.ask(request)
        except Lost:
            return None
    connection.drop()
    return None


def request_of(call: Call, idempotency_key: str) -> Request:
    """The HTTP request a call is."""
    parts = [call.service] if call.key is None else [call.service, quote(call.key, safe="")]
    target = "/" + "/".join([*parts, call.handler])
    if call.one_way:
        target += "/send"
        if call.delay_ms:
            target += f"?delay={call.delay_ms}ms"
    headers: list[tuple[str, str]] = [("host", "server")]
    body = b""
    if call.argument is not None:
        body = json.dumps(call.argument).encode()
        headers.append(("content-type", "application/json"))
    if idempotency_key:
        headers.append(("idempotency-key", idempotency_key))
    return Request("POST", target, tuple(headers), body)


def _read(response: Response, now_ns: int) -> Answer:
    headers = dict(response.headers)
    source = headers.get("x-restate-error-source", "")
    return Answer(now_ns, response.status, response.body, headers.get("x-restate-id", ""), source)


class ExchangeConnection:
    """The way to the ingress without bytes: one exchange, kept while it lasts."""

    def __init__(self, network: Network, process: Process, host: str, port: int) -> None:
        self._network = network
        self._process = process
        self._host = host
        self._port = port
        self._exchange: SimExchange | None = None

    async def ask(self, request: Request) -> Response:
        try:
            if self._exchange is None:
                self._exchange = await self._network.dial_exchange(self._process, self._host, self._port)
            self._exchange.send(request)
            response: Response = await self._exchange.receive()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel) as error:
            self.drop()
            raise Lost(str(error)) from error
        return response

    def drop(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.reset()


class BytesConnection:
    """The way to the ingress as a real client has it: HTTP/1.1 over a stream."""

    def __init__(self, network: Network, process: Process, host: str, port: int) -> None:
        self._network = network
        self._process = process
        self._host = host
        self._port = port
        self._pool = ClientPool(self._dial)
        self._streams: list[SimStream] = []

    async def _dial(self) -> trio.abc.HalfCloseableStream:
        stream = await self._network.dial(self._process, self._host, self._port)
        self._streams = [stream]
        return stream

    async def ask(self, request: Request) -> Response:
        try:
            response = await self._pool.request(request.method, request.target, request.headers, request.body)
        except (OSError, ConnectionLost) as error:
            raise Lost(str(error)) from error
        return Response(response.status, response.headers, response.body)

    def drop(self) -> None:
        for stream in self._streams:
            stream.reset()
        self._pool = ClientPool(self._dial)
