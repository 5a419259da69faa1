"""Injects planned faults at drawn instants, or given shots at theirs, keeps the tally, and heals.

Every injection takes the same decisions in the same order (`fault.<label>.wait`, `.fire`, `.target`,
`.lasts`, `.strength`, `.detail`), whether it fires or not, until it may fire no more.  So a shrinker drops one fault
by forcing `(fault.<label>.fire, ordinal)` to 0, and all of one kind by forcing `(fault.<label>.fire, None)`, and every
other injection stays what and when it was.

What was really done is in `shots`.  A nemesis that is given them decides nothing and does the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from understudy_sim.kernel.disk import DETAIL_MAX
from understudy_sim.kernel.faults.lost_writes import LostWrites, TornTail
from understudy_sim.kernel.faults.port import Planned, Shot, Tally
from understudy_sim.kernel.inodes import CutReport, Fate
from understudy_sim.kernel.loop import Timer

if TYPE_CHECKING:
    from understudy_sim.kernel.kernel import Kernel

_OfPowerCuts = (LostWrites, TornTail)
_FIRE_THOUSANDTHS = 900
# A written fate of unsynced writes waits so long for its power cut.
FATE_WAITS_NS: Final = 1_000_000_000

Aim = Callable[[Planned, Shot, Callable[[], bool]], bool]
OnFault = Callable[[Shot, bool], object]


class Nemesis:
    """One per run.

    `start` begins to hurt, `heal` stops and undoes everything; `tally` says what was done.  *aim* may let a drawn
    fault happen later: it is given what makes it happen, and returns whether it did or will.  *on_fault* is told of
    each, and whether something was on its way between the two hosts it hit.  *disks* are hosts whose power cuts hurt
    nothing but what the plan says.
    """

    def __init__(
        self,
        kernel: Kernel,
        plan: Iterable[Planned],
        *,
        restart: Callable[[str], object],
        busy: Callable[[str], bool] | None = None,
        aim: Aim | None = None,
        on_fault: OnFault | None = None,
        shots: Sequence[tuple[int, Shot]] | None = None,
        disks: Sequence[str] = (),
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
        self._aim = aim
        self._on_fault = on_fault
        self._given = shots
        self._fates: list[tuple[int, Shot]] = []
        self._fated: dict[str, str] = {}  # host: the label of the shot that its power cut followed
        self._draws = dict.fromkeys(labels, 0)
        self._aims = dict.fromkeys(labels, 0)
        self._undos: dict[int, tuple[Callable[[], object], Timer]] = {}
        self._undo_last = 0
        self._switch_disks(disks)
        if shots is not None:
            self._schedule_given(shots)

    def start(self) -> None:
        """Begin to inject."""
        assert not self.hurting, "it hurts already"
        self.hurting = True
        if self._given is not None:
            return
        for planned in self.plan:
            if planned.targets and not isinstance(planned.fault, _OfPowerCuts):
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

    def fire(self, planned: Planned, shot: Shot) -> bool:
        """Do it now.  False when there is nothing to do it to: then it does not count."""
        in_flight = len(shot.target) == 2 and any(one.busy for one in self.kernel.network.between(*shot.target))
        if not planned.fault.inject(self, shot):
            return False
        self.tally[shot.label].fired += 1
        self._happened(shot, in_flight)
        return True

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

    def lasts(self, shot: Shot, met: Callable[[], int], undo: Callable[[], object], label: str = "") -> bool:
        """Let *shot* last, then *undo* it; it bites if *met* has grown by then.  True: it happened."""
        before = met()

        def end() -> None:
            if met() > before:
                self.bite(label or shot.label)
            undo()

        self.until(shot.lasts_ns, end)
        return True

    def bite(self, label: str) -> None:
        """Count a difference made."""
        self.tally.setdefault(label, Tally()).bit += 1
        self.kernel.trace.note("nemesis.bite", label, self.kernel.now_ns)

    # Injecting

    def _happened(self, shot: Shot, in_flight: bool) -> None:
        self.shots.append((self.kernel.now_ns, shot))
        self.kernel.trace.note("nemesis.fire", shot.label, self.kernel.now_ns, shot.detail)
        if self._on_fault is not None:
            self._on_fault(shot, in_flight)

    def _undo(self, number: int) -> None:
        undo, timer = self._undos.pop(number)
        self.kernel.cancel(timer)
        undo()

    def _schedule(self, planned: Planned) -> None:
        label, intensity = planned.label, planned.intensity
        if self._aims[label] >= intensity.count_max or self._draws[label] >= intensity.tries_max:
            return
        wait_ns = self.kernel.choices.integer(f"fault.{label}.wait", 1, 2 * intensity.every_ns)
        self.kernel.call_later(wait_ns, self._inject, planned)

    def _inject(self, planned: Planned) -> None:
        if not self.hurting:
            return
        label, count_max = planned.label, planned.intensity.count_max
        fire, shot = self._draw(planned)
        if fire and self._aims[label] < count_max and self._take_aim(planned, shot):
            self._aims[label] += 1
        self._schedule(planned)

    def _take_aim(self, planned: Planned, shot: Shot) -> bool:
        def happen() -> bool:
            return self.hurting and self.fire(planned, shot)

        return happen() if self._aim is None else self._aim(planned, shot, happen)

    def _draw(self, planned: Planned) -> tuple[bool, Shot]:
        choices, label, intensity = self.kernel.choices, f"fault.{planned.label}", planned.intensity
        switch = (f"{label}.fire", self._draws[planned.label])
        self._draws[planned.label] += 1
        fire = choices.chance(switch[0], _FIRE_THOUSANDTHS)
        target = choices.integer(f"{label}.target", 0, DETAIL_MAX) % len(planned.targets)
        lasts_ns = choices.integer(f"{label}.lasts", intensity.lasts_low_ns, intensity.lasts_high_ns)
        strength_ns = choices.integer(f"{label}.strength", 1, intensity.strength_ns)
        detail = choices.integer(f"{label}.detail", 0, DETAIL_MAX)
        return fire, Shot(planned.label, planned.targets[target], lasts_ns, strength_ns, detail, switch)

    # Shots that are given: nothing is decided

    def _schedule_given(self, shots: Sequence[tuple[int, Shot]]) -> None:
        planned = {one.label: one for one in self.plan}
        for at_ns, shot in shots:
            assert shot.label in planned, f"no fault of the plan is called {shot.label!r}"
            if isinstance(planned[shot.label].fault, _OfPowerCuts):
                self._fates.append((at_ns, shot))
            else:
                at_ns = max(at_ns, self.kernel.now_ns)
                self.kernel.call_at(at_ns, lambda given: self.fire(*given), (planned[shot.label], shot))

    # Disks: what a power cut may do is switched for the whole run

    def _switch_disks(self, disks: Sequence[str]) -> None:
        switches = [planned for planned in self.plan if isinstance(planned.fault, _OfPowerCuts)]
        hosts: dict[str, list[Planned]] = {host: [] for host in disks}
        for planned in switches:
            for (host,) in planned.targets:
                hosts.setdefault(host, []).append(planned)
        for host, faults in hosts.items():
            medium = self.kernel.medium(host)
            medium.profile.lose_writes = medium.profile.tear_writes = False
            for planned in faults:
                assert isinstance(planned.fault, _OfPowerCuts), "filtered above"
                planned.fault.switch(self, host, True)
            medium.on_cut = self._count_cuts(host, faults)
            if self._given is not None:
                medium.fate = self._fate(host)

    def _count_cuts(self, host: str, faults: list[Planned]) -> Callable[[CutReport], object]:
        def count(report: CutReport) -> None:
            fated = self._fated.pop(host, "")
            meant = faults if self._given is None else [one for one in faults if one.label == fated]
            for planned in meant:
                self.tally[planned.label].fired += 1
            biting = [one for one in meant if isinstance(one.fault, _OfPowerCuts) and one.fault.bites(report)]
            for planned in biting:
                self.bite(planned.label)
            if report.bit and meant:
                label = (biting or meant)[-1].label
                self._happened(Shot(label, (host,), FATE_WAITS_NS, report.mode, report.detail, report.switch), False)

        return count

    def _fate(self, host: str) -> Callable[[], Fate]:
        """What a power cut of *host* does: as the first shot says that waits for it, or nothing."""

        def fate() -> Fate:
            now_ns = self.kernel.now_ns
            for one in self._fates:
                at_ns, shot = one
                if shot.target == (host,) and at_ns <= now_ns < at_ns + shot.lasts_ns:
                    self._fates.remove(one)
                    self._fated[host] = shot.label
                    return Fate(shot.strength_ns, shot.detail)
            return Fate(0, 0)

        return fate
