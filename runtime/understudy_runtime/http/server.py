"""The server of a port whose requests are handled whole: HTTP/1.1 and HTTP/2 with prior knowledge, told apart by the
first bytes of a connection.

Not a parser and not a handler; `front.py` builds the ports from it.
"""

from __future__ import annotations

from understudy_runtime.http.connections import Connection
from understudy_runtime.http.h1_server import H1Server
from understudy_runtime.http.h2_requests import RequestConversation
from understudy_runtime.http.h2_server import speaks_h2


class HttpServer(H1Server):
    """Serves one handler in both versions, with the same bounds and the same refusals."""

    async def converse(self, connection: Connection) -> None:
        """Requests and answers, until either side has enough."""
        if not await speaks_h2(connection):
            await super().converse(connection)
            return
        conversation = RequestConversation(
            connection, self.limits, self.handler, refusal_response=self.refusal_response, date=self.date
        )
        await conversation.run(draining=self.draining)
