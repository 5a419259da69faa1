"""What a script may do to the run while it runs: hold processes at points, cut, pause, partition, ask, wait.

    await stage.start()
    point = stage.at("journal.append", where={"command": "AttemptOutput", "step": "pay"}).hold()  # the watch begins
    call = stage.ask(Call(client="ann", service="Till", handler="pay"))
    await point                       # somebody stands there
    await stage.crash("server", unsynced="lose")
    stage.restart("server")
    assert (await call.answer()).status == 200
    await stage.finish()

The verbs act at once; awaiting one lets the world take a turn.  Waiting moves virtual time only as needed, and what
never comes is an error that says who waits for what.  The rest of the run is the seed's, as in any scenario; what a
script does is not shrunk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from understudy_runtime.machine.apply import RULES_CURRENT

from understudy_sim.kernel.clock import NS_PER_MS, NS_PER_S
from understudy_sim.kernel.kernel import MAIN
from understudy_sim.kernel.process import State
from understudy_sim.stage.asking import Ask, Asker
from understudy_sim.stage.holding import At, NobodyPasses, PassLog, ScriptError, StillHeld, Watching
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.points import UNSYNCED, Passing
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.tally import Firing

if TYPE_CHECKING:
    from understudy_sim.kernel.kernel import Kernel
    from understudy_sim.kernel.process import Process
    from understudy_sim.stage.cluster import Cluster
    from understudy_sim.stage.plan import Plan

# How long a script waits for something, at most (virtual time), and how often it looks whether that can still come.
WAIT_S: Final = 3_600
LOOK_NS: Final = NS_PER_S
LOOK_NS_MAX: Final = 20 * NS_PER_S
# All is quiet for so many looks, one after the other, and the script does nothing else: nothing happens any more.
QUIET_LOOKS: Final = 4
WAITERS_MAX: Final = 30


class Turn:
    """Something was done, at once.  Awaiting it lets the world take a turn."""

    def __await__(self) -> Generator[Any, None, None]:
        return _turn().__await__()


async def _turn() -> None:
    await trio.lowlevel.checkpoint()


class _Look:
    """A condition, looked at after every step; what it raises, it raises where it is waited for."""

    def __init__(self, condition: Callable[[], bool], wake: Callable[[], None]) -> None:
        self._condition = condition
        self._wake = wake
        self._error: Exception | None = None

    def after_a_step(self) -> None:
        try:
            if self._condition():
                self._wake()
        except Exception as error:
            self._error = error
            self._wake()

    def __call__(self) -> bool:
        if self._error is not None:
            raise self._error
        return bool(self._condition())


class Control:
    """The part of the stage that scripts steer with."""

    kernel: Kernel
    cluster: Cluster
    plan: Plan
    calls: tuple[Operation, ...]
    played: bool

    def __init__(self) -> None:
        self._log = PassLog(self.kernel, self._until, self._held, self._over)
        self._askers: dict[str, Asker] = {}
        self._looks: list[_Look] = []
        self._partitions: list[tuple[str, str]] = []
        self._armed = False

    # --- points -----------------------------------------------------------------------------------------------

    def at(
        self,
        point: str,
        *,
        side: str = "before",
        where: Mapping[str, Any] | None = None,
        process: str | None = None,
        nth: int | None = None,
    ) -> At:
        """A point (of `points.POINTS`), as *process* passes it, whose details are as in *where*.

        `.hold()` lets who passes next stand there, `.passed()` only tells; with *nth* the nth of the run that fits.
        Raises PointUnknown.
        """
        self._arm()
        return At(self._log, point, side, where or {}, process, nth)

    def _arm(self) -> None:
        if self._armed:
            return
        if self.kernel.process(SERVER).incarnation:
            raise ScriptError(
                "points are watched from the start: call stage.at() or stage.start() before the run begins"
            )
        self._armed = True
        self.cluster.points.listen(self._log.passed)
        self.cluster.tally.lasts = lambda: bool(self._partitions or self._log.held)

    async def until(self, what: Callable[[], bool] | Watching, *, within_s: float = WAIT_S) -> None:
        """Go on until *what* is true, or whoever is watched for has come.  Raises NobodyPasses after so long."""
        if isinstance(what, Watching):
            await self._until(lambda: what.has_passed, str(what.at), what, within_s)
            return
        code = getattr(what, "__code__", None)
        name = "a condition" if code is None else f"the condition in line {code.co_firstlineno}"
        look = _Look(what, self._log.wake)
        self._looks.append(look)
        self.kernel.loop.after_each_step(self._look_at_conditions)
        try:
            await self._until(look, name, None, within_s)
        finally:
            self._looks.remove(look)
            self.kernel.loop.after_each_step(self._look_at_conditions if self._looks else None)

    def _look_at_conditions(self) -> None:
        for look in self._looks:
            look.after_a_step()

    async def _until(
        self, come: Callable[[], bool], what: str, watching: Watching | None = None, within_s: float = WAIT_S
    ) -> None:
        since_ns, quiet, look_ns = self.kernel.now_ns, 0, LOOK_NS
        until_ns = since_ns + round(within_s * NS_PER_S)
        while not come():
            left_ns = until_ns - self.kernel.now_ns
            quiet = quiet + 1 if self._nothing_happens() and self.kernel.process(MAIN).task_count == 1 else 0
            failed = self.cluster.server.failed
            if left_ns <= 0 or quiet > QUIET_LOOKS or failed is not None:
                why = "the server has failed" if failed is not None else "all is quiet" if quiet else "time is over"
                raise NobodyPasses(self._in_vain(what, why, since_ns, watching))
            await self._log.pause(min(left_ns, look_ns))
            look_ns = min(2 * look_ns, LOOK_NS_MAX)

    def _nothing_happens(self) -> bool:
        return self._is_quiet() and not self._log.held

    # --- what the rest of the stage has -----------------------------------------------------------------------

    def _is_quiet(self) -> bool:
        raise NotImplementedError

    def _require_before_play(self, what: str) -> None:
        raise NotImplementedError

    def _set_addresses(self) -> None:
        raise NotImplementedError

    async def _quiet(self) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def _in_vain(self, what: str, why: str, since_ns: int, watching: Watching | None) -> str:
        now_ns = self.kernel.now_ns
        waiters = self.kernel.loop.waiters()
        lines = [f"  {waiter}" for waiter in waiters[:WAITERS_MAX]]
        if len(waiters) > WAITERS_MAX:
            lines.append(f"  and {len(waiters) - WAITERS_MAX} more")
        return (
            f"the script waits in vain for {what}, since {since_ns / NS_PER_S:.6f} s: {why} "
            f"at {now_ns / NS_PER_S:.6f} s\n"
            + ("" if watching is None else self._log.explain(watching))
            + self._log.counted()
            + "\nwho waits where:\n"
            + "\n".join(lines)
        )

    # --- what can be done to processes ------------------------------------------------------------------------

    def crash(self, name: str, *, power: bool = True, unsynced: str = "", restart_ms: int | None = None) -> Turn:
        """The process *name* is gone, now: nobody's `finally` runs, and who stood at a point stands nowhere.

        Without *power* only the process dies, not what its disk caches; else what was not synced is drawn, or as
        *unsynced* says: keep, lose, tear.  It is started again after *restart_ms*, or by `restart`, or by `finish`.
        """
        process = self._process(name)
        if not process.alive:
            raise ScriptError(f"{name} is down already: restart it first")
        if unsynced and (unsynced not in UNSYNCED or not power):
            raise ScriptError(f"unsynced={unsynced!r} with power={power}: a power cut may {', '.join(UNSYNCED)} it")
        detail = self.kernel.choices.integer("script/unsynced", 0, 0xFFFF) if unsynced in ("lose", "tear") else 0
        self.cluster.cut(name, power=power, unsynced=unsynced, detail=detail, why="by the script")
        if restart_ms is not None:
            self.kernel.call_later(restart_ms * NS_PER_MS, self.cluster.restart, name)
        return Turn()

    def restart(self, name: str) -> Turn:
        """Start *name* again, now.  Raises ScriptError when it runs."""
        if self._process(name).alive:
            raise ScriptError(f"{name} runs: crash it first")
        self.cluster.restart(name)
        return Turn()

    def _accident(self, kind: str, what: str, lasts_ns: int = 0) -> None:
        """What the script does to processes and network is no good day: claims that judge those only must know."""
        self.cluster.tally.firing(
            Firing(kind, f"{what}, by the script", self.kernel.now_ns, ("", 0), lasts_ns=lasts_ns)
        )

    def _held(self, passing: Passing) -> None:
        self._accident("hold", f"{passing.process}, {passing.side} {passing.point} number {passing.nth}")

    def _over(self) -> None:
        """Something that the script began is over."""
        self.cluster.tally.ended_ns = self.kernel.now_ns

    def pause(self, name: str, *, lasts_ms: int) -> Turn:
        """*name* stands still as a whole for so long; its clock goes on.  Raises ScriptError when it does not run."""
        process = self._process(name)
        if process.state is not State.RUNNING:
            raise ScriptError(f"{name} is {process.state.value}: pause it while it runs")
        process.pause(lasts_ms * NS_PER_MS)
        self._accident("pause", name, lasts_ms * NS_PER_MS)
        return Turn()

    def jump_clock(self, name: str, *, by_ms: int) -> Turn:
        """The wall clock of *name* jumps, forwards or back."""
        self._process(name).wall.jump(by_ms * NS_PER_MS)
        self.kernel.trace.note("script.clock", name, by_ms, self.kernel.now_ns)
        self._accident("clock_jump", name)
        return Turn()

    def partition(self, source: str, target: str, *, one_way: bool = False) -> Turn:
        """Nothing gets from *source* to *target* any more, nor back unless *one_way*; what is on its way waits."""
        self._process(source), self._process(target)
        for pair in [(source, target)] if one_way else [(source, target), (target, source)]:
            self.kernel.network.block(*pair)
            self._partitions.append(pair)
        self._accident("one_way_partition" if one_way else "partition", f"{source} > {target}")
        return Turn()

    def heal(self, source: str = "", target: str = "") -> Turn:
        """End the partition between two, or all of the script's.  Raises ScriptError when there is none."""
        if bool(source) != bool(target):
            raise ScriptError("name two, to end the partition between them, or nobody, to end all of the script's")
        ended = [pair for pair in self._partitions if not source or set(pair) == {source, target}]
        if not ended and source:
            raise ScriptError(f"there is no partition between {source} and {target}")
        if ended:
            self._over()
        for pair in ended:
            self._partitions.remove(pair)
            self.kernel.network.unblock(*pair)
        return Turn()

    def reset(self, source: str, target: str) -> Turn:
        """Break every connection between two.  Raises ScriptError when there is none."""
        self._process(source), self._process(target)
        connections = self.kernel.network.between(source, target)
        if not connections:
            raise ScriptError(f"there is no connection between {source} and {target} to be reset")
        for connection in connections:
            connection.reset()
        self._accident("stream_reset", f"{source} > {target}")
        return Turn()

    def _process(self, name: str) -> Process:
        process = self.kernel.processes.get(name)
        if process is None or name not in self.cluster.hosts:
            raise ScriptError(f"there is no process {name!r}; there are: {', '.join(self.cluster.hosts)}")
        return process

    # --- requests ---------------------------------------------------------------------------------------------

    def ask(self, operation: Operation) -> Ask:
        """Let the client of *operation* do it now, in a process of its own name, beside what it does already."""
        self._require_running("nobody can be asked")
        asker = self._askers.get(operation.client)
        if asker is None:
            if operation.client in self.kernel.processes:
                raise ScriptError(f"a process of the rehearsal is called {operation.client!r} already: name another")
            asker = self._askers[operation.client] = Asker(self.cluster, operation.client, self._until)
        return asker.ask(operation)

    # --- the run ----------------------------------------------------------------------------------------------

    async def start(self, *, serving: bool = True) -> None:
        """Start everybody, and the operations of the workload, with no faults but the script's.

        Returns when the server can be asked; at once without *serving*.
        """
        self._require_before_play("stage.start")
        if self.kernel.process(SERVER).incarnation:
            raise ScriptError("the rehearsal runs already: start it once")
        self._arm()
        # An upgrade is a kill at a time that the seed drew.
        self.plan = self.cluster.plan = attrs.evolve(self.plan, upgrade=None)
        self.cluster.server.rules_max = RULES_CURRENT
        self.cluster.is_scripted = True
        for external in self.cluster.externals:
            external.healed = True  # It meets no faults that the seed would draw.
        self._set_addresses()
        self.cluster.start(self.calls)
        if serving:
            await self._until(lambda: self.cluster.serves, "the server, to be asked")

    def _require_running(self, what: str) -> None:
        if self.played:
            raise ScriptError(f"{what} any more: the rehearsal was finished")
        if not self.cluster.is_scripted:
            raise ScriptError(f"{what} yet: await stage.start() first")

    async def finish(self) -> None:
        """Undo what the script did to processes and network, wait until all is quiet, and check what must hold then.

        Raises StillHeld when somebody stands at a point, ScriptError before `start` and the second time.
        """
        self._require_running("there is nothing to finish")
        held = self._log.held
        if held:
            where = "".join(f"\n  {one.passing}" for one in held)
            raise StillHeld(f"the script ends while somebody stands at a point: release it, or crash it{where}")
        self.heal()
        for name in self.cluster.hosts:
            process = self.kernel.processes[name]
            if process.state is State.PAUSED:
                process.resume()
        self.cluster.heal()
        await self._quiet()
        self.played = True
        self._finish()
