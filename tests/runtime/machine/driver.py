"""Drives the machine alone: commands in, actions out, every record kept so that it can be replayed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MESSAGES, MessageType
from understudy_runtime.machine.apply import RULES_CURRENT, apply
from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model import ids
from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import (
    AttemptEnd,
    AttemptOutput,
    Callee,
    Command,
    Finished,
    Invoke,
    LeaderElected,
    ProposedEntry,
    Record,
    Suspend,
    TimerFired,
)
from understudy_runtime.model.invocation import Entry, HandlerType, ServiceType, Status, Target
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage

M = MessageType
SERVICE = Target("Greeter", "greet")
OBJECT = Target("Counter", "add", "k1")
RUN = Target("Signup", "run", "user")


def entry(type_: MessageType, **fields: Any) -> Entry:
    """A journal entry of *type_* with these protobuf fields."""
    message: Message = MESSAGES[type_](**fields)
    return Entry(int(type_), message.SerializeToString())


def proposed(type_: MessageType, callee: Callee | None = None, **fields: Any) -> ProposedEntry:
    return ProposedEntry(entry(type_, **fields), callee)


def output(value: bytes) -> ProposedEntry:
    return proposed(M.OUTPUT, value=pb.Value(content=value))


def note(found: Entry) -> tuple[MessageType, pb.Notification]:
    """A notification entry, decoded."""
    return MessageType(found.type), pb.Notification.FromString(found.payload)


def make_id(number: int, partition: int = 0, count: int = 1) -> str:
    """The id of the *number*-th invocation of a test, in *partition*."""
    key = (partition * 2**64 + 2**63) // count
    return ids.invocation_id_text(key.to_bytes(8, "big") + number.to_bytes(16, "big"))


class Driver:
    """One partition with its log."""

    def __init__(
        self, partition: int = 0, count: int = 1, idle_objects_max: int = 4_096, rules: int = RULES_CURRENT
    ) -> None:
        self.partition, self.count = partition, count
        self.medium = MemoryMedium()
        self.storage = MemoryStorage(self.medium)
        self.tables = Tables.load(self.storage, partition, count, idle_objects_max)
        self.records: list[Record] = []
        self.now_ms = 1_000
        self.invocations_made = 0
        self.epoch = 1
        self.do(LeaderElected(1, rules))

    def do(self, command: Command) -> list[Action]:
        """Append *command* to the log and apply it."""
        record = Record(len(self.records) + 1, self.now_ms, command)
        self.records.append(record)
        return apply(self.tables, record)

    def id(self) -> str:
        self.invocations_made += 1
        return make_id(self.invocations_made, self.partition, self.count)

    def request(self, target: Target = SERVICE, **fields: Any) -> Invoke:
        """A request to *target*, its types guessed from the target unless given."""
        service_type, handler_type = ServiceType.SERVICE, HandlerType.SHARED
        if target.key is not None:
            service_type, handler_type = ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE
        if target.service == RUN.service:
            is_run = target.handler == "run"
            service_type = ServiceType.WORKFLOW
            handler_type = HandlerType.WORKFLOW if is_run else HandlerType.SHARED
        defaults = {"service_type": service_type, "handler_type": handler_type, "payload": b"in"}
        fields = {"invocation_id": self.id(), **defaults, **fields}
        return Invoke(target=target, **fields)

    def invoke(self, target: Target = SERVICE, **fields: Any) -> str:
        """Invoke *target*; returns the invocation's id."""
        command = self.request(target, **fields)
        self.do(command)
        return command.invocation_id

    def attempt(
        self, invocation_id: str, *entries: ProposedEntry, end: AttemptEnd | None = None, **fields: Any
    ) -> list[Action]:
        """What the current attempt of *invocation_id* sends."""
        values = {"epoch": self.epoch, "lease": self.at(invocation_id).lease, "attempt": 1, **fields}
        values = {"deployment_id": "dp_1", "protocol_version": 6, **values}
        return self.do(AttemptOutput(invocation_id=invocation_id, entries=entries, end=end, **values))

    def suspend(self, invocation_id: str, *completions: int, signals: Sequence[int] = (1,)) -> list[Action]:
        return self.attempt(invocation_id, end=Suspend(completions, tuple(signals)))

    def finish(self, invocation_id: str, value: bytes = b"out") -> list[Action]:
        return self.attempt(invocation_id, output(value), end=Finished())

    def fire(self, timer_id: int) -> list[Action]:
        """Let the timer come due."""
        due_ms = self.tables.expiries.due_ms if timer_id == EXPIRY_TIMER else self.tables.timers[timer_id].due_ms
        assert due_ms is not None, "somebody looked before"
        self.now_ms = max(self.now_ms, due_ms)
        return self.do(TimerFired(due_ms, timer_id))

    def at(self, invocation_id: str) -> Invocation:
        found = self.tables.invocation(invocation_id)
        assert found is not None, f"{invocation_id} is unknown"
        return found

    def status(self, invocation_id: str) -> Status:
        found = self.tables.invocation(invocation_id)
        return Status.FREE if found is None else found.status

    def notes(self, invocation_id: str) -> list[tuple[MessageType, pb.Notification]]:
        """The notifications in the journal of *invocation_id*."""
        return [note(found) for found in self.tables.journal(invocation_id) if found.type >= 0x8000]

    def flush(self) -> None:
        self.tables.flush(self.storage)

    def reload(self, commits_lost: int = 0) -> Tables:
        """The tables as a restart has them: from storage, then the tail of the log."""
        self.medium.power_cut(commits_lost)
        self.storage = MemoryStorage(self.medium)
        tables = Tables.load(self.storage, self.partition, self.count)
        for record in self.records[tables.applied_lsn :]:
            apply(tables, record)
        return tables
