"""An application whose attempts pass points: what the SDK is given to run in, with somebody who looks on.

`AttendedApp` stands between whoever serves an application and the application, and puts itself between the SDK and its
link and host, which are all that an attempt does to the outside.  It is used only where somebody listens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from understudy.api.regions import REGION
from understudy.hosting import Host, Link
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType

from understudy_sim.stage.points import AFTER, BEFORE, Points, Standing

if TYPE_CHECKING:
    from understudy.endpoint import App

    from understudy_sim.kernel.process import Process

T = TypeVar("T")


class AttendedApp:
    """*app*, whose attempts in *process* pass points; in all else it is *app*."""

    def __init__(self, app: App, points: Points, process: Process, invocation_id: str) -> None:
        self._app = app
        self._points = points
        self._process = process
        self._invocation_id = invocation_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def attempt(self, *, link: Link, host: Host, **rest: Any) -> None:
        """Run an attempt of the application."""
        points, process = self._points, self._process
        details = points.invocation(self._invocation_id)
        nth = points.number("handler.start", process.name)
        await points.through("handler.start", process, BEFORE, nth, details)
        steps = _Steps(points, process, details)
        await self._app.attempt(link=_Link(link, steps), host=_Host(host, steps), **rest)


class _Steps:
    """The steps of one attempt: which of them run, under which numbers."""

    def __init__(self, points: Points, process: Process, details: Mapping[str, Any]) -> None:
        self.points = points
        self.process = process
        self.details = details
        self._names: dict[int, str] = {}  # by the id of the completion that a run's command announces
        self._begun: dict[str, list[int]] = {}

    def begins(self, name: str) -> Standing | None:
        """A step's function is about to run."""
        nth = self.points.number("run.body", self.process.name)
        self._begun.setdefault(name, []).append(nth)
        return self.points.passing("run.body", self.process.name, BEFORE, nth, {"step": name, **self.details})

    async def leave(self, frames: Sequence[Frame]) -> None:
        """*frames* are about to leave: results of steps may be among them."""
        for frame in frames:
            if frame.type == MessageType.RUN:
                run = pb.RunCommand.FromString(frame.payload)
                self._names[run.result_completion_id] = run.name
            elif frame.type == MessageType.PROPOSE_RUN_COMPLETION:
                proposal = pb.ProposeRunCompletion.FromString(frame.payload)
                await self._ended(self._names.get(proposal.result_completion_id, ""))

    async def _ended(self, name: str) -> None:
        begun = self._begun.get(name)
        if begun:
            details = {"step": name, **self.details}
            await self.points.through("run.body", self.process, AFTER, begun.pop(0), details)


class _Link:
    """The link of an attempt: results leave through it, and it is where an attempt waits."""

    def __init__(self, link: Link, steps: _Steps) -> None:
        self._link = link
        self._steps = steps

    async def send(self, frames: Sequence[Frame]) -> None:
        await self._steps.leave(frames)
        await self._link.send(frames)

    async def receive(self) -> Sequence[Frame] | None:
        if REGION.get() is None:  # The handler has not begun: its journal is being read.
            return await self._link.receive()
        steps = self._steps
        points, process = steps.points, steps.process
        nth = points.number("handler.await", process.name)
        await points.through("handler.await", process, BEFORE, nth, steps.details)
        frames = await self._link.receive()
        await points.through("handler.await", process, AFTER, nth, steps.details)
        return frames


class _Host:
    """The host of an attempt: it is told that a step's function begins, and runs it where it is plain."""

    def __init__(self, host: Any, steps: _Steps) -> None:
        self._host = host
        self._steps = steps
        self._standing: Standing | None = None
        self.now_ms = host.now_ms
        self.monotonic_ms = host.monotonic_ms
        self.start_task = host.start_task
        self.report_hazard = host.report_hazard
        self.step_ended = getattr(host, "step_ended", None)
        self.awaits = getattr(host, "awaits", None)

    def step_started(self, name: str) -> None:
        runner = self._steps.process.runner
        self._standing = self._steps.begins(name)
        if runner.dead:
            return
        if self._standing is not None:
            self._standing.freeze(runner)
        self._host.step_started(name)

    async def run_sync(self, function: Callable[[], T]) -> T:
        """Run the function that `step_started` announced in this very step."""
        if not self._steps.process.alive:
            await trio.sleep_forever()
        standing, self._standing = self._standing, None
        if standing is not None:
            await standing.stand()
        result: T = await self._host.run_sync(function)
        return result
