"""Points: named places that a process passes, each with two sides, at which a run can be stopped or cut exactly.

A point passes at a process: the *nth* `journal.append` of `server` is one place in one run.  A power cut there changes
nothing of what came before, so it is the same place again in the next run of that seed.  Whoever listens is told of
each passing and may cut the power, or hold: then just that task stands there, and everybody else goes on.

Where the task can wait, it stands exactly at the point.  At a point in plain code (`disk.write`, `applied`, `net.send`)
it finishes what it does up to its next await and stands there; a message that is held before it leaves does not leave.

Nothing is looked at while nobody listens.  The product does not know of points: they are at the simulated disk and
network, around the SDK's link and host, at services and clients, and in what the server tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs
import trio
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from understudy_sim.kernel.disk import Medium
from understudy_sim.kernel.inodes import Fate
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.pipes import Pipe
from understudy_sim.kernel.process import Process
from understudy_sim.kernel.runner import ProcessRunner
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.point_details import command_details, commands_in, message_details
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.watch import Watch

BEFORE: Final = "before"
AFTER: Final = "after"
OF_INVOCATIONS: Final = ("invocation", "service", "handler", "key")
OF_COMMANDS: Final = ("command", "message", "partition", "entry", "step", "end", *OF_INVOCATIONS)


@attrs.frozen
class PointKind:
    """What a point is: its sides, what of it can be told apart (`keys`), and what its sides mean.

    `keys` None: whatever the one who asks has sent.
    """

    sides: tuple[str, ...]
    keys: tuple[str, ...] | None
    what: str


BOTH: Final = (BEFORE, AFTER)
POINTS: Final = MappingProxyType[str, PointKind](
    {
        "disk.write": PointKind(
            BOTH, ("path", "offset", "size"), "a write of the server's disk: not there, not synced"
        ),
        "disk.sync": PointKind(BOTH, ("path",), "a sync of the server's disk: not begun, done and not told"),
        "journal.append": PointKind(
            BOTH, OF_COMMANDS, "a command of a partition's log: written and not durable, durable and not applied"
        ),
        "applied": PointKind((AFTER,), OF_COMMANDS, "a command is applied, and nothing of it is performed yet"),
        "net.send": PointKind(BOTH, ("to", "what", "carries"), "a message: still with its sender, on its way"),
        "handler.start": PointKind((BEFORE,), OF_INVOCATIONS, "an attempt has arrived, and nothing of it has run"),
        "handler.await": PointKind(
            BOTH, OF_INVOCATIONS, "an attempt waits for the server: about to, and with what it was told in hand"
        ),
        "run.body": PointKind(
            BOTH,
            ("step", *OF_INVOCATIONS),
            "the function of a ctx.run: about to run (an async one has come to its first await), has run and its "
            "result is not sent",
        ),
        "external.call": PointKind(BOTH, None, "a call of a service outside: nothing is done, done and not answered"),
        "answer": PointKind(
            BOTH, ("service", "handler", "key", "status"), "an answer: has reached its client, and is read"
        ),
    }
)
# What becomes of what a disk had not synced when its host loses power.
UNSYNCED: Final = ("keep", "lose", "tear")
# Where a write may be torn: it is written and not synced.
TORN_POINTS: Final = ("disk.write", "disk.sync", "journal.append")
ATTEMPT_POINTS: Final = ("handler.start", "handler.await", "run.body")


def unsynced_at(point: str, side: str) -> str:
    """What becomes of what was not synced when the power goes at a place (of UNSYNCED).

    It is lost, so that whoever promised too much is found out; but after a write it happens to have been kept.
    """
    if side == "torn":
        return "tear"
    return "keep" if (point, side) == ("disk.write", AFTER) else "lose"


def fate_of(unsynced: str, detail: int) -> Fate:
    """What *unsynced* means to a disk."""
    assert unsynced in UNSYNCED, f"{unsynced!r} is not one of {UNSYNCED}"
    return Fate({"keep": 0, "lose": 1, "tear": 4}[unsynced], detail & 0xFFFF)


class Standing:
    """Those who stand at one passing, until everyone who holds it has let go."""

    def __init__(self) -> None:
        self.holders = 0
        self._tasks: list[Any] = []
        self._then: list[Callable[[], object]] = []

    async def stand(self) -> None:
        """Stand here; not even a cancellation moves who stands."""
        if self.holders:
            self._tasks.append(current_task())
            await wait_task_rescheduled(lambda _: Abort.FAILED)

    def freeze(self, runner: ProcessRunner) -> None:
        """The task whose plain code passes, if it is *runner*'s, stands at its next await."""
        if runner.loop.current_runner is runner:
            task = current_task()
            runner.freeze(task)
            self._then.append(lambda: runner.thaw(task))

    def then(self, do: Callable[[], object]) -> None:
        """Do this when all have let go."""
        self._then.append(do)

    def let_go(self) -> None:
        """One of the holders lets go."""
        assert self.holders > 0, "who lets go has held"
        self.holders -= 1
        if self.holders:
            return
        for do in self._then:
            do()
        for task in self._tasks:
            task._runner.reschedule(task)


@attrs.define(eq=False)
class Passing:
    """*process* passes one side of *point* for the *nth* time (from 1)."""

    point: str
    side: str
    process: str
    nth: int
    at_ns: int
    details: Mapping[str, Any]
    standing: Standing | None = None

    def hold(self) -> Standing:
        """Whoever passes stands here until `let_go`.  To be called while it passes."""
        if self.standing is None:
            self.standing = Standing()
        self.standing.holders += 1
        return self.standing

    def __str__(self) -> str:
        told = ", ".join(f"{key}={value!r}" for key, value in self.details.items() if value not in ("", None, ()))
        return f"{self.process}: {self.side} {self.point} number {self.nth} at {self.at_ns / 1e9:.6f} s ({told})"


Listener = Callable[[Passing], object]


class Points:
    """All points of one run.  Listen before the run starts: whoever comes later counts from then."""

    def __init__(self, kernel: Kernel, truth: Truth, watch: Watch) -> None:
        self._kernel = kernel
        self._truth = truth
        self._watch = watch
        self._listeners: list[tuple[tuple[str, ...], Listener]] = []
        self._wanted: dict[str, None] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._kept: dict[Pipe, deque[tuple[Any, int]]] = {}
        self._sending: tuple[int, Mapping[str, Any]] = (0, {})
        self._writing = 0
        self._appending: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}

    def listen(self, listener: Listener, names: Iterable[str] = tuple(POINTS)) -> None:
        """Tell *listener* of every passing of the points *names*."""
        chosen = tuple(names)
        assert all(name in POINTS for name in chosen), f"no such point in {chosen}"
        self._listeners.append((chosen, listener))
        if "applied" in chosen and "applied" not in self._wanted:
            self._watch.subscribe({Step: self._applied})
        self._wanted.update(dict.fromkeys(chosen))
        if any(name.startswith(("disk.", "journal.")) for name in chosen):
            for medium in self._kernel.media.values():
                medium.door = self
        if "net.send" in chosen:
            self._kernel.network.door = self

    def wants(self, *names: str) -> bool:
        """Whether anybody listens to one of *names*."""
        return bool(self._wanted) and any(name in self._wanted for name in names)

    def number(self, point: str, process: str) -> int:
        """The number of a passing that begins."""
        nth = self._counts[point, process] = self._counts.get((point, process), 0) + 1
        return nth

    def passing(self, point: str, process: str, side: str, nth: int, details: Mapping[str, Any]) -> Standing | None:
        """Tell all who listen; what they hold it with, if any does."""
        assert side in POINTS[point].sides, f"{point} has no side {side!r}"
        passing = Passing(point, side, process, nth, self._kernel.now_ns, details)
        for names, listener in self._listeners:
            if point in names:
                listener(passing)
        return passing.standing

    async def through(self, point: str, process: Process, side: str, nth: int, details: Mapping[str, Any]) -> None:
        """The current task, of *process*, passes: it stands as long as anybody holds it, for ever if it was cut."""
        runner = process.runner
        standing = self.passing(point, process.name, side, nth, details)
        if runner.dead:
            await trio.sleep_forever()
        if standing is not None:
            await standing.stand()

    def invocation(self, invocation_id: str) -> dict[str, Any]:
        """What can be told of an invocation."""
        command = self._truth.commands.get(invocation_id)
        if command is None:
            return {"invocation": invocation_id}
        target = command.target
        return {
            "invocation": invocation_id,
            "service": target.service,
            "handler": target.handler,
            "key": target.key,
        }

    # --- the disk (kernel.disk.DiskDoor) ----------------------------------------------------------------------

    def writes(self, medium: Medium, path: str, offset: int, data: bytes | None, side: str) -> None:
        if "disk.write" not in self._wanted:
            return
        if side == BEFORE:
            self._writing = self.number("disk.write", medium.name)
        details = {"path": path, "offset": offset, "size": len(data or b"")}
        runner = self._kernel.process(medium.name).runner
        standing = self.passing("disk.write", medium.name, side, self._writing, details)
        if standing is not None and not runner.dead:
            standing.freeze(runner)

    async def syncs(self, medium: Medium, what: str, ordinal: int, writes: Sequence[bytes], side: str) -> None:
        process = self._kernel.process(medium.name)
        if "journal.append" in self._wanted:
            await self._appends(medium, process, what, ordinal, writes, side)
        if "disk.sync" in self._wanted:
            await self.through("disk.sync", process, side, ordinal, {"path": what})

    async def _appends(
        self, medium: Medium, process: Process, path: str, ordinal: int, writes: Sequence[bytes], side: str
    ) -> None:
        if side == BEFORE:
            self._appending[ordinal] = [
                (self.number("journal.append", medium.name), command_details(command, partition, self._truth))
                for partition, command in commands_in(medium, path, writes)
            ]
        for nth, details in self._appending.get(ordinal, ()):
            await self.through("journal.append", process, side, nth, details)
        if side == AFTER:
            self._appending.pop(ordinal, None)

    # --- the network (kernel.pipes.Door) ----------------------------------------------------------------------

    def keeps(self, pipe: Pipe, item: object, size: int) -> bool:
        queue = self._kept.get(pipe)
        if queue is not None:  # What was sent before it stands here.
            queue.append((item, size))
            return True
        name = pipe.link[0]
        self._sending = (self.number("net.send", name), message_details(pipe, item))
        standing = self.passing("net.send", name, BEFORE, *self._sending)
        if pipe.writer.dead:
            return True
        if standing is None:
            return False
        sending = self._sending
        self._kept[pipe] = deque([(item, size)])
        standing.freeze(pipe.writer)
        standing.then(lambda: self._let_leave(pipe, sending))
        return True

    def _let_leave(self, pipe: Pipe, sending: tuple[int, Mapping[str, Any]]) -> None:
        queue = self._kept.pop(pipe)
        item, size = queue.popleft()
        self._sending = sending
        pipe.leave(item, size)
        for item, size in queue:
            if not pipe.writer.dead and not self.keeps(pipe, item, size):
                pipe.leave(item, size)

    def left(self, pipe: Pipe, item: object) -> None:
        standing = self.passing("net.send", pipe.link[0], AFTER, *self._sending)
        if standing is not None and not pipe.writer.dead:
            standing.freeze(pipe.writer)

    # --- what the server tells --------------------------------------------------------------------------------

    def _applied(self, step: Step) -> None:
        from understudy_sim.stage.server import SERVER

        details = command_details(step.record.command, step.partition, self._truth)
        runner = self._kernel.process(SERVER).runner
        standing = self.passing("applied", SERVER, AFTER, self.number("applied", SERVER), details)
        if standing is not None and not runner.dead:
            standing.freeze(runner)
