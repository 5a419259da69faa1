"""An asyncio ASGI application, called from trio: its scope, receive and send cross from one loop to the other.

Both directions are open at once, and a part of the request that nobody took because its taker was cancelled is kept for
the next one.  Once the server has given the request up, the application is told of a disconnect, and what it still
sends goes nowhere, as with any ASGI server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio

from understudy_sim.kernel.nudge import Nudge

if TYPE_CHECKING:
    from understudy_sim.kernel.aio_loop import SimAsyncioLoop

Message = Any
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

_DISCONNECT: Final[Mapping[str, str]] = MappingProxyType({"type": "http.disconnect"})


async def call(loop: SimAsyncioLoop, app: AsgiApp, scope: Message, receive: Receive, send: Send) -> None:
    """Run `app(scope, …)` as a task of *loop* until it ends; cancelling this cancels it.

    Raises what the application raises.
    """
    crossing = Crossing(loop)
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crossing.carry_in, receive)
        nursery.start_soon(crossing.carry_out, send)
        try:
            await loop.run_aio_coroutine(_enter(app, scope, crossing))
        except Exception as raised:
            error = raised  # Not through the nursery: it would come out in a group.
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


async def _enter(app: AsgiApp, scope: Message, crossing: Crossing) -> None:
    await app(scope, crossing.receive, crossing.send)


class Crossing:
    """One request's way between the loops."""

    def __init__(self, loop: SimAsyncioLoop) -> None:
        self._loop = loop
        self._takers: deque[Any] = deque()
        self._kept: deque[Message] = deque()
        self._wanted = Nudge()
        self._sent: deque[tuple[Message, Any]] = deque()
        self._offered = Nudge()
        self._over = False

    # asyncio's side

    async def receive(self) -> Message:
        """The next part of the request."""
        if self._kept:
            return self._kept.popleft()
        if self._over:
            return dict(_DISCONNECT)
        future = self._loop.create_future()
        self._takers.append(future)
        self._wanted.give()
        return await future

    async def send(self, message: Message) -> None:
        """Give a part of the answer; done when it is on its way."""
        if self._over:
            return
        future = self._loop.create_future()
        self._sent.append((message, future))
        self._offered.give()
        await future

    # trio's side

    def give_up(self) -> None:
        """Nothing is carried any more: whoever waits for the server goes on."""
        self._over = True
        waiting, self._takers = self._takers, deque()
        sent, self._sent = self._sent, deque()
        for future in waiting:
            if not future.done():
                future.set_result(dict(_DISCONNECT))
        for _, future in sent:
            if not future.done():
                future.set_result(None)

    async def carry_in(self, receive: Receive) -> None:
        """Receive whenever somebody wants a part."""
        try:
            while True:
                while not self._waits():
                    await self._wanted.taken()
                message = await receive()
                if self._waits():
                    self._takers.popleft().set_result(message)
                else:
                    self._kept.append(message)
        finally:
            self.give_up()

    def _waits(self) -> bool:
        while self._takers and self._takers[0].done():
            self._takers.popleft()
        return bool(self._takers)

    async def carry_out(self, send: Send) -> None:
        """Send whatever is offered, in order."""
        try:
            while True:
                while not self._sent:
                    await self._offered.taken()
                message, future = self._sent[0]
                error = await _error_of(send, message)
                self._sent.popleft()
                if future.done():
                    continue  # Its sender was cancelled meanwhile.
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
        finally:
            self.give_up()


async def _error_of(send: Send, message: Message) -> Exception | None:
    try:
        await send(message)
    except Exception as error:
        return error
    return None
