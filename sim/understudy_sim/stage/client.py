"""Customers and operators: each does its operations in order, retries what has a key, and records what it saw.

A client gives up after a drawn number of tries while faults last; what it gave up is unknown.  Once the world is healed
it asks until it is answered.  What an operation asks for, and of whom, is in `errands.py`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import trio
from understudy_runtime.http.h1_client import ClientPool, ConnectionLost
from understudy_runtime.ingress.port import Request, Response

from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.network import Network
from understudy_sim.kernel.pipes import SimExchange, SimStream
from understudy_sim.kernel.process import Process
from understudy_sim.stage.aim import Moments
from understudy_sim.stage.directory import Directory
from understudy_sim.stage.errands import Errand, errand_of
from understudy_sim.stage.happenings import Answered, Asking, Deployed, GaveUp, Removed, Unanswered
from understudy_sim.stage.history import Acted, Answer, Asked, Fate, History
from understudy_sim.stage.operations import Act, Attach, Call, Deploy, Operation, Remove, label_of
from understudy_sim.stage.points import AFTER, BEFORE, Points
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.watch import Watch

BACK_OFF_MS: Final = (100, 500, 2_000, 5_000, 10_000)
TIMEOUT_S: Final = 60
# What an answer may be when asking again can help: the head came too slowly, too busy, stopping, or a server error of
# the ingress.
AGAIN: Final = (408, 429, 500, 502, 503, 504)


class Lost(Exception):
    """The request or its answer was lost: nobody knows whether it happened."""


class Connection(Protocol):
    """A client's way to the ingress; opened when first used, and again after a loss."""

    is_shared: bool
    """Whether others ask by it, too, and it outlives a request that was lost."""

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
        operations: Sequence[Operation],
        *,
        host: str,
        connection: Connection,
        admin: Connection,
        directory: Directory,
        history: History,
        watch: Watch,
        moments: Moments,
    ) -> None:
        self.name = name
        self.done = False
        self.healed = False
        self.points: Points | None = None
        self._host = host
        self._kernel = kernel
        self._choices = choices
        self._operations = operations
        self.first = 0  # the number of its first operation
        self.last_asked: Asked | None = None
        self._next = 0
        self._unanswered: Asked | None = None  # what it asked last, until it knows what became of it
        self._connection = connection
        self._asked_since_ns = -1  # when it first asked by this connection
        self._admin = admin
        self._directory = directory
        self._history = history
        self._watch = watch
        self._moments = moments

    async def run(self) -> None:
        """Do all operations, in order."""
        while self._next < len(self._operations):
            await self.perform(self._operations[self._next], self.first + self._next)
            self._next += 1
        self.done = True

    def comes_back(self, connection: Connection, admin: Connection) -> None:
        """Its process was cut and starts again: it knows where it was, and goes on from there with *connection*s."""
        self._connection, self._admin = connection, admin
        self._asked_since_ns = -1
        entry = self._unanswered
        if entry is not None and entry.fate is Fate.WAITING and entry.attach is None and not entry.call.idempotent:
            self._gave_up(entry)

    async def perform(self, operation: Operation, number: int) -> Asked | None:
        """Do one operation, the client's *number*-th: what became of a question, if it was one."""
        if operation.pause_ms:
            await self._kernel.sleep_ns(operation.pause_ms * NS_PER_MS)
        if isinstance(operation, Call):
            entry = await self._call(operation, number)
            self._directory.call_over(operation)
            return entry
        if isinstance(operation, Attach):
            return await self._attach(operation)
        await self._do(operation)
        return None

    async def _call(self, call: Call, number: int) -> Asked:
        key = self._directory.idempotency_key(call, f"{self.name}-{number}")
        id_ = self._directory.asked_for(call, key)
        entry = self._unanswered or self._history.ask(call, key, self._kernel.now_ns, None, id_)
        self._unanswered = self.last_asked = entry
        await self._ask(entry, errand_of(call, self._directory, key))
        self._unanswered = None
        return entry

    async def _attach(self, attach: Attach) -> Asked | None:
        if not await self._directory.accepted(attach.to, self.name):
            return None
        call = self._directory.calls.get(attach.to)
        assert call is not None, "one attaches to what was called, by its label"
        id_ = self._directory.invocation_id(attach.to)
        entry = self._unanswered or self._history.ask(call, attach.to, self._kernel.now_ns, attach, id_)
        self._unanswered = self.last_asked = entry
        await self._ask(entry, errand_of(attach, self._directory))
        self._unanswered = None
        return entry

    async def _ask(self, entry: Asked, errand: Errand) -> None:
        repeats = entry.attach is not None or entry.call.idempotent
        tries_max = self._choices.integer(f"client/{self.name}/tries", 3, 8) if repeats else 1
        # One more than needed, sometimes: the answer to a repeated question must not change (P4).
        curious = repeats and self._choices.chance(f"client/{self.name}/curious", 150)
        while entry.fate is Fate.WAITING:
            entry.tries += 1
            self._watch.tell(Asking(entry, self._connected_ns()))
            response = await self._try(errand)
            if response is None:
                self._asked_since_ns = -1
                self._watch.tell(Unanswered(entry))
            else:
                nth = await self._reads(entry, response)
                answer = _read(response, self._kernel.now_ns)
                final = response.status not in AGAIN or answer.source == "invocation"
                if final and curious:
                    final = curious = False
                self._history.answered(entry, answer, final=final)
                self._kernel.trace.note("answer", entry.ordinal, answer.status, answer.body)
                self._watch.tell(Answered(entry, answer))
                await self._has_read(entry, response, nth)
                if final:
                    return
            if entry.tries >= tries_max and not self.healed:
                self._gave_up(entry)
                return
            if not repeats:
                self._gave_up(entry)
                return
            await back_off(self._kernel, entry.tries)

    def _connected_ns(self) -> int:
        """From when on trouble may have hurt the connection by which it asks: -1, from the beginning."""
        if self._connection.is_shared:
            return -1
        if self._asked_since_ns < 0:
            self._asked_since_ns = self._kernel.now_ns
        return self._asked_since_ns

    async def _reads(self, entry: Asked, response: Response) -> int:
        """An answer is here."""
        points = self.points
        if points is None or not points.wants("answer"):
            return 0
        process = self._kernel.process(self._host)
        nth = points.number("answer", self._host)
        await points.through("answer", process, BEFORE, nth, _point_details(entry, response))
        return nth

    async def _has_read(self, entry: Asked, response: Response, nth: int) -> None:
        if self.points is not None and nth:
            process = self._kernel.process(self._host)
            await self.points.through("answer", process, AFTER, nth, _point_details(entry, response))

    def _gave_up(self, entry: Asked) -> None:
        self._history.gave_up(entry)
        self._watch.tell(GaveUp(entry))

    async def _do(self, operation: Operation) -> None:
        """What is not a question for a result: it is done until somebody says that it is."""
        label = label_of(operation)
        response: Response | None = None
        tries = 0
        if isinstance(operation, Remove):
            self._watch.tell(Removed(self._directory.deployments[self._directory.address(operation.app)]))
        if not label or await self._directory.accepted(label, self.name):
            errand = errand_of(operation, self._directory)
            response, tries = await insist(self._kernel, lambda: self._try(errand))
        if isinstance(operation, Act):
            self._acted(operation, response, tries)
        elif response is not None and isinstance(operation, Deploy):
            self._deployed(operation, response)
        elif response is not None and isinstance(operation, Remove):
            del self._directory.deployments[self._directory.address(operation.app)]

    def _acted(self, act: Act, response: Response | None, tries: int) -> None:
        made = ""
        if response is not None:
            id_ = self._directory.invocation_id(act.on)
            acted = Acted(self._kernel.now_ns, act, id_, response.status, response.body, tries)
            self._history.acted.append(acted)
            self._watch.tell(acted)
            self._kernel.trace.note("acted", act.action, id_, response.status)
            if act.action == "restart-as-new" and response.status in (200, 202):
                made = json.loads(response.body)["new_invocation_id"]
        self._directory.restarted(act, made)

    def _deployed(self, deploy: Deploy, response: Response) -> None:
        if response.status not in (200, 201):
            self._watch.broken("the operator is not refused", f"{deploy}: {response.status} {response.body[:300]!r}")
            return
        answer = json.loads(response.body)
        address = self._directory.address(deploy.app)
        self._directory.deployments[address] = answer["id"]
        self._watch.tell(Deployed(address, answer["id"], tuple(one["name"] for one in answer["services"])))

    async def _try(self, errand: Errand) -> Response | None:
        self._moments.begins(f"{self._host} > {SERVER}")
        connection = self._admin if errand.admin else self._connection
        return await ask_once(connection, errand.request, TIMEOUT_S)


async def ask_once(connection: Connection, request: Request, timeout_s: float) -> Response | None:
    """One answer within *timeout_s*; None when it did not come.  A connection that is silent for longer is dropped."""
    with trio.move_on_after(timeout_s):
        try:
            return await connection.ask(request)
        except Lost:
            return None
    connection.drop()
    return None


async def insist(kernel: Kernel, ask: Callable[[], Awaitable[Response | None]]) -> tuple[Response, int]:
    """The answer to what is asked until the server is there to answer, and how often it was asked."""
    tries = 0
    while True:
        tries += 1
        response = await ask()
        if response is not None and response.status not in AGAIN:
            return response, tries
        await back_off(kernel, tries)


async def back_off(kernel: Kernel, tries: int) -> None:
    """Wait before asking again, the longer the more *tries* there were."""
    await kernel.sleep_ns(BACK_OFF_MS[min(tries, len(BACK_OFF_MS)) - 1] * NS_PER_MS)


def _point_details(entry: Asked, response: Response) -> dict[str, Any]:
    call = entry.call
    return {"service": call.service, "handler": call.handler, "key": call.key, "status": response.status}


def _read(response: Response, now_ns: int) -> Answer:
    headers = dict(response.headers)
    source = headers.get("x-restate-error-source", "")
    return Answer(now_ns, response.status, response.body, headers.get("x-restate-id", ""), source)


class ExchangeConnection:
    """The way to the ingress without bytes: one exchange, kept while it lasts."""

    is_shared = False

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

    is_shared = False

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
