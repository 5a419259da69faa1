"""P7, fold: the stored state equals the fold of the log, by the server's own rules and by the reference model's.

After every record the rows it touched, and the actions it asked for, are compared with the model; after every restart
everything is.  The first finds wrong rules, the second finds state that was not rebuilt as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType
from understudy_runtime.model import actions as a
from understudy_runtime.model.events import LeadershipTaken
from understudy_runtime.model.invocation import Entry, Failure, Result, Status

from understudy_sim.stage.happenings import Step
from understudy_sim.stage.model import PartitionModel
from understudy_sim.stage.model_words import Invocation, Note, note_of
from understudy_sim.stage.watch import Handler, Property

if TYPE_CHECKING:
    from understudy_runtime.machine.tables import Tables

NOTIFICATION_FIRST = 0x8000
# What a request says of its invocation for good.
TERMS = (
    "target",
    "service_type",
    "handler_type",
    "idempotency_key",
    "execution_time_ms",
    "completion_retention_ms",
    "journal_retention_ms",
    "random_seed",
    "retry_policy",
    "schema_revision",
)


class Fold(Property):
    number: ClassVar[str] = "P7"
    claim: ClassVar[str] = "state is the fold of the log"

    def handlers(self) -> Mapping[type, Handler]:
        self._compared: dict[str, int] = {}
        return {Step: self._step, LeadershipTaken: self._leadership_taken}

    def _step(self, step: Step) -> None:
        model = self.truth.models[step.partition]
        tables = self.truth.tables[step.partition]
        assert tables is not None, "P7: records are applied to tables"
        self.hit("records compared")
        for id_ in step.effects.invocations:
            self._compare_invocation(tables, model, id_)
        for key in step.effects.keys:
            self._compare_key(tables, model, key)
        self._compare_counts(tables, model)
        found = [_words(action) for action in step.actions]
        if not same_words(step.effects.wanted, found):
            self.broken(
                f"record {step.record.lsn} of partition {step.partition} ({type(step.record.command).__name__}) "
                f"asked for {found}, the rules say {step.effects.wanted}"
            )

    def _leadership_taken(self, event: LeadershipTaken) -> None:
        model = self.truth.models[event.partition]
        tables = self.truth.tables[event.partition]
        assert tables is not None, "P7: a leader has tables"
        self.hit("restarts compared")
        for id_ in model.invocations:
            self._compared.pop(id_, None)
            self._compare_invocation(tables, model, id_)
            self._compare_terms(tables, model, id_)
        for invocation in tables.live():
            if invocation.id not in model.invocations:
                self.broken(f"{invocation.id} is {invocation.status.name} though the log does not say so")
        for key in dict.fromkeys([*model.locks, *model.inboxes, *model.state, *model.promises]):
            self._compare_key(tables, model, key)
        self._compare_counts(tables, model)
        if dict(sorted(_timers(tables))) != {n: tuple(timer)[:1] + timer[2:] for n, timer in model.timers.items()}:
            self.broken(f"partition {event.partition} holds timers {tables.timers}, the log implies {model.timers}")

    def _compare_invocation(self, tables: Tables, model: PartitionModel, id_: str) -> None:
        wanted, found = model.invocations.get(id_), tables.invocation(id_)
        if wanted is None or found is None:
            if not (wanted is None and found is None):
                self.broken(f"{id_} is {_status(found)}, the rules say {_status(wanted)}", id_)
            self._compared.pop(id_, None)
            return
        if (found.status, found.lease) != (wanted.status, wanted.lease):
            self.broken(
                f"{id_} is {found.status.name} under lease {found.lease}, the rules say {wanted.status.name} "
                f"under lease {wanted.lease}",
                id_,
            )
        elif wanted.status is Status.COMPLETED:
            if not same_result(wanted.result, found.result):
                self.broken(f"{id_} ended with {found.result}, the rules say {wanted.result}", id_)
            if found.expires_ms != wanted.expires_ms:
                self.broken(f"{id_} is kept until {found.expires_ms}, the rules say {wanted.expires_ms}", id_)
            self._compare_journal(wanted, tables.entries(found), id_)
        else:
            self._compare_journal(wanted, tables.entries(found), id_)
            self._compare_waits(wanted, found, id_)
        if list(found.callers) != wanted.callers:
            self.broken(f"{id_} is awaited by {list(found.callers)}, the rules say {wanted.callers}", id_)

    def _compare_waits(self, wanted: Invocation, found: Any, id_: str) -> None:
        """What it waits for, and where it stays."""
        bound_to = found.protocol_version if found.deployment_id else None
        stands = (found.birth, found.lease_entries, found.last_append_ms, found.awaiting, bound_to)
        bound_by_rules = wanted.protocol if wanted.is_pinned else None
        rules = (wanted.birth, wanted.lease_entries, wanted.stored_ms, wanted.awaiting, bound_by_rules)
        if stands != rules:
            words = "birth, entries of its lease, stored last, awaits, bound"
            self.broken(f"{id_} ({words}) is {stands}, the rules say {rules}", id_)
        if found.open_completions != wanted.expects:
            self.broken(f"{id_} waits for {found.open_completions}, the rules say {wanted.expects}", id_)

    def _compare_terms(self, tables: Tables, model: PartitionModel, id_: str) -> None:
        """What was said when it was accepted, as it was read back."""
        wanted, found = model.invocations.get(id_), tables.invocation(id_)
        if wanted is None or found is None:
            return
        for name in TERMS:
            if getattr(found, name) != getattr(wanted.command, name):
                was = getattr(wanted.command, name)
                self.broken(f"{name} of {id_} is {getattr(found, name)!r} after a restart, it was {was!r}", id_)

    def _compare_journal(self, wanted: Invocation, found: Sequence[Entry], id_: str) -> None:
        start = self._compared.get(id_, 0)
        self._compared[id_] = len(wanted.journal)
        if len(found) != len(wanted.journal):
            self.broken(f"{id_} has {len(found)} journal entries, the rules say {len(wanted.journal)}", id_)
        for index in range(start, min(len(found), len(wanted.journal))):
            if not _same_entry(wanted.journal[index], found[index]):
                self.broken(
                    f"journal entry {index} of {id_} is {_entry_words(found[index])}, "
                    f"the rules say {wanted.journal[index]}",
                    id_,
                )

    def _compare_key(self, tables: Tables, model: PartitionModel, key: tuple[str, str]) -> None:
        if tables.lock_holder(*key) != model.locks.get(key):
            self.broken(f"{key} is held by {tables.lock_holder(*key)}, the rules say {model.locks.get(key)}")
        if list(tables.inbox(*key)) != model.inboxes.get(key, []):
            self.broken(f"the inbox of {key} is {list(tables.inbox(*key))}, the rules say {model.inboxes.get(key, [])}")
        if dict(tables.state(*key)) != model.state.get(key, {}):
            self.broken(f"the state of {key} is {dict(tables.state(*key))}, the rules say {model.state.get(key, {})}")
        promises = model.promises.get(key, {})
        if promises or tables.promises(*key):
            found = {
                name: p.result if p.result is not None else list(p.listeners)
                for name, p in tables.promises(*key).items()
            }
            if found != promises:
                self.broken(f"the promises of {key} are {found}, the rules say {promises}")

    def _compare_counts(self, tables: Tables, model: PartitionModel) -> None:
        wanted = (model.epoch, len(model.timers), sum(map(len, model.outbox.values())), model.seen)
        found = (tables.epoch, len(tables.timers), sum(map(len, tables.outbox.values())), tables.dedup)
        if found != wanted:
            self.broken(f"epoch, timers, outbox, messages seen of a partition are {found}, the rules say {wanted}")


def _timers(tables: Tables) -> Iterable[tuple[int, tuple[Any, ...]]]:
    for timer_id, timer in tables.timers.items():
        yield timer_id, (timer.due_ms, timer.invocation_id, timer.completion_id)


def _status(invocation: Any) -> str:
    return "unknown" if invocation is None else invocation.status.name


def same_result(wanted: Result | None, found: Result | None) -> bool:
    """Whether two results mean the same.  The text of a failure the server makes is its own: code alone counts."""
    if isinstance(wanted, Failure) and isinstance(found, Failure) and not wanted.message:
        return wanted.code == found.code
    return wanted == found


def _same_entry(wanted: tuple[int, bytes] | Note, found: Entry) -> bool:
    if isinstance(wanted, Note):
        return found.type >= NOTIFICATION_FIRST and _same_note(wanted, note_of(found.type, found.payload))
    if wanted[0] == MessageType.INPUT:
        return found.type == MessageType.INPUT and _same_input(wanted[1], found.payload)
    return wanted == (found.type, found.payload)


def _same_input(wanted: bytes, found: bytes) -> bool:
    """Whether two inputs say the same, however they are written."""
    return bool(pb.InputCommand.FromString(wanted) == pb.InputCommand.FromString(found))


def _same_note(wanted: Note, found: Note) -> bool:
    if isinstance(wanted.says, Failure):
        return wanted[:2] == found[:2] and same_result(wanted.says, found.says)
    return wanted == found


def _entry_words(entry: Entry) -> Any:
    return note_of(entry.type, entry.payload) if entry.type >= NOTIFICATION_FIRST else (entry.type, entry.payload)


def _words(action: a.Action) -> tuple[Any, ...]:
    """An action in the model's words."""
    match action:
        case a.StartAttempt():
            return ("start", action.invocation_id, action.lease)
        case a.AbortAttempt():
            return ("abort", action.invocation_id, action.lease)
        case a.Notify():
            return ("notify", action.invocation_id, action.lease, note_of(action.entry.type, action.entry.payload))
        case a.DisarmTimer():
            return ("disarm", action.timer_id)
        case a.ArmTimer():
            return ("arm", action.due_ms, action.timer_id)
        case a.Send():
            return ("send", action.target_partition, action.sequence, action.message)
        case a.InvokeAcked():
            return ("acked", action.request_id, action.invocation_id, action.accepted, action.conflict)
        case a.RequestAcked():
            return ("request", action.request_id, action.invocation_id)
        case a.Completed():
            return ("completed", action.invocation_id, action.result)
        case a.CheckDeadlock():
            return ("check", action.invocation_id)


def same_words(wanted: Sequence[tuple[Any, ...]], found: Sequence[tuple[Any, ...]]) -> bool:
    """Whether the same was asked for, per kind in the same order (kinds do not order each other)."""
    if len(wanted) != len(found):
        return False
    return all(
        _same_row(one, other) for one, other in zip(sorted(wanted, key=_kind), sorted(found, key=_kind), strict=True)
    )


def _kind(row: tuple[Any, ...]) -> str:
    return str(row[0])


def _same_row(wanted: tuple[Any, ...], found: tuple[Any, ...]) -> bool:
    if wanted[:-1] != found[:-1]:
        return False
    one, other = wanted[-1], found[-1]
    if isinstance(one, Note):
        return _same_note(one, other)
    if hasattr(one, "result"):
        return type(one) is type(other) and (one == other or same_result(one.result, other.result))
    return same_result(one, other) if isinstance(one, Failure) else bool(one == other)
