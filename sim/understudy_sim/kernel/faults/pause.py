"""A stall: a long collection, a stopped virtual machine."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot
from understudy_sim.kernel.process import Process, State


class Pause:
    """No task of the process runs for a while; time goes on and its timers come due."""

    kind: ClassVar[str] = "pause"
    budget: ClassVar[str] = "any process, for any time"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight."""
        process = arena.kernel.process(shot.target[0])
        if process.state is not State.RUNNING:
            return False
        if arena.busy(process.name):
            arena.bite(shot.label)
        incarnation = process.incarnation
        process.pause(shot.lasts_ns)
        arena.until(shot.lasts_ns, lambda: _resume(process, incarnation))
        return True


def _resume(process: Process, incarnation: int) -> None:
    if process.state is State.PAUSED and process.incarnation == incarnation:
        process.resume()
