"""The admin acts: it performs what its core decided, through the node behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final

from understudy_runtime.admin import core
from understudy_runtime.ingress.backend import Backend, Overloaded, Unavailable
from understudy_runtime.ingress.port import Request, Response


class Admin:
    """*version* is this program's, *ingress_endpoint* where its clients go."""

    def __init__(self, backend: Backend, *, version: str, ingress_endpoint: str) -> None:
        self.backend = backend
        self._version = version
        self._ingress_endpoint = ingress_endpoint

    async def handle(self, request: Request) -> Response:
        """Serve *request*.  Never raises but for bugs and cancellation."""
        decision = core.decide(request, version=self._version, ingress_endpoint=self._ingress_endpoint)
        try:
            return await PERFORMERS[type(decision)](self, decision)
        except Overloaded:
            return core.error(429, "the partition's queue is full: try again later")
        except Unavailable as unavailable:
            return core.error(503, f"the request could not be confirmed: {unavailable}")


async def respond(admin: Admin, decision: core.Respond) -> Response:
    return decision.response


async def show(admin: Admin, decision: core.Show) -> Response:
    return core.shown(decision.invocation_id, admin.backend.known(decision.invocation_id))


async def act(admin: Admin, decision: core.Act) -> Response:
    acked = await admin.backend.request(core.command(decision, admin.backend.new_request_id()))
    return core.acted(decision, acked.outcome)


PERFORMERS: Final = MappingProxyType[type, Callable[[Admin, Any], Awaitable[Response]]](
    {core.Respond: respond, core.Show: show, core.Act: act}
)
