"""How the invoker reaches an endpoint: one `Transport` per deployment, one `run` per attempt.

There is one task per attempt and it runs `Transport.run`.  In process that task *is* the handler's task: frames from
the SDK arrive by a plain call of `peer.received`, frames for it leave by a plain call of `stream.send`.  Over a network
the same task pumps bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio
from understudy.protocol.framing import Frame

from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.invocation import Target
from understudy_runtime.model.values import frozen


@frozen
class AttemptHead:
    """What an endpoint is told before the first frame."""

    invocation_id: str
    target: Target
    protocol_version: int
    deployment_id: str


class TransportError(Exception):
    """The exchange failed.  `reached` tells whether the endpoint can have run anything.

    `status` is the HTTP status when one was answered; `retry_after_ms` replaces the next back-off when given.
    """

    def __init__(
        self, message: str, *, reached: bool, status: int | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.reached = reached
        self.status = status
        self.retry_after_ms = retry_after_ms


class WrongHttpVersion(TransportError):
    """Somebody answers there, but not in the HTTP version the endpoint was registered for."""


@frozen
class Discovery:
    """An endpoint's answer to discovery: its manifest (JSON), its SDK (`name/version`, empty when it does not say),
    the HTTP version it came by (`HTTP/2.0`, `HTTP/1.1`; empty in process), and the fingerprint of its code in hex
    digits, which only our own SDK tells."""

    manifest: bytes
    sdk_version: str = ""
    http_version: str = ""
    fingerprint: str = ""


# Request identity: the headers that sign a request for *path* (and the service key of a keyed target).
Sign = Callable[[str, str | None], Sequence[tuple[str, str]]]


class AttemptStream(Protocol):
    """The server's sending half of one exchange.  Plain calls: they buffer and never wait."""

    def send(self, frames: Sequence[Frame]) -> None: ...

    def close_send(self) -> None:
        """End our side: the SDK suspends at its next wait.  Closing twice does nothing."""


class AttemptPeer(Protocol):
    """What the invoker gives a transport to call back."""

    def opened(self, stream: AttemptStream) -> None:
        """The exchange is open; later frames go to *stream*.  Called once, before `received`."""

    def received(self, frames: Sequence[Frame]) -> None:
        """Frames from the SDK, in order."""

    async def room(self) -> None:
        """Wait until the server wants more frames.  A transport awaits it after `received`."""


class Transport(Protocol):
    """The way to one deployment."""

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        """Run one attempt: send *frames* (start message and journal), then relay both ways until the SDK ends its side.

        Returns when the SDK has closed the exchange in order.  Raises TransportError when the exchange could not be
        opened or broke.  A cancel from outside resets the exchange.
        """

    async def discover(self) -> Discovery:
        """What the endpoint says of itself.  Raises TransportError."""

    async def aclose(self) -> None:
        """Close what is kept open between exchanges."""


class Connect(Protocol):
    """Makes the way to a registered endpoint.  `run` holds what its transports share; it runs before they are used."""

    def __call__(self, endpoint: Endpoint) -> Transport:
        """Nothing is opened yet.  Raises ValueError for an address that cannot be used, saying why."""

    async def run(self, *, task_status: trio.TaskStatus[None] = ...) -> None:
        """Hold connections until cancelled."""
