"""One record being applied: its stamp, the actions it yields, the messages it causes.

A message to an invocation of this partition is applied in the same turn, behind what is being applied now; one to
another partition goes into the outbox.  So no handler calls itself, however long a chain of calls is.
"""

from __future__ import annotations

from understudy_runtime.machine.rows import Message, Timer
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.actions import Action, ArmTimer, DisarmTimer, Send
from understudy_runtime.model.commands import Caller, Complete
from understudy_runtime.model.invocation import Result


class Turn:
    """What the handlers of one record share.  `now_ms` is the record's stamp."""

    __slots__ = ("actions", "messages", "now_ms", "silent", "tables")

    def __init__(self, tables: Tables, now_ms: int) -> None:
        assert now_ms >= 0, "stamps are epoch milliseconds"
        self.tables = tables
        self.now_ms = now_ms
        self.actions: list[Action] = []
        self.messages: list[Message] = []
        # The invocation whose attempt has ended with this record: it is not told what is journaled meanwhile.
        self.silent = ""

    def send(self, message: Message) -> None:
        """Deliver *message* to the partition of its invocation: here in this turn, elsewhere through the outbox."""
        tables = self.tables
        if tables.owns(message.invocation_id):
            self.messages.append(message)
            return
        target = tables.partition_for(message.invocation_id)
        sequence = tables.add_message(target, message)
        self.actions.append(Send(target, sequence, message))

    def answer(self, caller: Caller, result: Result | None) -> None:
        """Deliver *result* to who waits for it."""
        self.send(Complete(caller.invocation_id, caller.completion_id, result, caller.birth))

    def arm(self, timer: Timer) -> int:
        """Hold *timer* and have it armed; a due time in the past fires at once.  Returns its id."""
        timer_id = self.tables.timers.add(timer)
        self.actions.append(ArmTimer(timer.due_ms, timer_id))
        return timer_id

    def disarm(self, due_ms: int, timer_id: int) -> None:
        """Forget a timer that is no longer wanted."""
        self.tables.timers.remove(due_ms, timer_id)
        self.actions.append(DisarmTimer(timer_id))
