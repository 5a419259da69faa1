"""Injects planned faults at drawn instants, keeps the tally, and heals.

Every injection takes the same decisions in the same order (`fault.<label>.wait`, `.fire`, `.target`,
`.lasts`, `.strength`, `.detail`), whether it fires or not, until it may fire no more.  So a shrinker drops one fault
by forcing `(fault.<label>.fire, ordinal)` to 0, and all of one kind by forcing `(fault.<label>.fire, None)`, and every
other injection stays what and when it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from understudy_sim.kernel.disk import CutReport
from understudy_sim.kernel.faults.lost_writes import LostWrites, TornTail
from understudy_sim.kernel.faults.port import Planned, Shot, Tally
from understudy_sim.kernel.loop import Timer

if TYPE_CHECKING:
    from understudy_sim.kernel.kernel import Kernel

_FIRE_THOUSANDTHS = 900
_DETAIL_MAX = 2**16 - 1


class Nemesis:
    """One per run.

    `start` begins to hurt, `heal` stops and undoes everything; `tally` says what was done.
    """

    def __init__(
        self,
        kernel: Kernel,
        plan: Iterable[Planned],
        *,
        restart: Callable[[str], object],
        busy: Callable[[str], bool] | None = None,
        on_fault: Callable[[Shot], object] | None = None,
    ) -> None:
        self.kernel = kernel
        self.plan = tuple(plan)
        labels = [planned.label for planned in self.plan]
        assert len(set(labels)) == len(labels), "a label names one planned fault"
        self.tally: dict[str, Tally] = {label: Tally() for label in labels}
        self.shots: list[tuple[int, Shot]] = []
        self.hurting = False
        self._restart = restart
        self._busy = busy
        self._on_fault = on_fault
        self._undos: dict[int, tuple[Callable[[], object], Timer]] = {}
        self._undo_last = 0
        self._switch_disks()

    def start(self) -> None:
        """Begin to inject."""
        assert not self.hurting, "it hurts already"
        self.hurting = True
        for planned in self.plan:
            spent = self.tally[planned.label].fired >= planned.intensity.count_max
            if planned.targets and not spent and not isinstance(planned.fault, (LostWrites, TornTail)):
                self._schedule(planned)

    def heal(self) -> None:
        """Stop injecting and undo what lasts, oldest first:

        partitions heal, processes resume, the crashed restart.
        """
        self.hurting = False
        for number in list(self._undos):
            self._undo(number)
        assert not self._undos, "an undo injects nothing"
        self.kernel.network.heal()
        self.kernel.trace.note("nemesis.heal", self.kernel.now_ns)

    # The Arena

    def busy(self, process: str) -> bool:
        """What the owner says, or else: something unsynced, or something in flight on a connection of it."""
        if self._busy is not None:
            return self._busy(process)
        medium = self.kernel.media.get(process)
        if medium is not None and medium.unsynced:
            return True
        connections = self.kernel.network.connections.values()
        return any(process in one.link and one.busy for one in connections)

    def restart(self, process: str) -> None:
        """Have the owner start *process* again."""
        self._restart(process)

    def until(self, lasts_ns: int, undo: Callable[[], object]) -> None:
        """Call *undo* after *lasts_ns* or at the healing."""
        assert lasts_ns > 0, "a fault that lasts, lasts"
        self._undo_last += 1
        timer = self.kernel.call_later(lasts_ns, self._undo, self._undo_last)
        self._undos[self._undo_last] = (undo, timer)

    def bite(self, label: str) -> None:
        """Count a difference made."""
        self.tally.setdefault(label, Tally()).bit += 1
        self.kernel.trace.note("nemesis.bite", label, self.kernel.now_ns)

    # Injecting

    def _undo(self, number: int) -> None:
        undo, timer = self._undos.pop(number)
        self.kernel.cancel(timer)
        undo()

    def _schedule(self, planned: Planned) -> None:
        wait_ns = self.kernel.choices.integer(f"fault.{planned.label}.wait", 1, 2 * planned.intensity.every_ns)
        self.kernel.call_later(wait_ns, self._inject, planned)

    def _inject(self, planned: Planned) -> None:
        if not self.hurting:
            return
        tally = self.tally[planned.label]
        fire, shot = self._draw(planned)
        if fire and tally.fired < planned.intensity.count_max and planned.fault.inject(self, shot):
            tally.fired += 1
            self.shots.append((self.kernel.now_ns, shot))
            self.kernel.trace.note("nemesis.fire", planned.label, self.kernel.now_ns, shot.detail)
            if self._on_fault is not None:
                self._on_fault(shot)
        if tally.fired < planned.intensity.count_max:
            self._schedule(planned)

    def _draw(self, planned: Planned) -> tuple[bool, Shot]:
        choices, label, intensity = self.kernel.choices, f"fault.{planned.label}", planned.intensity
        fire = choices.chance(f"{label}.fire", _FIRE_THOUSANDTHS)
        target = choices.integer(f"{label}.target", 0, _DETAIL_MAX) % len(planned.targets)
        lasts_ns = choices.integer(f"{label}.lasts", intensity.lasts_low_ns, intensity.lasts_high_ns)
        strength_ns = choices.integer(f"{label}.strength", 1, intensity.strength_ns)
        detail = choices.integer(f"{label}.detail", 0, _DETAIL_MAX)
        return fire, Shot(planned.label, planned.targets[target], lasts_ns, strength_ns, detail)

    # Disks: what a power cut may do is switched for the whole run

    def _switch_disks(self) -> None:
        switches = [planned for planned in self.plan if isinstance(planned.fault, (LostWrites, TornTail))]
        hosts: dict[str, list[Planned]] = {}
        for planned in switches:
            for (host,) in planned.targets:
                hosts.setdefault(host, []).append(planned)
        for host, faults in hosts.items():
            medium = self.kernel.medium(host)
            medium.profile.lose_writes = medium.profile.tear_writes = False
            for planned in faults:
                assert isinstance(planned.fault, (LostWrites, TornTail)), "filtered above"
                planned.fault.switch(self, host, True)
            medium.on_cut = self._count_cuts(faults)

    def _count_cuts(self, faults: list[Planned]) -> Callable[[CutReport], object]:
        def count(report: CutReport) -> None:
            for planned in faults:
                assert isinstance(planned.fault, (LostWrites, TornTail)), "filtered above"
                self.tally[planned.label].fired += 1
                if planned.fault.bites(report):
                    self.bite(planned.label)

        return count
