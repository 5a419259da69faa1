"""The reference model of the server's rules (P7): what a partition must look like after each committed record.

It is written from the protocol's rules alone and imports nothing of the state machine.  It is *not* fast, not
durable and keeps everything in plain dictionaries; `model_entries.py` and `model_requests.py` are its other parts.
`apply` returns what the record must have touched and what it must have asked the outside to do.  The P7 checker
compares both with the tables and the actions after every record, the P8 checker compares `outstanding`.

A journal entry is kept as the SDK sent it, `(type, payload)`.  A notification is kept as what it means, `Note`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType as M
from understudy_runtime.model import commands as c
from understudy_runtime.model.ids import partition_key_of, partition_of
from understudy_runtime.model.invocation import Failure, HandlerType, Result, Status

from understudy_sim.stage.model_entries import ENTRY_RULES
from understudy_sim.stage.model_requests import REQUEST_RULES
from understudy_sim.stage.model_words import (
    VOID,
    Effects,
    Invocation,
    Note,
    Timer,
    input_of,
    key_of,
    one_of,
    resolves,
    saying,
    second_of,
    version_of,
)

CANCEL_SIGNAL: Final = 1
EXPIRY_TIMER: Final = 0
EXPIRED_AT_ONCE: Final = 64
ACKNOWLEDGED: Final = (c.Signal, c.Cancel, c.Kill, c.Purge, c.PurgeJournal, c.Resume, c.Pause, c.RestartAsNew)


class PartitionModel:
    """One partition by the rules.  Records must come in order of their LSN, each once."""

    def __init__(self, index: int, count: int) -> None:
        self.index = index
        self.count = count
        self.lsn = 0
        self.epoch = 0
        self.rules = 0
        self.now_ms = 0
        self.invocations: dict[str, Invocation] = {}
        self.locks: dict[tuple[str, str], str] = {}
        self.inboxes: dict[tuple[str, str], list[str | c.MutateState]] = {}
        self.state: dict[tuple[str, str], dict[bytes, bytes]] = {}
        self.promises: dict[tuple[str, str], dict[str, Result | list[c.Caller]]] = {}
        self.timers: dict[int, Timer] = {}
        self.timer_id_last = 0
        self.expiries: dict[int, list[list[str]]] = {}  # second -> ids to look at then, in chunks
        self.outbox: dict[int, dict[int, Any]] = {}
        self.sequences: dict[int, int] = {}
        self.seen: dict[int, int] = {}
        self.effects = Effects()
        self._queue: deque[Any] = deque()  # the record, then what it causes here, in order
        self._silent = ""  # whose attempt has ended with this record: it is told nothing more

    def apply(self, record: c.Record) -> Effects:
        """Take one record; returns what it touched and wanted."""
        assert record.lsn == self.lsn + 1, f"P7: the model got record {record.lsn} after {self.lsn}"
        self.lsn = record.lsn
        self.now_ms = record.time_ms
        self.effects = Effects()
        self._silent = ""
        self._queue.append(record.command)
        while self._queue:
            command = self._queue.popleft()
            (REQUEST_RULES.get(type(command)) or _COMMANDS[type(command)])(self, command)
            if isinstance(command, ACKNOWLEDGED) and command.request_id:
                self.effects.wanted.append(("request", command.request_id, command.invocation_id))
            if isinstance(command, c.MutateState) and command.request_id:
                self.effects.wanted.append(("request", command.request_id, ""))
        return self.effects

    def outstanding(self) -> list[tuple[Any, ...]]:
        """All work the log implies: attempts to run, timers to arm, messages to send, locks to look after (P8)."""
        rows: list[tuple[Any, ...]] = []
        for id_, inv in self.invocations.items():
            if inv.status is Status.INVOKED:
                rows.append(("start", id_, inv.lease))
        rows += [("arm", timer.due_ms, timer_id) for timer_id, timer in self.timers.items()]
        if self.expiries:
            rows.append(("arm", min(self.expiries) * 1000, EXPIRY_TIMER))
        rows += [("send", to, n, m) for to, messages in self.outbox.items() for n, m in messages.items()]
        inboxed = [id_ for id_, inv in self.invocations.items() if inv.status is Status.INBOXED and inv.callers]
        rows += [("check", id_) for id_ in inboxed]
        return rows

    # --- messages to invocations, here or in another partition ----------------------------------------------

    def send(self, invocation_id: str, message: Any) -> None:
        owner = partition_of(partition_key_of(invocation_id), self.count)
        if owner == self.index:
            self._queue.append(message)
            return
        sequence = self.sequences[owner] = self.sequences.get(owner, 0) + 1
        self.outbox.setdefault(owner, {})[sequence] = message
        self.effects.wanted.append(("send", owner, sequence, message))

    def answer(self, caller: c.Caller, result: Result | None) -> None:
        self.send(caller.invocation_id, c.Complete(caller.invocation_id, caller.completion_id, result, caller.birth))

    def arm(self, due_ms: int, what: str, invocation_id: str, completion_id: int = 0) -> None:
        self.timer_id_last += 1
        self.timers[self.timer_id_last] = Timer(due_ms, what, invocation_id, completion_id)
        self.effects.wanted.append(("arm", due_ms, self.timer_id_last))

    # --- an invocation's life -------------------------------------------------------------------------------

    def _invoke(self, command: c.Invoke) -> None:
        id_ = command.invocation_id
        self.effects.invocations[id_] = None
        known = self.invocations.get(id_)
        conflict = known is not None and command.handler_type is HandlerType.WORKFLOW
        if known is None:
            self._accept(command)
        elif command.caller is not None:
            if conflict:
                self.answer(command.caller, Failure(409, ""))
            elif known.status is Status.COMPLETED:
                self.answer(command.caller, known.result)
            else:
                self._join(known, command.caller)
        if command.request_id:
            self.effects.wanted.append(("acked", command.request_id, id_, known is None, conflict))
            if known is not None and known.status is Status.COMPLETED and not conflict:
                self.effects.wanted.append(("completed", id_, known.result))

    def _accept(self, command: c.Invoke) -> None:
        self.effects.accepted.append(command)
        callers = [] if command.caller is None else [command.caller]
        inv = self.invocations[command.invocation_id] = Invocation(command, Status.SCHEDULED, callers, self.lsn)
        self._store(inv, (M.INPUT, input_of(command)))
        if command.execution_time_ms > self.now_ms:
            self.arm(command.execution_time_ms, "start", command.invocation_id)
        else:
            self.admit(inv)

    def admit(self, inv: Invocation) -> None:
        id_ = inv.command.invocation_id
        if inv.command.handler_type is HandlerType.EXCLUSIVE:
            key = key_of(inv.command.target)
            self.effects.keys[key] = None
            if key in self.locks:
                inv.status = Status.INBOXED
                self.inboxes.setdefault(key, []).append(id_)
                if inv.callers:
                    self.effects.wanted.append(("check", id_))
                return
            self.locks[key] = id_
        self.run(inv)

    def run(self, inv: Invocation) -> None:
        inv.status, inv.awaiting = Status.INVOKED, None
        if not inv.lease:
            inv.stored_ms = self.now_ms
        inv.lease += 1
        inv.lease_entries = len(inv.journal)
        inv.attempt = (0, 0)
        id_ = inv.command.invocation_id
        self.effects.invocations[id_] = None
        self.effects.wanted.append(("start", id_, inv.lease))

    def complete(self, inv: Invocation, result: Result) -> None:
        id_ = inv.command.invocation_id
        self.effects.invocations[id_] = None
        before = inv.status
        inv.status, inv.result, inv.awaiting = Status.COMPLETED, result, None
        self._leave(inv, before)
        self._disarm(id_)
        for caller in inv.callers:
            self.answer(caller, result)
        inv.callers = []
        self._retain(inv)
        self.effects.wanted.append(("completed", id_, result))
        self.effects.completed[id_] = result
        if not inv.expires_ms:
            self.forget(inv)

    def _retain(self, inv: Invocation) -> None:
        """Rules 1: a timer for each result, no journal.  Rules 2: both in an index with a timer for the next second."""
        id_, kept_ms = inv.command.invocation_id, inv.command.completion_retention_ms
        journal_ms = min(inv.command.journal_retention_ms, kept_ms) if self.rules >= 2 else 0
        if not journal_ms:
            inv.journal.clear()
        inv.journal_until_ms = self.now_ms + journal_ms
        if not kept_ms:
            return
        inv.expires_ms = self.now_ms + kept_ms
        if self.rules < 2:
            self.arm(inv.expires_ms, "retention", id_)
            return
        seconds = {second_of(inv.journal_until_ms): None} if journal_ms else {}
        for second in {**seconds, second_of(inv.expires_ms): None}:
            if not self.expiries or second < min(self.expiries):
                self.effects.wanted.append(("arm", second * 1000, EXPIRY_TIMER))
            chunks = self.expiries.setdefault(second, [[]])
            if len(chunks[-1]) == EXPIRED_AT_ONCE:
                chunks.append([])
            chunks[-1].append(id_)

    def _expiry_due(self) -> None:
        second = min(self.expiries, default=0)
        if self.expiries and second * 1000 <= self.now_ms:
            for id_ in self.expiries[second].pop(0):
                self._look_at(id_, second)
            if not self.expiries[second]:
                del self.expiries[second]
        if self.expiries:
            self.effects.wanted.append(("arm", min(self.expiries) * 1000, EXPIRY_TIMER))

    def _look_at(self, invocation_id: str, second: int) -> None:
        inv = self.invocations.get(invocation_id)
        if inv is None or inv.status is not Status.COMPLETED:
            return  # purged, and perhaps its id lives again
        if second_of(inv.expires_ms) <= second:
            self.forget(inv)
        elif second_of(inv.journal_until_ms) <= second:
            inv.journal.clear()
            self.effects.invocations[invocation_id] = None

    def _disarm(self, invocation_id: str) -> None:
        for timer_id in [n for n, timer in self.timers.items() if timer.invocation_id == invocation_id]:
            del self.timers[timer_id]
            self.effects.wanted.append(("disarm", timer_id))

    def _leave(self, inv: Invocation, before: Status) -> None:
        if inv.command.handler_type is not HandlerType.EXCLUSIVE:
            return
        key = key_of(inv.command.target)
        self.effects.keys[key] = None
        inbox = self.inboxes.get(key, [])
        if before is Status.INBOXED:
            inbox.remove(inv.command.invocation_id)
        elif before is not Status.SCHEDULED:
            assert self.locks.pop(key) == inv.command.invocation_id, "P1: an invocation ended without its lock"
            while inbox and key not in self.locks:
                head = inbox.pop(0)
                if isinstance(head, c.MutateState):
                    self.change_state(head)
                else:
                    self.admit(self.invocations[head])
        if not inbox:
            self.inboxes.pop(key, None)

    def change_state(self, command: c.MutateState) -> None:
        key = (command.service, command.key)
        if command.version is None or command.version == version_of(self.state.get(key, {})):
            self.state[key] = dict(command.entries)

    # --- what attempts and the outside say ------------------------------------------------------------------

    def _attempt_output(self, command: c.AttemptOutput) -> None:
        inv = self.invocations.get(command.invocation_id)
        if (
            inv is None
            or inv.status is not Status.INVOKED
            or command.epoch != self.epoch
            or command.lease != inv.lease
            or command.birth not in (0, inv.birth)
            or (command.epoch == inv.attempt[0] and command.attempt < inv.attempt[1])
        ):
            return
        self.effects.invocations[command.invocation_id] = None
        inv.attempt = (command.epoch, command.attempt)
        if command.entries and command.deployment_id and not inv.is_pinned:
            inv.is_pinned, inv.protocol = True, command.protocol_version
        self._silent = "" if command.end is None else command.invocation_id
        for proposed in command.entries:
            self._append(inv, proposed)
        end = command.end
        if isinstance(end, c.Suspend):
            inv.status, inv.awaiting = Status.SUSPENDED, end
            self._wake(inv)
        elif isinstance(end, c.GaveUp):
            if end.pause:
                inv.status = Status.PAUSED
                # A cancel would have resumed it, had it come a moment later.
                if (M.SIGNAL_NOTIFICATION, CANCEL_SIGNAL) in [note[:2] for note in inv.journal[inv.lease_entries :]]:
                    self.run(inv)
            else:
                self.complete(inv, end.failure)
        elif isinstance(end, c.Finished):
            payload = next((entry[1] for entry in reversed(inv.journal) if entry[0] == M.OUTPUT), None)
            failed = Failure(500, "")
            result = failed if payload is None else one_of(pb.OutputCommand.FromString(payload), "result")
            self.complete(inv, result)

    def _append(self, inv: Invocation, proposed: c.ProposedEntry) -> None:
        type_, payload = proposed.entry.type, proposed.entry.payload
        if type_ == M.PROPOSE_RUN_COMPLETION:
            proposal = pb.ProposeRunCompletion.FromString(payload)
            if inv.expects.get(proposal.result_completion_id) == M.RUN_COMPLETION:
                self._answer_command(inv, proposal.result_completion_id, one_of(proposal, "result"))
            return
        self._store(inv, (type_, payload))
        effect = ENTRY_RULES.get(type_)
        if effect is not None:
            effect(self, inv, payload, proposed.callee)

    def _store(self, inv: Invocation, entry: tuple[int, bytes] | Note) -> None:
        inv.journal.append(entry)
        inv.stored_ms = self.now_ms

    def notify(self, inv: Invocation, note: Note) -> None:
        """Deliver *note*: stored unless the invocation is over, told to a running attempt, and perhaps it wakes up."""
        if inv.status is Status.COMPLETED:
            return
        id_ = inv.command.invocation_id
        self.effects.invocations[id_] = None
        self._store(inv, note)
        if inv.status is Status.INVOKED and id_ != self._silent:
            self.effects.wanted.append(("notify", id_, inv.lease, note))
        elif inv.status is Status.SUSPENDED:
            self._wake(inv)
        elif inv.status is Status.PAUSED and note.type == M.SIGNAL_NOTIFICATION and note.answers == CANCEL_SIGNAL:
            self.run(inv)

    def _wake(self, inv: Invocation) -> None:
        """Run a suspended invocation again when anything it awaits is there, or only itself can bring it about."""
        awaiting = inv.awaiting
        assert awaiting is not None, "P7: a suspended invocation waits for something"
        own_run = any(inv.expects.get(cid) == M.RUN_COMPLETION for cid in awaiting.completions)
        if own_run or any(self._counts(inv, awaiting, index, note) for index, note in enumerate(inv.journal)):
            self.run(inv)

    def _counts(self, inv: Invocation, awaiting: c.Suspend, index: int, note: tuple[int, bytes] | Note) -> bool:
        if not resolves(awaiting, note):
            return False
        # A signal the attempt was started with was seen by it: it waits for the next one.
        return note[0] != M.SIGNAL_NOTIFICATION or index >= inv.lease_entries

    def _deliver_completion(self, command: c.Complete) -> None:
        inv = self.invocations.get(command.invocation_id)
        if inv is not None and command.birth in (0, inv.birth):  # not what an earlier life of the id asked for
            self._answer_command(inv, command.completion_id, saying(command.result))

    def _answer_command(self, inv: Invocation, completion_id: int, says: Any) -> None:
        """Complete a command; a completion nobody waits for, or a second one, changes nothing."""
        type_ = inv.expects.pop(completion_id, None)
        if type_ is not None:
            self.notify(inv, Note(type_, completion_id, says))

    def _signal(self, command: c.Signal) -> None:
        inv = self.invocations.get(command.invocation_id)
        answers = command.name or command.index
        if answers == CANCEL_SIGNAL:
            self._cancel_invocation(inv)
        elif inv is not None:
            self.notify(inv, Note(M.SIGNAL_NOTIFICATION, answers, saying(command.result)))

    def _attach(self, command: c.Attach) -> None:
        inv = self.invocations.get(command.invocation_id)
        if inv is None:
            self.answer(command.caller, Failure(404, ""))
        elif inv.status is Status.COMPLETED:
            self.answer(command.caller, inv.result)
        elif command.wait:
            self._join(inv, command.caller)
        else:
            self.answer(command.caller, None)

    def _join(self, inv: Invocation, caller: c.Caller) -> None:
        inv.callers.append(caller)
        self.effects.invocations[inv.command.invocation_id] = None
        if inv.status is not Status.SCHEDULED:  # it may wait, perhaps for this very caller
            self.effects.wanted.append(("check", inv.command.invocation_id))

    def _cancel(self, command: c.Cancel) -> None:
        self._cancel_invocation(self.invocations.get(command.invocation_id))

    def _cancel_invocation(self, inv: Invocation | None) -> None:
        if inv is not None and inv.status in (Status.SCHEDULED, Status.INBOXED):
            self.complete(inv, Failure(409, ""))
        elif inv is not None:
            self.notify(inv, Note(M.SIGNAL_NOTIFICATION, CANCEL_SIGNAL, VOID))

    def forget(self, inv: Invocation) -> None:
        id_ = inv.command.invocation_id
        self.effects.invocations[id_] = None
        del self.invocations[id_]
        self._disarm(id_)
        if inv.command.handler_type is HandlerType.WORKFLOW:
            key = key_of(inv.command.target)
            self.effects.keys[key] = None
            self.state.pop(key, None)
            for _, promise in sorted(self.promises.pop(key, {}).items()):
                for listener in promise if isinstance(promise, list) else ():
                    self.answer(listener, Failure(410, ""))

    def _timer_fired(self, command: c.TimerFired) -> None:
        if command.timer_id == EXPIRY_TIMER:
            self._expiry_due()
            return
        timer = self.timers.get(command.timer_id)
        if timer is None or timer.due_ms != command.due_ms:
            return
        if self.now_ms < timer.due_ms:  # P9: the clock went back, it is not due any more
            self.effects.wanted.append(("arm", timer.due_ms, command.timer_id))
            return
        del self.timers[command.timer_id]
        inv = self.invocations[timer.invocation_id]
        self.effects.invocations[timer.invocation_id] = None
        if timer.what == "start":
            self.admit(inv)
        elif timer.what == "retention":
            self.forget(inv)
        else:
            self._answer_command(inv, timer.completion_id, VOID)

    def _delivered(self, command: c.Delivered) -> None:
        if command.sequence > self.seen.get(command.source_partition, 0):
            self.seen[command.source_partition] = command.sequence
            self._queue.append(command.message)

    def _outbox_delivered(self, command: c.OutboxDelivered) -> None:
        messages = self.outbox.get(command.target_partition, {})
        for sequence in [n for n in messages if n <= command.sequence]:
            del messages[sequence]

    def _leader_elected(self, command: c.LeaderElected) -> None:
        assert command.epoch > self.epoch, f"P1: epoch {command.epoch} after {self.epoch}"
        self.epoch = command.epoch
        assert command.rule_version >= self.rules, "P7: rules go back"
        self.rules = command.rule_version


_COMMANDS: Final = MappingProxyType[type, Callable[[PartitionModel, Any], None]](
    {
        c.Invoke: PartitionModel._invoke,
        c.AttemptOutput: PartitionModel._attempt_output,
        c.TimerFired: PartitionModel._timer_fired,
        c.Complete: PartitionModel._deliver_completion,
        c.Signal: PartitionModel._signal,
        c.Attach: PartitionModel._attach,
        c.Cancel: PartitionModel._cancel,
        c.Delivered: PartitionModel._delivered,
        c.OutboxDelivered: PartitionModel._outbox_delivered,
        c.LeaderElected: PartitionModel._leader_elected,
    }
)
