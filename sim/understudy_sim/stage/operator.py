"""The operator: a process that registers the endpoint with the server over its admin, and moves it now and then.

It asks again until it is told that the endpoint is registered: until then no customer comes.  At the end it looks
whether the server knows exactly what it acknowledged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from understudy_runtime.ingress.port import Request, Response

from understudy_sim.kernel.clock import NS_PER_S
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.process import Process
from understudy_sim.stage.aim import Moments
from understudy_sim.stage.client import Connection, ask_once, insist
from understudy_sim.stage.happenings import Deployed, DeploymentsListed
from understudy_sim.stage.plan import Hop, Plan
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.watch import Watch

OPERATOR: Final = "operator"
TIMEOUT_S: Final = 30
LOOK_S: Final = 5


class Operator:
    """Registers *address* and, at the plan's moments, the same services at other addresses of the same endpoint."""

    def __init__(
        self,
        kernel: Kernel,
        plan: Plan,
        watch: Watch,
        moments: Moments,
        *,
        connection: Connection,
        address: str,
        opened: Callable[[], object],
        registered: Callable[[str, str], object],
        others_deploy: Callable[[], bool],
    ) -> None:
        self.process: Process = kernel.process(OPERATOR)
        self.done = False
        self.healed = False
        self._kernel = kernel
        self._plan = plan
        self._watch = watch
        self._moments = moments
        self._connection = connection
        self._addresses = [address, *(f"{address}/moved-{number}" for number in range(1, len(plan.hops.moves_s) + 1))]
        self._opened = opened
        self._told = registered
        self._others_deploy = others_deploy

    def start(self) -> None:
        """Start the process."""
        self.process.start(self._main, on_exit=lambda process, result: result.unwrap())

    async def _list(self) -> None:
        """Ask what the server knows, and tell it."""
        response = await self._ask(Request("GET", "/deployments", (("host", SERVER),), b""), (200,))
        listed = json.loads(response.body)["deployments"]
        self._watch.tell(DeploymentsListed(tuple((one["uri"].rstrip("/"), one["id"]) for one in listed)))

    async def _main(self) -> None:
        first, *others = self._addresses
        await self._register(first)
        self._opened()
        for at_s, address in zip(self._plan.hops.moves_s, others, strict=True):
            await self._kernel.loop.sleep_until_ns(at_s * NS_PER_S)
            await self._register(address)
        while not self.healed or self._others_deploy():
            await self._kernel.sleep_ns(LOOK_S * NS_PER_S)
        await self._list()
        self.done = True

    async def _register(self, address: str) -> None:
        body = json.dumps({"uri": address, "use_http_11": self._plan.hops.endpoint is Hop.H1}).encode()
        headers = (("host", SERVER), ("content-type", "application/json"))
        # Once more, sometimes: a repeated registration must change nothing (P14).
        for _ in range(1 + self._kernel.choices.pick("operator/again", 2)):
            await self._registered(address, Request("POST", "/deployments", headers, body))

    async def _registered(self, address: str, request: Request) -> None:
        response = await self._ask(request, (200, 201))
        if response.status in (200, 201):
            answer: dict[str, Any] = json.loads(response.body)
            services = tuple(service["name"] for service in answer["services"])
            self._told(address, answer["id"])
            self._watch.tell(Deployed(address, answer["id"], services))

    async def _ask(self, request: Request, wanted: Sequence[int]) -> Response:
        """Ask until the answer is one that counts."""

        async def once() -> Response | None:
            self._moments.begins(f"{OPERATOR} > {SERVER}")
            return await ask_once(self._connection, request, TIMEOUT_S)

        response, _ = await insist(self._kernel, once)
        if response.status not in wanted:
            self._watch.broken(
                "the operator is not refused",
                f"{request.method} {request.target}: {response.status} {response.body[:300]!r}",
            )
        return response
