"""What this run knows to be true: every record that became durable, and the reference model's fold of them.

It outlives every server.  Claims about committed state read from here, never from a process's memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from understudy_runtime.machine.apply import TIMERS_MAX
from understudy_runtime.model.commands import Invoke, Record
from understudy_runtime.model.invocation import Result

from understudy_sim.stage.model import PartitionModel
from understudy_sim.stage.model_words import Effects

if TYPE_CHECKING:
    from understudy_runtime.machine.tables import Tables


class Truth:
    """One model per partition, and a catalogue of all invocations that ever were."""

    def __init__(self, partition_count: int, timers_max: int = TIMERS_MAX) -> None:
        assert partition_count >= 1, "there is at least one partition"
        self.timers_max = timers_max  # how many timers a server holds at once
        self.models = [PartitionModel(index, partition_count) for index in range(partition_count)]
        self.records: list[list[Record]] = [[] for _ in range(partition_count)]
        self.commands: dict[str, Invoke] = {}
        self.results: dict[str, Result] = {}  # how each ended last
        self.endings: dict[str, list[Result]] = {}  # and in each of its lives: an id may live again once it was purged
        self.attempts: dict[str, int] = {}
        self.callees: dict[str, list[str]] = {}
        self.cancelled_by: dict[str, list[str]] = {}  # invocation -> whom it told to cancel
        self.unanswered: Callable[[], Iterable[str]] = tuple  # the running server's waiters: what each waits for
        self.interruptions: dict[str, int] = {}
        self.callers: dict[str, str] = {}  # invocation -> who called it first
        self.state_version = 0
        self.tables: list[Tables | None] = [None] * partition_count  # the running server's, to compare with

    def known(self, partition: int, record: Record) -> Record | None:
        """The record this run has at *record*'s place, if any."""
        records = self.records[partition]
        return records[record.lsn - 1] if record.lsn <= len(records) else None

    def learn(self, partition: int, record: Record) -> Effects:
        """Take the next record; returns what it must have done."""
        records = self.records[partition]
        assert record.lsn == len(records) + 1, (
            f"P12: record {record.lsn} of partition {partition} follows {len(records)}"
        )
        records.append(record)
        effects = self.models[partition].apply(record)
        for command in effects.accepted:
            self.commands[command.invocation_id] = command
        for caller_id, command in effects.placed:
            self.callers.setdefault(command.invocation_id, caller_id)
            self.callees.setdefault(caller_id, []).append(command.invocation_id)
        for caller_id, target_id in effects.cancels:
            self.cancelled_by.setdefault(caller_id, []).append(target_id)
        self.results.update(effects.completed)
        for id_, result in effects.completed.items():
            self.endings.setdefault(id_, []).append(result)
        if effects.keys:
            self.state_version += 1
        return effects

    def interrupted(self, invocation_id: str) -> None:
        """An attempt of *invocation_id* was cut off, timed out or failed."""
        self.interruptions[invocation_id] = self.interruptions.get(invocation_id, 0) + 1

    def state(self, service: str, key: str) -> dict[str, Any]:
        """The committed state of an object, decoded from JSON."""
        for model in self.models:
            stored = model.state.get((service, key))
            if stored:
                return {name.decode(): json.loads(value) for name, value in stored.items()}
        return {}
