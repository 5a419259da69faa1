"""The outside of a real run: customers who repeat what was not answered, and providers that sometimes hang up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import trio
from understudy_runtime.http.h1_client import ClientPool, ConnectionLost
from understudy_runtime.real_world import RealNetwork
from understudy_sim import Call
from understudy_sim.kernel.choices import Choices
from understudy_sim.stage.client import AGAIN
from understudy_sim.stage.errands import request_of
from understudy_sim.stage.history import Answer, Asked, History

BACK_OFF_SECONDS: Final = 0.2
# After that the customer hangs up and asks again.
PATIENCE_SECONDS: Final = 30
PAUSE_MS_MAX: Final = 400
SILENT_THOUSANDTHS: Final = 50


def now_ns() -> int:
    return int(trio.current_time() * 1e9)


class Provider:
    """An external service on a real port; sometimes it hangs up after the work is done."""

    def __init__(self, external: Any, choices: Choices) -> None:
        self.external = external
        self.port = 0
        self.silences: dict[str, int] = {}
        self._choices = choices

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        await trio.serve_listeners(self._answer, listeners, task_status=task_status)  # type: ignore[arg-type]

    async def _answer(self, stream: trio.SocketStream) -> None:
        received = b""
        try:
            while data := await stream.receive_some(65536):
                received += bytes(data)
                while b"\n" in received:
                    line, received = received.split(b"\n", 1)
                    if not await self._respond(stream, json.loads(line)):
                        return
        except trio.BrokenResourceError:
            return  # The caller was killed; what was done is in the ledger.

    async def _respond(self, stream: trio.SocketStream, request: Mapping[str, Any]) -> bool:
        answer = self.external.answer(request)
        if self._choices.chance(f"{self.external.name}/silent", SILENT_THOUSANDTHS):
            self.silences[request["order"]] = self.silences.get(request["order"], 0) + 1
            return False
        await stream.send_all(json.dumps(answer).encode() + b"\n")
        return True


class Outing(Protocol):
    """What customers share."""

    choices: Choices
    history: History
    seats: Sequence[str]
    stopping: bool
    ingress_port: int


class Customer:
    """One client on a connection of its own: adds seats, pays, looks; repeats what is not answered."""

    def __init__(self, name: str, run: Outing) -> None:
        self.name = name
        self._run = run
        self._choices = run.choices
        self._pool = ClientPool(partial(RealNetwork().dial, "127.0.0.1", run.ingress_port))
        self._count = 0

    async def live(self) -> None:
        """Ask until the run is stopping; the last call is still answered."""
        while not self._run.stopping:
            await trio.sleep(self._choices.integer(f"{self.name}/pause", 0, PAUSE_MS_MAX) / 1000)
            await self._ask(self._draw())
        await self._ask(Call(client=self.name, service="CartObject", key=self.name, handler="checkout"))
        await self._pool.drop_idle()

    def _draw(self) -> Call:
        choices, run = self._choices, self._run
        seat = run.seats[choices.pick(f"{self.name}/seat", len(run.seats))]
        kind = choices.integer(f"{self.name}/kind", 0, 9)
        if kind < 6:
            return Call(client=self.name, service="CartObject", key=self.name, handler="addTicket", argument=seat)
        if kind < 8:
            return Call(client=self.name, service="TicketObject", key=seat, handler="status")
        return Call(client=self.name, service="CartObject", key=self.name, handler="checkout")

    async def _ask(self, call: Call) -> None:
        self._count += 1
        key = f"{self.name}-{self._count}"
        entry = self._run.history.ask(call, key, now_ns())
        while True:
            entry.tries += 1
            answer = await self._try(entry, key)
            if answer is not None:
                final = answer.status not in AGAIN or answer.source == "invocation"
                self._run.history.answered(entry, answer, final=final)
                if final:
                    return
            await trio.sleep(BACK_OFF_SECONDS)

    async def _try(self, entry: Asked, key: str) -> Answer | None:
        request = request_of(entry.call, key)
        headers = [("host", "localhost"), *request.headers[1:]]
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                response = await self._pool.request(request.method, request.target, headers, request.body)
        except (OSError, ConnectionLost, trio.TooSlowError):
            return None
        return Answer(
            now_ns(),
            response.status,
            response.body,
            response.header("x-restate-id") or "",
            response.header("x-restate-error-source") or "",
        )
