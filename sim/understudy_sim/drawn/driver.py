"""The process in which a machine's rules run: one nursery, whose tasks are the requests that rules left running.

It is the stage's visitor.  Rules come one after the other, faults beside them; then all is healed and gets quiet; then
the final rules look.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs
import trio

from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.stage.client import Client
from understudy_sim.stage.directory import Gate
from understudy_sim.stage.h2_way import H2Way
from understudy_sim.stage.history import Asked
from understudy_sim.stage.operations import Call, Operation
from understudy_sim.stage.plan import Hop
from understudy_sim.stage.play import Stage
from understudy_sim.stage.server import INGRESS_PORT, SERVER
from understudy_sim.stage.variation import Strike

NAME: Final = "machine"


class Lost(Exception):
    """Nobody knows whether a request was heard: it was given up, or its answer was lost."""


@attrs.frozen
class Reply:
    """What became of a request.  `status` is 0 when it was given up; `value` is the answer's JSON, its text if it has
    none, or None."""

    status: int
    value: Any = None
    invocation_id: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was done, or is accepted to be."""
        return 200 <= self.status < 300

    @property
    def lost(self) -> bool:
        """Whether nobody knows what became of it."""
        return self.status == 0

    def expect(self) -> Any:
        """The value.  Raises Lost when there was no answer, AssertionError when it was refused."""
        if self.lost:
            raise Lost("there was no answer")
        assert self.ok, f"refused with {self.status}: {self.value!r}"
        return self.value


def reply_of(asked: Asked | None) -> Reply:
    """What *asked* came to."""
    if asked is None or asked.answer is None:
        return Reply(0)
    answer = asked.answer
    return Reply(answer.status, value_of(answer.body), answer.invocation_id)


def value_of(body: bytes) -> Any:
    """JSON, or text."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")


class Started:
    """A request that runs in the background."""

    def __init__(self) -> None:
        self._reply: Reply | None = None
        self._over = trio.Event()

    @property
    def reply(self) -> Reply | None:
        """What became of it; None while it runs."""
        return self._reply

    async def join(self) -> Reply:
        """Wait for it."""
        await self._over.wait()
        assert self._reply is not None, "what is over has a reply"
        return self._reply

    def end(self, reply: Reply) -> None:
        """It came to *reply*."""
        self._reply = reply
        self._over.set()


class Driver:
    """A visitor of the stage (`stage/visitor.py`) that runs *rules*, and *finals* when all is quiet."""

    def __init__(
        self, stage: Stage, rules: Callable[[], Awaitable[None]], finals: Callable[[], Awaitable[None]]
    ) -> None:
        self.name = NAME
        self.done = False
        self.concluded = False
        self.healed = False
        self.stage = stage
        self.nursery: trio.Nursery | None = None
        self._rules = rules
        self._finals = finals
        self._quiet = Gate()
        self._process = stage.kernel.process(NAME)
        self._cluster = stage.cluster
        self._way: H2Way | None = None
        self._clients: dict[str, list[Client]] = {}
        self._count = 0

    # --- as the stage has it ----------------------------------------------------------------------------------

    def start(self) -> None:
        if self.stage.plan.hops.client is Hop.H2:
            self._way = H2Way(self.stage.kernel.network, self._process, SERVER, INGRESS_PORT, self.stage.watch)
            self._process.start(self._way.hold, self._main, on_exit=_must_not_fail)
        else:
            self._process.start(self._main, on_exit=_must_not_fail)

    def heal(self) -> None:
        self.healed = True
        if self.stage.nemesis is not None:
            self.stage.nemesis.undo()

    def conclude(self) -> None:
        self._quiet.open()

    async def _main(self) -> None:
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            await self._rules()
            self.done = True
            await self._quiet.passed()
            await self._finals()
            self.concluded = True

    # --- what rules do ----------------------------------------------------------------------------------------

    async def perform(self, operation: Operation) -> Reply:
        """Do one operation, and wait for what becomes of it."""
        if isinstance(operation, Call) and operation.label:
            self._cluster.directory.add(operation)
        client = self._idle(operation.client)
        client.done = False
        self._count += 1
        asked = await client.perform(operation, self._count)
        client.done = True
        return reply_of(asked)

    def start_soon(self, operation: Operation) -> Started:
        """Do one operation in the background."""
        assert self.nursery is not None, "rules run in the nursery"
        started = Started()

        async def run() -> None:
            started.end(await self.perform(operation))

        self.nursery.start_soon(run)
        return started

    def _idle(self, name: str) -> Client:
        """A client called *name* that asks nothing now; one connection carries one request at a time."""
        clients = self._clients.setdefault(name, [])
        found = next((one for one in clients if one.done), None)
        if found is None:
            way = self._way
            connection = self._cluster.connect(self._process) if way is None else way.connection()
            found = self._cluster.client(f"{name}-{len(clients)}", self._process, (), connection)
            clients.append(found)
        return found

    def strike(self, kind: str, on: Sequence[str], lasts_ms: int, strength_ms: int, detail: int) -> bool:
        """Hurt *on* now.  False when there was nothing to do it to, or faults are over."""
        if self.healed:
            return False
        nemesis = self.stage.nemesis
        assert nemesis is not None, "rules run while the stage plays"
        ns = NS_PER_MS
        return nemesis.strike(
            Strike(
                kind=kind, on=tuple(on), at_ns=0, lasts_ns=lasts_ms * ns, strength_ns=strength_ms * ns, detail=detail
            )
        )


def _must_not_fail(process: object, result: Any) -> None:
    result.unwrap()
