"""An endpoint: a process that imports its application afresh in every incarnation and runs its attempts.

Module globals die with the process, as they do on a real machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import outcome
import trio
from understudy import asgi
from understudy.hosting import LinkLost
from understudy_runtime.front import asgi_server
from understudy_runtime.http.asgi import AsgiServer
from understudy_runtime.http.asgi_messages import ApplicationError

from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.nudge import Nudge
from understudy_sim.kernel.pipes import SimExchange
from understudy_sim.kernel.waiters import relative
from understudy_sim.stage.attended import AttendedApp
from understudy_sim.stage.exchange import ExchangeLink, Opening, Refused
from understudy_sim.stage.happenings import (
    AttemptWaits,
    BodyEnded,
    BodyStarted,
    EndpointStopped,
    HazardSeen,
    StepEnded,
    StepExecuted,
)
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.points import ATTEMPT_POINTS, Points
from understudy_sim.stage.telling_errors import describe, only_of
from understudy_sim.stage.watch import Watch

if TYPE_CHECKING:
    from understudy.endpoint import App

    from understudy_sim.kernel.process import Process

T = TypeVar("T")
# An ASGI application that is also told whose attempt it answers; nobody's where it is asked what it offers.
Answered = Callable[[Any, Any, Any, str], Awaitable[None]]

ENDPOINT: Final = "endpoint"
EXCHANGE_PORT: Final = 9079
HTTP_PORT: Final = 9080


class SimSdkHost:
    """The SDK's `Host` in one incarnation of the endpoint."""

    def __init__(
        self,
        kernel: Kernel,
        process: Process,
        nursery: trio.Nursery,
        watch: Watch,
        invocation_id: str,
        attempt: int = 0,
    ) -> None:
        self._invocation_id = invocation_id
        self._attempt = attempt
        self._kernel = kernel
        self._process = process
        self._nursery = nursery
        self._watch = watch

    def now_ms(self) -> int:
        return self._process.wall.now_ms()

    def monotonic_ms(self) -> int:
        return self._kernel.now_ns // NS_PER_MS

    async def run_sync(self, function: Callable[[], T]) -> T:
        return function()

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(function)

    def step_started(self, name: str) -> None:
        """The body of a step begins to run: its executions are counted (P3)."""
        self._watch.tell(StepExecuted(self._invocation_id, name, self._attempt))

    def step_ended(self, name: str) -> None:
        """The body of a step has run: soon its attempt goes on (P17)."""
        self._watch.tell(StepEnded(self._attempt, self._invocation_id))

    def awaits(self, tree: Any) -> None:
        """The attempt waits for the server, or goes on (None)."""
        self._watch.tell(AttemptWaits(self._attempt, self._invocation_id, tree))

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        self._watch.tell(HazardSeen(kind, detail, relative(filename), line))


class EndpointProcess:
    """Starts, and starts again, the process *name* that serves *load*ed applications.  *bodies* numbers what runs."""

    def __init__(
        self, kernel: Kernel, plan: Plan, watch: Watch, load: Callable[[str], App], name: str, bodies: Iterator[int]
    ) -> None:
        self.process = kernel.process(name)
        self.loading = False
        self.is_full = False  # it refuses attempts
        self.refused = 0
        self.running: dict[int, str] = {}  # body -> invocation id
        self.points: Points | None = None
        self._kernel = kernel
        self._plan = plan
        self._watch = watch
        self._load = load
        self._bodies = bodies
        self._body_last = 0
        self._stop = Nudge()
        self._back_after_ns = 0
        self.process.on_down(self._process_down)

    def start(self) -> None:
        """Start the next incarnation."""
        self._stop = Nudge()
        self.process.start(self._main, on_exit=self._exited)

    def drain(self, back_after_ns: int) -> bool:
        """Tell it to stop; it is started again so long after it has exited.  False when it serves no bytes now."""
        if not self._stop.wake():
            return False
        self._back_after_ns = back_after_ns
        return True

    def _exited(self, process: Process, result: outcome.Outcome[Any]) -> None:
        result.unwrap()
        self._kernel.call_later(self._back_after_ns, self._start_again)

    def _start_again(self, _: object) -> None:
        if not self.process.alive:
            self.start()

    def _process_down(self, process: Process, *_: Any) -> None:
        for body in self.running:
            self._watch.tell(BodyEnded(body))
        self.running.clear()
        self._watch.tell(EndpointStopped(process.incarnation))

    async def _main(self) -> None:
        self.loading = True
        app = self._load(self.process.name)
        self.loading = False
        listener = self._kernel.network.listen(self.process, EXCHANGE_PORT, exchanges=True)
        async with trio.open_nursery() as nursery:
            if self._plan.hops.in_bytes:
                await self._serve_bytes(app, nursery)
            while True:
                nursery.start_soon(self._serve, await listener.accept(), app, nursery)

    def _host(self, nursery: trio.Nursery, invocation_id: str) -> SimSdkHost:
        return SimSdkHost(self._kernel, self.process, nursery, self._watch, invocation_id, self._body_last)

    async def _serve_bytes(self, app: App, nursery: trio.Nursery) -> None:
        """The application behind the in-house HTTP loops, over simulated streams; ends the process when drained."""

        def answered(scope: Any, receive: Any, send: Any, invocation_id: str) -> Awaitable[None]:
            host = self._host(nursery, invocation_id)
            attended = self._attended(app, invocation_id)
            return asgi.serve(attended, scope, receive, send, lambda _: host, self.process.wall.now_ms)

        await self._serve_asgi(answered, nursery)

    async def _serve_asgi(self, answered: Answered, nursery: trio.Nursery) -> None:
        """Serve what *answered* answers, and number the attempts it runs."""

        async def hosted(scope: Any, receive: Any, send: Any) -> None:
            names = dict(scope["headers"])
            invocation_id = names.get(b"x-restate-invocation-id", b"").decode()
            if not invocation_id:  # discovery
                await answered(scope, receive, send, invocation_id)
                return
            if self.is_full:
                self.refused += 1
                await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"1")]})
                await send({"type": "http.response.body", "body": b""})
                return
            body = self._begins(invocation_id)
            try:
                await answered(scope, receive, send, invocation_id)
            finally:
                self._ends(body)

        http = asgi_server(hosted, self._plan.limits, report=self._report)
        nursery.start_soon(self._drain_when_told, http, nursery)
        await http.serve(self._kernel.network.listen(self.process, HTTP_PORT))
        nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    async def _drain_when_told(self, http: AsgiServer, nursery: trio.Nursery) -> None:
        await self._stop.taken()
        self._told_to_stop()
        http.drain()
        await trio.sleep(self._plan.limits.drain_timeout_ms / 1000)
        nursery.cancel_scope.cancel()

    def _told_to_stop(self) -> None:
        """What the application itself does at SIGTERM: ours does nothing."""

    def _report(self, error: Exception) -> None:
        if only_of(error, (ApplicationError, OSError, trio.BrokenResourceError, trio.ClosedResourceError)):
            return  # The server went away in the middle of an attempt: there is nobody to answer to the end.
        self._watch.broken("the endpoint does not fail", describe(error))

    def _attended(self, app: App, invocation_id: str) -> App:
        """*app*, or *app* with somebody who looks on at this attempt."""
        points = self.points
        if points is None or not invocation_id or not points.wants(*ATTEMPT_POINTS):
            return app
        return cast("App", AttendedApp(app, points, self.process, invocation_id))

    def _begins(self, invocation_id: str) -> int:
        body = self._body_last = next(self._bodies)
        self.running[body] = invocation_id
        self._watch.tell(BodyStarted(body, invocation_id))
        return body

    def _ends(self, body: int) -> None:
        if self.running.pop(body, None) is not None:
            self._watch.tell(BodyEnded(body))

    async def _serve(self, exchange: SimExchange, app: App, nursery: trio.Nursery) -> None:
        try:
            opening: Opening = await exchange.receive()
        except (trio.BrokenResourceError, trio.EndOfChannel):
            exchange.close()
            return
        if self.is_full:
            self.refused += 1
            with suppress(trio.BrokenResourceError):  # Nobody waits for it.
                exchange.send(Refused(503))
            exchange.close()
            return
        head = opening.head
        body = self._begins(head.invocation_id)
        try:
            # As at a real host: whose peer has gone is cut off, whatever it does just then.
            with trio.CancelScope() as attempt:
                exchange.on_reset(attempt.cancel)
                await self._attended(app, head.invocation_id).attempt(
                    service=head.target.service,
                    handler=head.target.handler,
                    version=head.protocol_version,
                    link=ExchangeLink(exchange, opening.frames),
                    host=self._host(nursery, head.invocation_id),
                    headers=_NO_HEADERS,
                )
            exchange.close()
        except LinkLost:
            exchange.close()
        finally:
            self._ends(body)


def served_in(frames: Iterable[FrameType]) -> str:
    """The invocation whose attempt is served in one of *frames*; empty when none is."""
    for frame in frames:
        found = frame.f_locals if frame.f_code.co_filename == __file__ else {}
        head = found.get("head")
        invocation_id = found.get("invocation_id", "") if head is None else head.invocation_id
        if "body" in found and invocation_id:
            return str(invocation_id)
    return ""


_NO_HEADERS: Final[Mapping[str, str]] = {}
