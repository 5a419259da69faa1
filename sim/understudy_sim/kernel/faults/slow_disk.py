"""A disk on which everything takes long: the process stands still in each read and each write."""

from __future__ import annotations

from typing import ClassVar, Final

from understudy_sim.kernel.faults.port import Arena, Shot
from understudy_sim.kernel.loop import ProcessRunner
from understudy_sim.kernel.process import State

# Of what a sync takes longer, each read and each write takes this part.
SHARE: Final = 100


class SlowDisk:
    """Reads and writes of the host's disk take a hundredth of `strength_ns`, which no task of the process can pass by;
    syncs take all of it, and only who waits for them.
    """

    kind: ClassVar[str] = "slow_disk"
    budget: ClassVar[str] = "any disk, for a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when anything was read, written or synced meanwhile."""
        medium = arena.kernel.medium(shot.target[0])
        if medium.stall is not None:
            return False
        stalls = _Stalls(arena, max(1, shot.strength_ns // SHARE))
        medium.stall = stalls
        medium.slow_ns += shot.strength_ns

        def undo() -> None:
            medium.stall = None
            medium.slow_ns -= shot.strength_ns

        return arena.lasts(shot, lambda: stalls.count + medium.slowed_syncs, undo)


class _Stalls:
    """Lets a process stand still after the step in which it used the disk, for all it did there."""

    def __init__(self, arena: Arena, each_ns: int) -> None:
        self.count = 0
        self._kernel = arena.kernel
        self._each_ns = each_ns
        self._owed_ns = 0

    def __call__(self, runner: ProcessRunner) -> None:
        self.count += 1
        if not self._owed_ns:
            self._kernel.call_later(0, self._pay, runner)
        self._owed_ns += self._each_ns

    def _pay(self, runner: ProcessRunner) -> None:
        owed_ns, self._owed_ns = self._owed_ns, 0
        if not runner.dead and runner.process.state is State.RUNNING:
            runner.process.pause(owed_ns)
