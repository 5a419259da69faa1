"""Services in the server's own process: no port between them, one deployment that is there from the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
from understudy.endpoint import App

from understudy_runtime.cli.hosting import RealHost
from understudy_runtime.cli.output import Logger
from understudy_runtime.http.connect import Connector
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.model.ids import deployment_id
from understudy_runtime.node import Deployment
from understudy_runtime.real_world import RealWorld

# What the services that come with a server were called before their code had a fingerprint, whatever it was.  What
# began under it is taken over by the code that is there, as it always was.
NAMELESS: Final = deployment_id(bytes(16))


class Inside:
    """*app* in this process; see `Services`."""

    def __init__(self, app: App, logger: Logger) -> None:
        self._app = app
        self._logger = logger

    async def start(self, world: RealWorld, connect: Connector, nursery: trio.Nursery) -> Sequence[Deployment]:
        """The one deployment."""
        host = RealHost(world, nursery, self._report_hazard)
        id_ = deployment_id(self._app.fingerprint())
        return [Deployment(id_, InProcessTransport(self._app, host), dict(self._app.manifest()), (NAMELESS,))]

    def greet(self) -> Sequence[str]:
        """Each service with its handlers."""
        return [f"{service.name}: {', '.join(service.handlers)}" for service in self._app.services.values()]

    def _report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        place = f"{filename}:{line}"
        self._logger.log(
            "warning", "handler", "hazard: replay cannot reproduce this", kind=kind, detail=detail, at=place
        )
