"""The ingress acts: it performs what the core decided, through the node behind it, and answers.

A client that goes away cancels `handle` and so its waiter; the invocation goes on.  Nothing here looks at a path, a
header or a body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final

from understudy_runtime.ingress import answers, core
from understudy_runtime.ingress.backend import Backend, Overloaded, Unavailable
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.limits import Limits
from understudy_runtime.model.events import Observe, RequestAnswered, RequestReceived
from understudy_runtime.model.ids import ENTROPY_BYTES


class Ingress:
    """Requests in, answers out.  *observe* is told of both when given."""

    def __init__(self, backend: Backend, limits: Limits, observe: Observe | None = None) -> None:
        self.backend = backend
        self.limits = limits
        self._observe = observe
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Requests taken in and not yet answered."""
        return self._in_flight

    async def handle(self, request: Request) -> Response:
        """Serve *request*.  Never raises but for bugs and cancellation."""
        if self._in_flight >= self.limits.requests_max:
            return answers.refused(429, "too many requests are in flight: try again later")
        self._in_flight += 1
        try:
            if self._observe is None:
                return await self._serve(request)
            return await self._observed(request, self._observe)
        finally:
            self._in_flight -= 1

    async def _serve(self, request: Request) -> Response:
        try:
            decision = core.decide(request, self.backend.schema)
            return await PERFORMERS[type(decision)](self, decision)
        except Overloaded:
            return answers.refused(429, "the partition's queue is full: try again later")
        except Unavailable as error:
            return answers.refused(
                503, f"the request could not be confirmed ({error}): ask again, by key where you can"
            )

    async def _observed(self, request: Request, observe: Observe) -> Response:
        request_id = self.backend.new_request_id()
        observe(RequestReceived(request_id, request.method, request.target.partition("?")[0]))
        response = await self._serve(request)
        source, invocation_id = "", ""
        for name, value in response.headers:
            if name == "x-restate-error-source":
                source = value
            elif name == "x-restate-id":
                invocation_id = value
        observe(RequestAnswered(request_id, response.status, source, invocation_id))
        return response


async def respond(ingress: Ingress, decision: core.Respond) -> Response:
    return decision.response


async def call(ingress: Ingress, decision: core.Call) -> Response:
    backend = ingress.backend
    schema = backend.schema
    command = core.invoke_command(
        decision,
        now_ms=backend.now_ms(),
        entropy=backend.entropy(ENTROPY_BYTES),
        request_id=backend.new_request_id(),
        schema_revision=schema.revision,
        limits=ingress.limits,
    )
    if decision.send:
        return core.answer_send(await backend.submit(command))
    if decision.idempotency_key is not None:
        stored = core.stored_result(command.invocation_id, backend.known(command.invocation_id), schema)
        if stored is not None:
            return stored
    acked, completed = await backend.call(command)
    return core.answer_call(acked, completed, decision.handler.output)


async def attach_to(ingress: Ingress, decision: core.AttachTo) -> Response:
    backend = ingress.backend
    invocation_id = decision.invocation_id
    known = backend.known(invocation_id)
    stored = core.stored_result(invocation_id, known, backend.schema)
    if stored is not None:
        return stored
    if known is None:
        return answers.unknown_attached(invocation_id)
    completed = await backend.result(invocation_id)
    return core.answer_attach(invocation_id, completed, known.target, backend.schema)


async def output_of(ingress: Ingress, decision: core.OutputOf) -> Response:
    backend = ingress.backend
    known = backend.known(decision.invocation_id)
    return core.answer_output(decision.invocation_id, known, backend.schema)


async def complete_awakeable(ingress: Ingress, decision: core.CompleteAwakeable) -> Response:
    """Accepted whatever the outcome: the first completion wins, a late one changes nothing."""
    backend = ingress.backend
    await backend.request(core.signal_command(decision, backend.new_request_id()))
    return Response(202)


PERFORMERS: Final = MappingProxyType[type, Callable[[Ingress, Any], Awaitable[Response]]](
    {
        core.Respond: respond,
        core.Call: call,
        core.AttachTo: attach_to,
        core.OutputOf: output_of,
        core.CompleteAwakeable: complete_awakeable,
    }
)
