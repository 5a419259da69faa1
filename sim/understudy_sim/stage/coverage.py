"""What a run has covered, as cells: something of the product's tables happened, while some class of faults was about.

A cell is a row and a class of faults.  There are four kinds of rows, all read off the product's own tables: a record of
some kind is applied while the invocation it is about has some status (HANDLERS), an invocation moves from one status to
another (TRANSITIONS), an attempt journals a kind of command (MESSAGES), something happens to an attempt in the SDK in
some state (the VM's TRANSITIONS).

A class of faults is about from the moment one of its faults strikes until WINDOW_NS after it is over; "none" is the
class of all other times.  What a power cut takes from a disk counts as that power cut.  Cells are numbers, so a run's
are the bits of one integer: it crosses processes, and many merge into one.

Nothing here changes the run: it listens, and it stands in for a table that it asks for every answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Final

import attrs
from understudy.protocol.messages import MessageType, is_command
from understudy.vm import core as vm_core
from understudy.vm.states import TRANSITIONS as VM_TRANSITIONS
from understudy.vm.states import Event as VmEvent
from understudy.vm.states import State as VmState
from understudy_runtime.machine.apply import HANDLERS
from understudy_runtime.machine.status import TRANSITIONS
from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import Status

from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.tally import Firing

# How long after a fault is over it still counts as being about (virtual time): restarts and retries fall into this.
WINDOW_NS: Final = 1_000_000_000
# Classes of faults, the letter each has in a matrix, and the kinds of faults in them.  A new kind needs a row here.
NONE: Final = "none"
CLASSES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = MappingProxyType(
    {
        NONE: ("o", ()),
        "server": ("s", ("server_crash", "server_drain", "power_failure")),
        "endpoint": ("e", ("endpoint_crash", "endpoint_drain", "endpoint_swap", "endpoint_busy")),
        "network": (
            "n",
            (
                *("stream_reset", "cut_stream", "refused_connect", "hung_connect", "unknown_host", "half_open"),
                *("partition", "one_way_partition", "slow_link", "held_traffic", "jitter"),
            ),
        ),
        "disk": (
            "d",
            (
                *("lost_write", "torn_write", "slow_sync", "slow_disk", "failing_sync", "full_disk"),
                *("bit_rot", "misdirected_write", "rotten_store"),
            ),
        ),
        "clock": ("c", ("clock_jump", "clock_offset", "clock_drift", "clock_freeze", "clock_slew")),
        "pause": ("p", ("pause",)),
        "service": (
            "x",
            (
                *("provider_slow", "provider_late", "provider_error", "provider_lies", "provider_silent"),
                *("provider_twice", "provider_down"),
            ),
        ),
        "other": ("?", ()),
    }
)
CLASS_NAMES: Final = tuple(CLASSES)
CLASS_COUNT: Final = len(CLASS_NAMES)
LETTERS: Final = "".join(letter for letter, _ in CLASSES.values())
_OTHER: Final = CLASS_NAMES.index("other")
CLASS_OF: Final[Mapping[str, int]] = MappingProxyType(
    {kind: number for number, (_, kinds) in enumerate(CLASSES.values()) for kind in kinds}
)

# What a message from another partition may be, and how an attempt may end.
DELIVERABLE: Final = (c.Invoke, c.Complete, c.Signal, c.Attach, c.Cancel, c.Kill)
ENDS: Final[Mapping[type, str]] = MappingProxyType(
    {c.Suspend: "suspends", c.Finished: "finishes", c.GaveUp: "gives up"}
)
# Records about no invocation; a fired timer may be about one.
ABOUT_NOBODY: Final = (c.LeaderElected, c.OutboxDelivered, c.MutateState)
NOBODY: Final = len(Status)


@attrs.frozen
class Row:
    """One thing that can happen.  *part* is records, moves or attempts; *what* happens *where*."""

    part: str
    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.where} → {self.what}" if self.part == "moves" else f"{self.what} while {self.where}"


RECORDS, MOVES, JOURNAL, ATTEMPTS = "records", "moves", "journal", "attempts"
# What the VM takes at once, without asking its table: it changes nothing.
UNASKED: Final = (
    (VmState.WAITING_REPLAY, VmEvent.COMMAND_RECEIVED),
    (VmState.WAITING_REPLAY, VmEvent.NOTIFICATION_RECEIVED),
    (VmState.REPLAYING, VmEvent.COMMAND_REPLAYED),
    (VmState.PROCESSING, VmEvent.COMMAND_ISSUED),
    (VmState.CLOSED, VmEvent.START_RECEIVED),
    (VmState.CLOSED, VmEvent.COMMAND_RECEIVED),
    (VmState.CLOSED, VmEvent.NOTIFICATION_RECEIVED),
)
# An invocation's first lease, or one of those after: then something is replayed.
LEASES: Final = ("it first runs", "it runs again")


def status_name(number: int) -> str:
    return "nobody" if number == NOBODY else Status(number).name.lower()


def _record_kinds() -> dict[Any, str]:
    """Every kind of record by what tells it: its command's class, with how the attempt ends or how it came."""
    kinds: dict[Any, str] = {type_: type_.__name__ for type_ in HANDLERS if type_ is not c.Delivered}
    kinds.update({(c.AttemptOutput, end): f"{c.AttemptOutput.__name__}, {how}" for end, how in ENDS.items()})
    kinds.update({(c.Delivered, type_): f"{type_.__name__}, delivered" for type_ in DELIVERABLE})
    return kinds


def _journaled() -> list[MessageType]:
    """What an attempt can journal."""
    commands = [type_ for type_ in MessageType if is_command(type_) and type_ is not MessageType.INPUT]
    return [*commands, MessageType.PROPOSE_RUN_COMPLETION]


@attrs.define
class _Index:
    """All rows, and how to find them."""

    rows: list[Row] = attrs.Factory(list)
    records: dict[tuple[Any, int], int] = attrs.Factory(dict)  # kind and status
    moves: dict[tuple[int, int], int] = attrs.Factory(dict)  # statuses
    entries: tuple[dict[int, int], dict[int, int]] = attrs.Factory(lambda: ({}, {}))  # type, by lease
    attempts: dict[int, int] = attrs.Factory(dict)  # state and event


def _index() -> _Index:
    index = _Index()
    rows = index.rows
    for kind, name in _record_kinds().items():
        statuses = [NOBODY] if kind in ABOUT_NOBODY else [*Status]
        for status in [*statuses, NOBODY] if kind is c.TimerFired else statuses:
            index.records[kind, status] = len(rows)
            rows.append(Row(RECORDS, name, status_name(status)))
    for before, following in TRANSITIONS.items():
        for after in dict.fromkeys(following.values()):
            index.moves[before, after] = len(rows)
            rows.append(Row(MOVES, status_name(after), status_name(before)))
    for type_ in _journaled():
        for entries, lease in zip(index.entries, LEASES, strict=True):
            entries[type_] = len(rows)
            rows.append(Row(JOURNAL, type_.name.lower(), lease))
    for state, events in VM_TRANSITIONS.items():
        for event in events:
            if (state, event) not in UNASKED:
                index.attempts[state << 8 | event] = len(rows)
                rows.append(Row(ATTEMPTS, event.name.lower(), state.name.lower()))
    return index


_INDEX: Final = _index()
ROWS: Final = tuple(_INDEX.rows)
_RECORD_ROWS: Final = MappingProxyType(_INDEX.records)
_MOVE_ROWS: Final = MappingProxyType(_INDEX.moves)
_ENTRY_ROWS: Final = tuple(MappingProxyType(rows) for rows in _INDEX.entries)
_ATTEMPT_ROWS: Final = MappingProxyType(_INDEX.attempts)
CELL_COUNT: Final = len(ROWS) * CLASS_COUNT


def cell(row: int, class_: int) -> int:
    """A cell's number."""
    return row * CLASS_COUNT + class_


def cells_in(bits: int) -> Iterator[int]:
    """The numbers of the cells in *bits*, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def reachable(faults: FaultSet) -> int:
    """The cells that a scenario with these *faults* could get to by the product's tables, as bits."""
    classes = {0: None, **{CLASS_OF.get(kind, _OTHER): None for kind in faults.kinds}}
    bits = 0
    for row in range(len(ROWS)):
        for class_ in classes:
            bits |= 1 << cell(row, class_)
    return bits


class _Row:
    """A row of the VM's table that notes what is asked of it."""

    __slots__ = ("_coverage", "_row", "_state")

    def __init__(self, coverage: Coverage, state: int, row: Mapping[VmEvent, VmState]) -> None:
        self._coverage = coverage
        self._state = state << 8
        self._row = row

    def get(self, event: VmEvent) -> VmState | None:
        number = _ATTEMPT_ROWS.get(self._state | event)
        if number is not None:
            self._coverage.attempt(number)
        return self._row.get(event)


class Coverage:
    """Listens to one run, within `with`: meanwhile it stands in for the VM's table.  `cells` is what it covered."""

    def __init__(self) -> None:
        self._seen = bytearray(CELL_COUNT)
        self._statuses: dict[str, tuple[int, int]] = {}  # status and lease, where it is not FREE
        self._firings: list[Firing] = []
        self._heard = 0
        self._ends_ns = [0] * CLASS_COUNT
        self._calm_ns = 0
        self._rehearsal: Rehearsal | None = None

    def __enter__(self) -> Coverage:
        rows = {state: _Row(self, state, row) for state, row in VM_TRANSITIONS.items()}
        vars(vm_core)["TRANSITIONS"] = rows
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        vars(vm_core)["TRANSITIONS"] = VM_TRANSITIONS

    def attach(self, rehearsal: Rehearsal) -> None:
        """Before the first step."""
        self._rehearsal = rehearsal
        self._models = rehearsal.truth.models
        self._loop = rehearsal.kernel.loop
        self._firings = rehearsal.tally.firings
        rehearsal.watch.subscribe({Step: self._step})

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        """Nothing is left to do."""

    @property
    def cells(self) -> int:
        """The cells seen, as bits."""
        bits, at, seen = 0, 0, self._seen
        while (at := seen.find(1, at)) >= 0:
            bits |= 1 << at
            at += 1
        return bits

    def attempt(self, row: int) -> None:
        """Something happened to an attempt."""
        if self._rehearsal is not None:
            self._mark(row)

    def _mark(self, row: int) -> None:
        """*row* happens now."""
        now_ns = self._loop.now_ns
        if len(self._firings) > self._heard:
            self._hear()
        at = row * CLASS_COUNT
        if now_ns >= self._calm_ns:
            self._seen[at] = 1
            return
        for class_, end_ns in enumerate(self._ends_ns):
            if now_ns < end_ns:
                self._seen[at + class_] = 1

    def _hear(self) -> None:
        for firing in self._firings[self._heard :]:
            class_ = CLASS_OF.get(firing.kind, _OTHER)
            end_ns = firing.at_ns + firing.lasts_ns + WINDOW_NS
            self._ends_ns[class_] = max(end_ns, self._ends_ns[class_])
            self._calm_ns = max(end_ns, self._calm_ns)
        self._heard = len(self._firings)

    def _step(self, step: Step) -> None:
        command: Any = step.record.command
        kind: Any = type(command)
        statuses = self._statuses
        touched = step.effects.invocations
        if kind is c.Delivered:
            command = command.message
            kind = (c.Delivered, type(command))
        elif kind is c.AttemptOutput:
            rows = _ENTRY_ROWS[command.lease > 1]
            for proposed in command.entries:
                row = rows.get(proposed.entry.type)
                if row is not None:
                    self._mark(row)
            if command.end is not None:
                kind = (c.AttemptOutput, type(command.end))
        if kind is c.TimerFired:
            for id_ in touched:
                self._mark(_RECORD_ROWS[kind, statuses.get(id_, _FREE)[0]])
            if not touched:
                self._mark(_RECORD_ROWS[kind, NOBODY])
        elif kind in ABOUT_NOBODY:
            self._mark(_RECORD_ROWS[kind, NOBODY])
        else:
            self._mark(_RECORD_ROWS[kind, statuses.get(command.invocation_id, _FREE)[0]])
        if touched:
            self._move(step.partition, touched)

    def _move(self, partition: int, touched: Mapping[str, None]) -> None:
        invocations, statuses = self._models[partition].invocations, self._statuses
        for id_ in touched:
            found = invocations.get(id_)
            before = statuses.get(id_, _FREE)
            after = _FREE if found is None else (found.status.value, found.lease)
            if before == after:
                continue
            if found is None:
                del statuses[id_]
            else:
                statuses[id_] = after
            row = _MOVE_ROWS.get((before[0], after[0]))
            if row is not None:
                self._mark(row)
            elif found is None:  # It ended and was forgotten with one record.
                self._mark(_MOVE_ROWS[before[0], Status.COMPLETED])
                self._mark(_MOVE_ROWS[Status.COMPLETED, Status.FREE])


_FREE: Final = (Status.FREE.value, 0)
