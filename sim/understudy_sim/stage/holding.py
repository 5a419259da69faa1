"""Watching points from a script: who waits for whom to pass where, who stands there, and what was passed before.

Calling `hold()` or `passed()` begins the watch, awaiting it waits.  Everything that passes is remembered from the start
of a script, so that a point which was passed already is an error that says when, and a wait in vain is one that says
what was passed instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Final

from trio.lowlevel import Abort, current_task, wait_task_rescheduled
from understudy_runtime.model.commands import COMMAND_TAGS

from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.runner import ProcessRunner
from understudy_sim.stage.points import BEFORE, POINTS, Passing, Standing

COMMANDS: Final = tuple(class_.__name__ for class_ in COMMAND_TAGS.values())
LINES_MAX: Final = 40


class ScriptError(Exception):
    """The script asks for what cannot happen (any more): what, since when, and what to do."""


class PointUnknown(ScriptError):
    """There is no such point, or it has no such side or detail."""


class PointPassed(ScriptError):
    """The point was passed before the watch began."""


class NobodyPasses(ScriptError):
    """What the script waits for does not happen."""


class StillHeld(ScriptError):
    """The script comes to its end while somebody stands at a point."""


class Watching:
    """One watch.  Await it: the one who passed, or stands.  As a context manager it lets go at the end."""

    def __init__(self, log: PassLog, at: At, holds: bool) -> None:
        self.at = at
        self.holds = holds
        self.passing: Passing | None = None
        self._log = log
        self._standing: Standing | None = None
        self._runner: ProcessRunner | None = None

    def __await__(self) -> Generator[Any, None, Watching]:
        return self._wait().__await__()

    async def __aenter__(self) -> Watching:
        return await self._wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.held:
            self.release()

    async def _wait(self) -> Watching:
        await self._log.until(lambda: self.passing is not None, str(self.at), self)
        return self

    @property
    def has_passed(self) -> bool:
        """Whether somebody has come."""
        return self.passing is not None

    @property
    def held(self) -> bool:
        """Whether somebody stands here: a crash drops the hold."""
        return self._standing is not None and self._runner is not None and not self._runner.dead

    @property
    def details(self) -> Mapping[str, Any]:
        """What can be told of the one who came."""
        assert self.passing is not None, "await it first"
        return self.passing.details

    def release(self) -> None:
        """Let who stands here go on; one who lost its power meanwhile stays where it is.  Raises ScriptError."""
        if self._standing is None:
            what = "is not held" if self.passing is None or not self.holds else "was released before"
            raise ScriptError(f"{self.at} {what}: await what hold() returns, and release it once")
        standing, self._standing = self._standing, None
        self._log.note("released", self)
        standing.let_go()

    def comes(self, passing: Passing, runner: ProcessRunner | None) -> None:
        """The one who was watched for passes; without *runner* somebody else has just cut it there."""
        self.passing = passing
        self._runner = runner
        if self.holds and runner is not None:
            self._standing = passing.hold()
            self._log.note("held", self)


class At:
    """A point as a script means it: `stage.at(...)`."""

    def __init__(
        self, log: PassLog, point: str, side: str, where: Mapping[str, Any], process: str | None, nth: int | None
    ) -> None:
        _check(point, side, where, nth)
        self.point = point
        self.side = side
        self.where = dict(where)
        self.process = process
        self.nth = nth
        self._log = log

    def hold(self) -> Watching:
        """Let the next one who passes stand here until it is released.  The watch begins now; await it to wait."""
        return self._log.watch(self, holds=True)

    def passed(self) -> Watching:
        """Watch for the next one who passes, and hold nobody.  The watch begins now; await it to wait."""
        return self._log.watch(self, holds=False)

    def matches(self, passing: Passing) -> bool:
        """Whether *passing* is of this point, whatever its number."""
        return (
            (passing.point, passing.side) == (self.point, self.side)
            and self.process in (None, passing.process)
            and all(_fits(wanted, passing.details.get(key)) for key, wanted in self.where.items())
        )

    def __str__(self) -> str:
        where = "".join(f", {key}={wanted!r}" for key, wanted in self.where.items())
        by = "" if self.process is None else f" of {self.process}"
        number = "" if self.nth is None else f", number {self.nth}"
        return f"{self.side} {self.point}{by}{where}{number}"


class PassLog:
    """All that passed in one run, and who watches."""

    def __init__(
        self,
        kernel: Kernel,
        until: Callable[[Callable[[], bool], str, Watching | None], Awaitable[None]],
        held: Callable[[Passing], object],
        released: Callable[[], object],
    ) -> None:
        self.until = until
        self._told: dict[str, Callable[[Passing], object]] = {"held": held, "released": lambda _: released()}
        self.passings: list[Passing] = []
        self._kernel = kernel
        self._watching: list[tuple[Watching, int]] = []
        self._holding: list[Watching] = []
        self._parked: list[Any] = []

    def watch(self, at: At, *, holds: bool) -> Watching:
        """Begin to watch.  Raises PointPassed where the number asked for was passed."""
        before = [one for one in self.passings if at.matches(one)]
        if at.nth is not None and len(before) >= at.nth:
            raise PointPassed(
                f"{at} was passed already, as {before[at.nth - 1]}: begin the watch before what makes it pass, "
                f"or watch for number {len(before) + 1}"
            )
        watching = Watching(self, at, holds)
        self._watching.append((watching, 1 if at.nth is None else at.nth - len(before)))
        return watching

    def passed(self, passing: Passing) -> None:
        """Somebody passes (a `Listener`)."""
        self.passings.append(passing)
        came: list[Watching] = []
        left: list[tuple[Watching, int]] = []
        for watching, count in self._watching:
            if not watching.at.matches(passing):
                left.append((watching, count))
            elif count > 1:
                left.append((watching, count - 1))
            else:
                came.append(watching)
        if self._watching:
            self._watching = left
        for watching in came:
            process = self._kernel.process(passing.process)
            watching.comes(passing, process.runner if process.alive else None)
            if watching.holds:
                self._holding.append(watching)
        if came:
            self.wake()

    @property
    def held(self) -> list[Watching]:
        """Where somebody stands."""
        self._holding = [one for one in self._holding if one.held]
        return self._holding

    def note(self, what: str, watching: Watching) -> None:
        """Put a hold into the trace, and tell whoever is to know."""
        one = watching.passing
        assert one is not None, "somebody came"
        self._kernel.trace.note(f"point.{what}", one.process, one.point, one.side, one.nth, self._kernel.now_ns)
        self._told[what](one)

    # --- waiting ----------------------------------------------------------------------------------------------

    async def pause(self, duration_ns: int) -> None:
        """Park the script until somebody comes who was watched for, or for so long."""
        task = current_task()
        timer = self._kernel.call_later(duration_ns, self._wake_one, task)
        self._parked.append(task)

        def abort(_: object) -> Abort:
            self._parked.remove(task)
            self._kernel.cancel(timer)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        self._kernel.cancel(timer)

    def wake(self) -> None:
        """Let those who wait look again."""
        for task in tuple(self._parked):
            self._wake_one(task)

    def _wake_one(self, task: Any) -> None:
        if task in self._parked:
            self._parked.remove(task)
            task._runner.reschedule(task)

    # --- telling ----------------------------------------------------------------------------------------------

    def explain(self, watching: Watching) -> str:
        """What passed instead of what was watched for."""
        before = [one for one in self.passings if watching.at.matches(one)]
        if before:
            return (
                f"  it was passed {len(before)} times before the watch began, the last as {before[-1]}: "
                "begin the watch before what makes it pass\n"
            )
        near = [one for one in self.passings if (one.point, one.side) == (watching.at.point, watching.at.side)]
        return "".join(f"  what passed there: {one}\n" for one in near[-5:])

    def counted(self) -> str:
        """Which points were passed, how often, and who stands where."""
        counts: dict[str, int] = {}
        for one in self.passings:
            name = f"{one.process} {one.point} {one.side}"
            counts[name] = counts.get(name, 0) + 1
        lines = [f"  passed {count} times: {name}" for name, count in sorted(counts.items())][:LINES_MAX]
        lines += [f"  held: {one.passing}" for one in self.held]
        lines += [f"  watched for: {one.at}" for one, _ in self._watching]
        return "\n".join(lines)


def _fits(wanted: Any, found: Any) -> bool:
    return bool(wanted == found or (isinstance(found, tuple) and wanted in found))


def _check(point: str, side: str, where: Mapping[str, Any], nth: int | None) -> None:
    kind = POINTS.get(point)
    if kind is None:
        raise PointUnknown(f"there is no point {point!r}; there are: {', '.join(POINTS)}")
    if side not in kind.sides:
        raise PointUnknown(f"{point} has no side {side!r}, only: {', '.join(kind.sides)}")
    for key, wanted in where.items():
        if kind.keys is not None and key not in kind.keys:
            raise PointUnknown(f"{point} cannot be told apart by {key!r}, only by: {', '.join(kind.keys)}")
        if key == "command" and wanted not in COMMANDS:
            raise PointUnknown(f"there is no command {wanted!r}; there are: {', '.join(COMMANDS)}")
    if nth is not None and nth < 1:
        raise PointUnknown(f"{side} {point} is numbered from 1, not {nth}")


assert BEFORE in POINTS["journal.append"].sides, "the default side"
