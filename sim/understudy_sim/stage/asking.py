"""Requests that a script makes: `stage.ask(Call(...))` asks at once, in its client's process, and insists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from understudy_sim.kernel.nudge import Nudge
from understudy_sim.stage.h2_way import H2Way
from understudy_sim.stage.history import Answer, Asked
from understudy_sim.stage.operations import Call, Operation
from understudy_sim.stage.plan import Hop
from understudy_sim.stage.server import INGRESS_PORT, SERVER

if TYPE_CHECKING:
    from understudy_sim.stage.client import Client, Connection
    from understudy_sim.stage.cluster import Cluster

Until = Callable[[Callable[[], bool], str], Awaitable[None]]


class Ask:
    """One request.  `answer()` waits for its answer."""

    def __init__(self, operation: Operation, client: Client, number: int, until: Until) -> None:
        self.operation = operation
        self.client = client
        self.number = number
        self._until = until

    @property
    def asked(self) -> Asked | None:
        """What became of it so far; None before it was asked, and for what is no question."""
        return self.client.last_asked

    @property
    def done(self) -> bool:
        """Whether the client asks no more."""
        return self.client.done

    async def answer(self) -> Answer | None:
        """Wait for the answer; None for an operation that has none, and for what was given up without one."""
        await self._until(lambda: self.client.done, f"the answer to {self.operation}")
        return None if self.asked is None else self.asked.answer


class Asker:
    """One client of a script: a process of its own, which asks as soon as it is told to."""

    def __init__(self, cluster: Cluster, name: str, until: Until) -> None:
        self._cluster = cluster
        self._name = name
        self._until = until
        self._asks: list[Ask] = []
        self._begun = 0
        self._nudge = Nudge()
        self._process = cluster.kernel.process(name)
        self._way: H2Way | None = None
        cluster.comers[name] = self._come_back
        cluster.client_names.append(name)
        self._start()

    def ask(self, operation: Operation) -> Ask:
        """Ask, beside all that is asked already."""
        if isinstance(operation, Call) and operation.label:
            self._cluster.directory.add(operation)
        number = len(self._asks)
        client = self._cluster.client(self._name, self._process, [operation], self._connection())
        client.first, client.healed = number, True
        ask = Ask(operation, client, number, self._until)
        self._asks.append(ask)
        self._nudge.wake()
        return ask

    def _start(self) -> None:
        cluster = self._cluster
        if cluster.plan.hops.client is Hop.H2:
            self._way = H2Way(cluster.kernel.network, self._process, SERVER, INGRESS_PORT, cluster.watch)
            self._process.start(self._way.hold, self._main, on_exit=lambda process, result: result.unwrap())
        else:
            self._process.start(self._main, on_exit=lambda process, result: result.unwrap())

    def _connection(self) -> Connection:
        return self._cluster.connect(self._process) if self._way is None else self._way.connection()

    async def _main(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                for ask in self._asks[self._begun :]:
                    nursery.start_soon(ask.client.run)
                self._begun = len(self._asks)
                await self._nudge.taken()

    def _come_back(self) -> None:
        self._begun, self._nudge = 0, Nudge()
        self._start()
        for ask in self._asks:
            ask.client.comes_back(self._connection(), self._cluster.connect_admin(self._process))
