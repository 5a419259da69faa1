"""Actions to their performers, and applied commands to whoever waits for them to be applied: two tables."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, Protocol

import attrs

from understudy_runtime.effects.deadlocks import Deadlocks
from understudy_runtime.effects.outbox import Outbox, PartitionRouter
from understudy_runtime.effects.replies import Replies
from understudy_runtime.effects.timers import Timers
from understudy_runtime.model.actions import (
    AbortAttempt,
    Action,
    ArmTimer,
    CheckDeadlock,
    Completed,
    DisarmTimer,
    InvokeAcked,
    Notify,
    RequestAcked,
    Send,
    StartAttempt,
)
from understudy_runtime.model.commands import AttemptOutput, Command, Delivered, OutboxDelivered, TimerFired


class Invoker(Protocol):
    """The invoker of a partition, as the effects see it."""

    def start(self, action: StartAttempt) -> None: ...

    def abort(self, action: AbortAttempt) -> None: ...

    def notify(self, action: Notify) -> None: ...

    def stored(self, command: AttemptOutput) -> None: ...

    def pump(self) -> None:
        """Start what may start: all actions so far have been performed."""


@attrs.frozen
class PartitionEffects:
    """The outside of one partition."""

    partition: int
    timers: Timers
    outbox: Outbox
    replies: Replies
    invoker: Invoker
    router: PartitionRouter
    # The policy that refuses calls; None: who waits for each other waits until somebody cancels one of them.
    deadlocks: Deadlocks | None = None

    def perform(self, action: Action) -> None:
        PERFORMERS[type(action)](self, action)

    def settled(self, command: Command) -> None:
        settle = SETTLERS.get(type(command))
        if settle is not None:
            settle(self, command)

    def batch_done(self) -> None:
        self.invoker.pump()


def start_attempt(effects: PartitionEffects, action: StartAttempt) -> None:
    effects.invoker.start(action)


def abort_attempt(effects: PartitionEffects, action: AbortAttempt) -> None:
    effects.invoker.abort(action)


def notify(effects: PartitionEffects, action: Notify) -> None:
    effects.invoker.notify(action)


def arm_timer(effects: PartitionEffects, action: ArmTimer) -> None:
    effects.timers.arm(action.timer_id, action.due_ms)


def disarm_timer(effects: PartitionEffects, action: DisarmTimer) -> None:
    effects.timers.disarm(action.timer_id)


def send(effects: PartitionEffects, action: Send) -> None:
    effects.outbox.send(action)


def acked(effects: PartitionEffects, action: InvokeAcked | RequestAcked) -> None:
    effects.replies.acked(action)


def completed(effects: PartitionEffects, action: Completed) -> None:
    effects.replies.completed(action)


def check_deadlock(effects: PartitionEffects, action: CheckDeadlock) -> None:
    if effects.deadlocks is not None:
        effects.deadlocks.check(action.invocation_id)


def settle_output(effects: PartitionEffects, command: AttemptOutput) -> None:
    effects.invoker.stored(command)


def settle_timer(effects: PartitionEffects, command: TimerFired) -> None:
    effects.timers.settled(command)


def settle_delivered(effects: PartitionEffects, command: Delivered) -> None:
    """Acknowledge, also what was seen before: its sender still waits."""
    effects.router.acknowledge(command.source_partition, effects.partition, command.sequence)


def settle_outbox(effects: PartitionEffects, command: OutboxDelivered) -> None:
    effects.outbox.settled(command)


PERFORMERS: Final = MappingProxyType[type, Callable[[PartitionEffects, Any], None]](
    {
        StartAttempt: start_attempt,
        AbortAttempt: abort_attempt,
        Notify: notify,
        ArmTimer: arm_timer,
        DisarmTimer: disarm_timer,
        Send: send,
        InvokeAcked: acked,
        RequestAcked: acked,
        Completed: completed,
        CheckDeadlock: check_deadlock,
    }
)
SETTLERS: Final = MappingProxyType[type, Callable[[PartitionEffects, Any], None]](
    {
        AttemptOutput: settle_output,
        TimerFired: settle_timer,
        Delivered: settle_delivered,
        OutboxDelivered: settle_outbox,
    }
)
